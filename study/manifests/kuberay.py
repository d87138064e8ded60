"""A study as a RayJob of KubeRay: its files in a ConfigMap, a cluster for it alone, and who may speak to that cluster.

Fields are those of ``ray.io/v1`` (KubeRay 1.6 and newer, whose operator makes the token and hands it to every pod). The
image brings batchlaw; nothing of the study is a word of a command.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..folder import STUDY_FILE
from ..job_server import STOP_SECONDS
from ..package import packaged_yaml
from ..packaged import PACKAGED_FILE, Packaged
from ..resolve import ResolvedStudy
from .machines import Machines
from .text import yaml_text

STUDY_PATH = "/etc/batchlaw/study"
_LARGEST_BYTES = 1_000_000
"""Of a ConfigMap: Kubernetes takes 1 MiB."""
_LABEL = "batchlaw.study"
_HEADER = """\
# {name}: a study as a RayJob. It needs KubeRay 1.6 or newer, and an image with batchlaw[train,cluster].
#   kubectl create -f FILE                        ('apply' would keep a second copy of the files, which has a limit)
#   kubectl get rayjob {name} --watch
#   kubectl logs -l {label}={name},ray.io/node-type=head -c ray-job-submitter --follow
#   kubectl delete rayjob/{name} configmap/{name} networkpolicy/{name}
# The operator makes the token. It also asks the job server, which is why that listens on the pod's address: the network
# policy lets nobody else in.
"""


def kuberay_manifest(
    study: ResolvedStudy,
    files: Mapping[str, Path],
    packaged: Packaged,
    *,
    machines: Machines,
    image: str,
    claim: str | None = None,
    secret: str | None = None,
    service_account: str | None = None,
) -> str:
    """Return the manifest as YAML: a ConfigMap, a NetworkPolicy and a RayJob.

    Args:
        study: resolved.
        files: its own files, see ``study_files``.
        packaged: goes along, so that the job finds out where the image has other versions.
        machines: each node is a worker pod.
        image: of every pod.
        claim: a PersistentVolumeClaim, mounted where the results go.
        secret: whose keys become variables of every pod, such as those of an object store.
        service_account: of every pod.

    Raises:
        ConfigError: the study's files are too large for a ConfigMap, or the results would lie inside a pod.
    """
    name = object_name(study.config.name)
    if "://" not in packaged.out and claim is None:
        raise ConfigError(
            f"results in {packaged.out} would be gone with the pod; give a URL, or --claim with a "
            "PersistentVolumeClaim that is to be mounted there"
        )
    config_map, items = _config_map(name, study, files, packaged)
    pod = _Pods(name, image, items, packaged.out, claim, secret, service_account)
    ray = packaged.pins.get("ray", "")
    job = {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": name, "labels": {_LABEL: name}},
        "spec": {
            "entrypoint": f"python -m study.submitted {STUDY_PATH}",
            "runtimeEnvYAML": yaml_text({"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)}}),
            "submissionMode": "SidecarMode",
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": 600,
            "rayClusterSpec": {
                "rayVersion": ray,
                "authOptions": {"mode": "token"},
                "headGroupSpec": {
                    "serviceType": "ClusterIP",
                    "rayStartParams": {"dashboard-host": "0.0.0.0", "num-cpus": "0"},
                    "template": pod.template("ray-head", cpus=2, gpus=0, memory_gib=8.0, restart="Never"),
                },
                "workerGroupSpecs": [
                    {
                        "groupName": "workers",
                        "replicas": machines.nodes,
                        "minReplicas": machines.nodes,
                        "maxReplicas": machines.nodes,
                        "rayStartParams": _start_parameters(machines),
                        "template": pod.template(
                            "ray-worker", cpus=machines.cpus, gpus=machines.gpus, memory_gib=machines.memory_gib
                        ),
                    }
                ],
            },
        },
    }
    documents = (config_map, _network_policy(name), job)
    return _HEADER.format(name=name, label=_LABEL) + yaml_text(*documents)


def object_name(study: str) -> str:
    """Return a name that Kubernetes takes (a DNS label, and room for what KubeRay adds), different for each study."""
    plain = re.sub(r"[^a-z0-9]+", "-", study.lower()).strip("-")[:24].strip("-")
    name = f"batchlaw-{plain}" if plain else "batchlaw"
    return name if plain == study else f"{name}-{hashlib.sha256(study.encode()).hexdigest()[:6]}"


def _config_map(
    name: str, study: ResolvedStudy, files: Mapping[str, Path], packaged: Packaged
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Return the ConfigMap and which of its keys is to be which file: keys can't be paths."""
    content = {path: file.read_bytes() for path, file in files.items()}
    content[STUDY_FILE] = packaged_yaml(study.config).encode()
    content[PACKAGED_FILE] = packaged.to_json().encode()
    size = sum(map(len, content.values()))
    if size > _LARGEST_BYTES:
        largest = max(content, key=lambda path: len(content[path]))
        raise ConfigError(
            f"a manifest holds at most {_LARGEST_BYTES / 1e6:g} MB of a study's files, but they are {size / 1e6:.1f} "
            f"MB, the largest being {largest}; give an image that holds them, or submit with --address"
        )
    text: dict[str, str] = {}
    binary: dict[str, str] = {}
    items = []
    for number, (path, data) in enumerate(sorted(content.items())):
        key = f"file-{number}"
        items.append({"key": key, "path": path})
        try:
            text[key] = data.decode("utf-8")
        except UnicodeDecodeError:
            binary[key] = base64.b64encode(data).decode("ascii")
    config_map: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {_LABEL: name}},
        "data": text,
    }
    return config_map | ({"binaryData": binary} if binary else {}), items


def _network_policy(name: str) -> dict[str, Any]:
    """Return who may speak to the pods: they among themselves, and KubeRay's operator to the job server."""
    own = {"matchLabels": {_LABEL: name}}
    operator = {"matchLabels": {"app.kubernetes.io/component": "kuberay-operator"}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "labels": {_LABEL: name}},
        "spec": {
            "podSelector": own,
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": [{"podSelector": own}]},
                {
                    "from": [{"namespaceSelector": {}, "podSelector": operator}],
                    "ports": [{"port": 8265, "protocol": "TCP"}],
                },
            ],
        },
    }


def _start_parameters(machines: Machines) -> dict[str, str]:
    parameters = {"num-cpus": str(machines.cpus)}
    if machines.custom:  # a shell takes off the outer quotes
        parameters["resources"] = json.dumps(json.dumps(dict(machines.custom)))
    return parameters


class _Pods:
    """What head and workers have in common: every pod sees the study's files at the same place."""

    def __init__(
        self,
        name: str,
        image: str,
        items: list[dict[str, str]],
        out: str,
        claim: str | None,
        secret: str | None,
        service_account: str | None,
    ) -> None:
        self._name, self._image = name, image
        self._volumes: list[dict[str, Any]] = [{"name": "study", "configMap": {"name": name, "items": items}}]
        self._mounts: list[dict[str, Any]] = [{"name": "study", "mountPath": STUDY_PATH, "readOnly": True}]
        if claim is not None:
            self._volumes.append({"name": "results", "persistentVolumeClaim": {"claimName": claim}})
            self._mounts.append({"name": "results", "mountPath": str(Path(out).parent)})
        self._secret, self._service_account = secret, service_account

    def template(
        self, container: str, *, cpus: int, gpus: int, memory_gib: float, restart: str | None = None
    ) -> dict[str, Any]:
        """Return a pod's template; what it asks for is what it gets, no more."""
        amounts = {"cpu": str(cpus), "memory": f"{round(memory_gib * 1024)}Mi"}
        if gpus:
            amounts["nvidia.com/gpu"] = str(gpus)
        main: dict[str, Any] = {
            "name": container,
            "image": self._image,
            "env": [{"name": "RAY_USAGE_STATS_ENABLED", "value": "0"}],
            "resources": {"requests": amounts, "limits": amounts},
            "volumeMounts": self._mounts,
        }
        if self._secret is not None:
            main["envFrom"] = [{"secretRef": {"name": self._secret}}]
        spec: dict[str, Any] = {
            "automountServiceAccountToken": self._service_account is not None,
            "containers": [main],
            "volumes": self._volumes,
        }
        if self._service_account is not None:
            spec["serviceAccountName"] = self._service_account
        if restart is not None:
            spec["restartPolicy"] = restart
        return {"metadata": {"labels": {_LABEL: self._name}}, "spec": spec}
