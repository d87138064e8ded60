"""A cluster file for ``ray up``: machines by SSH, or of a cloud, on which a study can be submitted."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ..errors import ConfigError
from ..job_token import DEFAULT_PATH
from ..pins import requirements
from .kuberay import object_name
from .machines import Machines
from .text import yaml_text

Provider = Literal["local", "aws", "gcp"]

_HEADER = """\
# {name}: a cluster for the study, by 'ray up'. Its token is what the file {token} holds:
# 'ray get-auth-token --generate' makes one in ~/.ray/auth_token. The job server listens on {host} of the head.
#   ray up FILE
#   ray dashboard FILE                  (in another terminal: a tunnel to http://127.0.0.1:8265)
#   batchlaw submit STUDY --address http://127.0.0.1:8265 --follow
#   ray down FILE
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """Where the machines are."""

    provider: Provider
    hosts: Sequence[str] = ()
    """Of machines that are there (``local``): the first is the head."""
    region: str | None = None
    """Of a cloud; for gcp the zone, such as us-west1-a."""
    machine_type: str | None = None
    project: str | None = None
    """Of gcp."""
    ssh_user: str = "ubuntu"


def ray_up_file(
    name: str,
    *,
    machines: Machines,
    place: Place,
    pins: Mapping[str, str],
    token_path: str | None = None,
    dashboard_host: str = "127.0.0.1",
) -> str:
    """Return the file as YAML.

    Args:
        name: of the study.
        machines: the workers; the head runs the driver, on a machine of its own.
        place: where.
        pins: what is installed on every machine.
        token_path: the file on this machine that holds the cluster's token [Ray's own place for it].
        dashboard_host: the address on which the head's job server listens.

    Raises:
        ConfigError: what the provider needs is missing.
    """
    token = token_path or DEFAULT_PATH
    ray = pins.get("ray")
    packages = ["batchlaw[train,cluster]", *([f"ray[default,tune]=={ray}"] if ray else []), *requirements(pins)]
    values: dict[str, Any] = {
        "cluster_name": object_name(name),
        "provider": _provider(place, machines),
        "auth": {"ssh_user": place.ssh_user},
        "max_workers": machines.nodes,
        "file_mounts": {DEFAULT_PATH: token},
        "setup_commands": [f"chmod 600 {DEFAULT_PATH}", f"python3 -m pip install --quiet {shlex.join(packages)}"],
        "head_start_ray_commands": [
            "ray stop",
            f"ulimit -n 65536; {_start('--head', '--port=6379', f'--dashboard-host={dashboard_host}', '--num-cpus=0')}"
            " --autoscaling-config=~/ray_bootstrap_config.yaml",
        ],
        "worker_start_ray_commands": [
            "ray stop",
            f"ulimit -n 65536; {_start(*_amounts(machines))} --address=$RAY_HEAD_IP:6379",
        ],
    }
    if place.provider != "local":
        values |= _node_types(place, machines)
    header = _HEADER.format(name=object_name(name), token=token, host=dashboard_host)
    return header + yaml_text(values)


def _start(*options: str) -> str:
    return f"RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 ray start {shlex.join(options)}"


def _amounts(machines: Machines) -> list[str]:
    amounts = [f"--num-cpus={machines.cpus}", f"--num-gpus={machines.gpus}"]
    return amounts + ([f"--resources={json.dumps(dict(machines.custom))}"] if machines.custom else [])


def _provider(place: Place, machines: Machines) -> dict[str, Any]:
    if place.provider == "local":
        if len(place.hosts) != machines.nodes + 1:
            raise ConfigError(
                f"--ray-up local needs a host for the head and one for each of the {machines.nodes} nodes, but got "
                f"{len(place.hosts)}; give --host for each, the head first"
            )
        return {"type": "local", "head_ip": place.hosts[0], "worker_ips": list(place.hosts[1:])}
    needed = {"--region": place.region, "--machine-type": place.machine_type}
    needed |= {"--project": place.project} if place.provider == "gcp" else {}
    missing = [flag for flag, value in needed.items() if value is None]
    if missing:
        raise ConfigError(f"--ray-up {place.provider} needs {', '.join(missing)}")
    if place.provider == "aws":
        return {"type": "aws", "region": place.region, "cache_stopped_nodes": False}
    region = str(place.region).rsplit("-", 1)[0]
    return {"type": "gcp", "region": region, "availability_zone": place.region, "project_id": place.project}


def _node_types(place: Place, machines: Machines) -> dict[str, Any]:
    """Return head and workers of one machine type; the autoscaler must know whole amounts of what a worker has."""
    config: dict[str, Any] = {"InstanceType": place.machine_type}
    if place.provider == "gcp":
        image = "projects/deeplearning-platform-release/global/images/family/common-cpu"
        disk = {"diskSizeGb": 100, "sourceImage": image}
        config = {
            "machineType": place.machine_type,
            "disks": [{"boot": True, "autoDelete": True, "type": "PERSISTENT", "initializeParams": disk}],
        }
    has = {"CPU": machines.cpus, "GPU": machines.gpus, **machines.custom}
    workers = {name: int(amount) for name, amount in has.items() if amount}
    return {
        "head_node_type": "head",
        "available_node_types": {
            "head": {"resources": {"CPU": 0}, "node_config": config},
            "worker": {
                "resources": workers,
                "min_workers": machines.nodes,
                "max_workers": machines.nodes,
                "node_config": config,
            },
        },
    }
