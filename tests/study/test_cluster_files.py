"""Files that start a cluster for a study: against the schemas of those who read them, and run where possible."""

import json
import re
import shlex
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from typer.testing import CliRunner, Result

from study import cluster_files
from study.cli import app
from study.config import StudyConfig
from study.errors import ConfigError
from study.manifests.kuberay import object_name
from study.manifests.machines import machines_for

from .rayjob_schema import RAY_JOB
from .studies import Study, resolved_config

TOKEN = "correct0horse0battery0staple"
SENTINEL = "sentinel-4711"
NEEDS = {"workers": 2, "gpus_per_worker": 1.0, "custom": {"a100": 1, "odd name's": 0.5}, "memory_gib_per_worker": 3}
EVIL = "/data/a b; touch $(x) 'y' \"z\""


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SENTINEL)
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)


def submit(path: Path, *options: object) -> Result:
    return CliRunner().invoke(app, ["submit", str(path), *map(str, options)])


def written(path: Path, *options: object) -> str:
    result = submit(path, *options)
    assert result.exit_code == 0, result.output
    assert TOKEN not in result.stdout
    assert SENTINEL not in result.stdout
    return result.stdout


def assert_one_line(result: Result, *parts: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    for part in parts:
        assert part in result.stderr


def recipes() -> list[list[str]]:
    """Return the options of the README's commands that write a file."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^batchlaw submit STUDY.yaml (--(?:slurm|ray-up|kuberay).*) > \S+$", readme, re.MULTILINE)
    return [shlex.split(command) for command in commands]


@pytest.mark.parametrize("options", recipes())
def test_the_readmes_recipes_write_their_files(study: Study, options: list[str]) -> None:
    assert written(study.write(), "--out", "s3://bucket", *options)


def test_the_readme_has_a_recipe_for_each_file() -> None:
    assert [options[0] for options in recipes()] == ["--slurm", "--ray-up", "--kuberay"]


# -- Kubernetes -------------------------------------------------------------------------------------------------------


def kuberay(path: Path, *options: object) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    text = written(path, "--kuberay", "--image", "registry/batchlaw:1", *options)
    config_map, policy, job = yaml.safe_load_all(text)
    kubernetes_validate.validate(config_map, "1.36", strict=True)
    kubernetes_validate.validate(policy, "1.36", strict=True)
    jsonschema.validate(job, RAY_JOB)
    for pods in groups(job):
        template = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": pods["template"]}
        kubernetes_validate.validate(template, "1.36", strict=True)
    return config_map, policy, job


def groups(job: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = job["spec"]["rayClusterSpec"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def test_a_ray_job_carries_the_study_and_its_files(study: Study) -> None:
    (study.folder / "parts").mkdir()
    (study.folder / "parts" / "__init__.py").write_text("x = 'ü'\r\n")
    (study.folder / "table.bin").write_bytes(b"\xff\x00")
    path = study.write(name="My_Study.2")
    config_map, _, job = kuberay(path, "--out", "s3://bucket/it's; $(here)", "--include", "table.bin")
    [volume] = groups(job)[0]["template"]["spec"]["volumes"]
    places = {item["path"]: item["key"] for item in volume["configMap"]["items"]}
    assert set(places) == {"bowl.py", "parts/__init__.py", "table.bin", "study.yaml", "packaged.json"}
    data = config_map["data"]
    assert data[places["parts/__init__.py"]] == "x = 'ü'\r\n"
    assert data[places["bowl.py"]] == (study.folder / "bowl.py").read_text()
    assert config_map["binaryData"] == {places["table.bin"]: "/wA="}
    assert json.loads(data[places["packaged.json"]])["out"] == "s3://bucket/it's; $(here)"
    assert yaml.safe_load(data[places["study.yaml"]])["name"] == "My_Study.2"
    # A shell reads the command, so nothing of the study may be in it.
    assert job["spec"]["entrypoint"] == "python -m study.submitted /etc/batchlaw/study"
    mounts = [group["template"]["spec"]["containers"][0]["volumeMounts"] for group in groups(job)]
    assert mounts[0] == mounts[1] == [{"name": "study", "mountPath": "/etc/batchlaw/study", "readOnly": True}]


def test_a_ray_job_asks_for_a_token_and_lets_nobody_else_in(study: Study) -> None:
    _, policy, job = kuberay(study.write(), "--out", "s3://b", "--nodes", 3)
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert cluster["headGroupSpec"]["template"]["spec"]["restartPolicy"] == "Never"  # SidecarMode takes no other
    assert [group["replicas"] for group in cluster["workerGroupSpecs"]] == [3]
    for group in groups(job):
        labels = policy["spec"]["podSelector"]["matchLabels"]
        assert labels.items() <= group["template"]["metadata"]["labels"].items()
        assert group["template"]["spec"]["automountServiceAccountToken"] is False
    among, operator = policy["spec"]["ingress"]
    assert among == {"from": [{"podSelector": policy["spec"]["podSelector"]}]}
    assert [port["port"] for port in operator["ports"]] == [8265]


def test_a_ray_jobs_pods_have_what_a_trial_needs(study: Study) -> None:
    _, _, job = kuberay(study.write(resources=NEEDS), "--out", "s3://b", "--secret", "keys", "--service-account", "me")
    worker = groups(job)[1]
    [container] = worker["template"]["spec"]["containers"]
    # Two workers with 1 CPU, 1 GPU and 3 GiB; 4 GiB more for Ray itself.
    expected = {"cpu": "2", "memory": "10240Mi", "nvidia.com/gpu": "2"}
    assert container["resources"] == {"requests": expected, "limits": expected}
    assert container["envFrom"] == [{"secretRef": {"name": "keys"}}]
    assert worker["template"]["spec"]["serviceAccountName"] == "me"
    # KubeRay puts the value behind --resources= in a shell's command line.
    value = worker["rayStartParams"]["resources"]
    shell = subprocess.run(["bash", "-c", f"printf %s {value}"], capture_output=True, text=True, check=True)
    assert json.loads(shell.stdout) == {"a100": 2, "odd name's": 1}


def test_a_claim_is_mounted_where_the_results_go(study: Study) -> None:
    path = study.write()
    options = ("--kuberay", "--image", "x", "--out", "/data/studies/bowls")
    assert_one_line(submit(path, *options), "would be gone with the pod", "--claim")
    _, _, job = kuberay(path, "--out", "/data/studies/bowls", "--claim", "results")
    spec = groups(job)[0]["template"]["spec"]
    assert {"name": "results", "persistentVolumeClaim": {"claimName": "results"}} in spec["volumes"]
    assert {"name": "results", "mountPath": "/data/studies"} in spec["containers"][0]["volumeMounts"]


def test_large_files_do_not_fit_into_a_manifest(study: Study) -> None:
    (study.folder / "rows.csv").write_text("1" * 1_100_000)
    options = ("--kuberay", "--image", "x", "--out", "s3://b", "--include", "rows.csv")
    assert_one_line(submit(study.write(), *options), "at most 1 MB", "rows.csv", "give an image")


def test_object_names_are_names_and_differ() -> None:
    names = ["quick", "Quick", "quick_", "q" * 100, "q" * 99, "___", "7", "a--b", "a-b"]
    objects = [object_name(name) for name in names]
    assert objects[0] == "batchlaw-quick"
    assert len(set(objects)) == len(names)
    for name in objects:
        jsonschema.validate(name, {"pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$", "maxLength": 41})


# -- ray up -----------------------------------------------------------------------------------------------------------


def checked_by_ray(text: str) -> dict[str, Any]:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(yaml.safe_load(text))
    validate_config(config)
    return config


@pytest.mark.parametrize(
    "options",
    [
        ["local", "--host", "10.0.0.1", "--host", "10.0.0.2"],
        ["aws", "--region", "us-west-2", "--machine-type", "m5.large"],
        ["gcp", "--region", "us-west1-a", "--machine-type", "n1-standard-2", "--project", "mine"],
    ],
)
def test_ray_takes_its_cluster_file(study: Study, options: list[str]) -> None:
    path = study.write(resources=NEEDS)
    config = checked_by_ray(written(path, "--out", "s3://b", "--ray-up", *options))
    [*_, head] = config["head_start_ray_commands"]
    [*_, worker] = config["worker_start_ray_commands"]
    for command in (head, worker):
        subprocess.run(["bash", "-n", "-c", command], check=True)
        assert "RAY_AUTH_MODE=token" in command
    assert "--dashboard-host=127.0.0.1" in head
    assert "0.0.0.0" not in str(config["head_start_ray_commands"])
    words = shlex.split(worker.rpartition("; ")[2])
    [resources] = [word.removeprefix("--resources=") for word in words if word.startswith("--resources=")]
    assert json.loads(resources) == {"a100": 2, "odd name's": 1}
    assert config["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token"}
    [install] = [command for command in config["setup_commands"] if "pip install" in command]
    assert " torch==" in install
    assert "'ray[default,tune]==" in install
    assert " ray==" not in install


def test_a_cluster_file_needs_what_its_provider_needs(study: Study) -> None:
    path = study.write()
    start = (path, "--out", "s3://b", "--ray-up")
    assert_one_line(submit(*start, "local", "--host", "a"), "a host for the head and one for each of the 1 nodes", "1;")
    assert_one_line(submit(*start, "gcp", "--machine-type", "x"), "--ray-up gcp needs --region, --project")
    assert_one_line(submit(*start, "aws", "--slurm"), "one file is written at a time, but got --ray-up and --slurm")


def test_the_job_server_listens_elsewhere_only_when_told(study: Study) -> None:
    path, hosts = study.write(), ("--host", "10.0.0.1", "--host", "10.0.0.2")
    told = written(path, "--out", "s3://b", "--ray-up", "local", *hosts, "--dashboard-host", "10.0.0.1")
    assert "--dashboard-host=10.0.0.1" in checked_by_ray(told)["head_start_ray_commands"][-1]
    refused = submit(path, "--out", "s3://b", "--kuberay", "--image", "x", "--dashboard-host", "::")
    assert_one_line(refused, "--kuberay takes no --dashboard-host")
    broken = submit(path, "--out", "s3://b", "--ray-up", "local", *hosts, "--dashboard-host", "x\nevil: yes")
    assert_one_line(broken, "must be one word")


# -- Slurm ------------------------------------------------------------------------------------------------------------


def executable(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_a_slurm_script_starts_ray_and_the_study(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = study.folder / "my programs; $(x)"
    programs.mkdir()
    heard = study.folder / "heard"
    executable(programs / "scontrol", '[ "$*" = "show hostnames node-[3-4]" ] && echo node-3 && seq 100000')
    executable(programs / "srun", 'while [[ "$1" == --* ]]; do shift; done; exec "$@"')
    executable(programs / "ray", f"env -0 > '{heard}.env'; printf '%s\\0' \"$@\" > '{heard}'")
    monkeypatch.setattr(cluster_files.sys, "executable", str(programs / "python"))
    folder = study.folder / "it's $(here)"
    folder.mkdir()
    path = Path(shutil.move(study.write(resources=NEEDS), folder / "my study.yaml"))
    shutil.copy(study.folder / "bowl.py", folder)
    options = ("--nodes", 2, "--cpus-per-node", 8, "--gpus-per-node", 2, "--partition", "gpu", "--time", "1-12:00:00")
    script = written(path, "--slurm", "--out", EVIL, *options)
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)

    environment = {"PATH": "/usr/bin:/bin", "SLURM_JOB_ID": "1234567", "SLURM_JOB_NUM_NODES": "2"}
    environment["SLURM_JOB_NODELIST"] = "node-[3-4]"
    done = subprocess.run(
        ["bash"], input=script, env=environment, cwd=study.folder, text=True, capture_output=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")
    words = heard.read_text().split("\0")[:-1]
    ray, batchlaw = words[: words.index("--")], words[words.index("--") + 1 :]
    assert ray[:5] == ["symmetric-run", "--address", "node-3:24567", "--min-nodes", "2"]
    assert {"--dashboard-host=127.0.0.1", "--num-cpus=8", "--num-gpus=2"} <= set(ray)
    # Two workers fit on a node.
    assert [json.loads(word[12:]) for word in ray if word.startswith("--resources=")] == [{"a100": 2, "odd name's": 1}]
    assert batchlaw == ["batchlaw", "run", str(path), "--out", EVIL, "--address", "node-3:24567"]
    had = dict(item.partition("=")[::2] for item in Path(f"{heard}.env").read_text().split("\0"))
    assert had["RAY_AUTH_MODE"] == "token"
    assert len(bytes.fromhex(had["RAY_AUTH_TOKEN"])) == 32
    assert had["RAY_AUTH_TOKEN"] not in str(words)
    directives = {line for line in script.splitlines() if line.startswith("#SBATCH")}
    assert {"#SBATCH --nodes=2", "#SBATCH --gpus-per-node=2", "#SBATCH --partition=gpu"} <= directives
    assert {"#SBATCH --time=1-12:00:00", "#SBATCH --exclusive", "#SBATCH --cpus-per-task=8"} <= directives
    # No command of a name was run.
    assert {path.name for path in folder.iterdir()} - {"__pycache__"} == {"bowl.py", "my study.yaml"}


def test_directives_can_not_be_broken_out_of(study: Study) -> None:
    result = submit(study.write(), "--slurm", "--out", "/x", "--partition", "gpu\ntouch /tmp/x")
    assert_one_line(result, "--partition: must be one word")


# -- machines ---------------------------------------------------------------------------------------------------------


def config(**resources: Any) -> StudyConfig:
    values = resolved_config({}).model_dump(mode="json")
    return StudyConfig.model_validate({**values, "resources": resources})


@pytest.mark.parametrize(
    ("resources", "nodes", "cpus", "gpus"),
    [
        ({}, 1, 1, 0),
        ({"workers": 4, "cpus_per_worker": 2}, 1, 8, 0),
        ({"workers": 4, "cpus_per_worker": 2}, 3, 4, 0),  # two workers on a node: 2, 2, 0
        ({"gpus_per_worker": 0.5}, 1, 1, 1),
        ({"workers": 2, "gpus_per_worker": 2.0}, 2, 1, 2),
    ],
)
def test_machines_hold_one_trial_unless_more_is_asked_for(
    resources: dict[str, Any], nodes: int, cpus: int, gpus: int
) -> None:
    machines = machines_for(config(**resources), nodes=nodes, cpus=None, gpus=None, memory_gib=None)
    assert (machines.nodes, machines.cpus, machines.gpus) == (nodes, cpus, gpus)


@pytest.mark.parametrize(("gpus", "workers"), [(1, 1), (3, 3)])
def test_a_part_of_a_gpu_lies_on_one_gpu(gpus: int, workers: int) -> None:
    needs = config(
        gpus_per_worker=0.6, custom={"licence": 1.0}
    )  # three GPUs are five times 0.6, but hold three workers
    machines = machines_for(needs, nodes=1, cpus=8, gpus=gpus, memory_gib=None)
    assert machines.custom == {"licence": workers}


@pytest.mark.parametrize(
    ("resources", "given"),
    [
        ({"cpus_per_worker": 4}, {"cpus": 3}),
        ({"workers": 3, "gpus_per_worker": 1.0}, {"gpus": 2}),
        ({"workers": 4, "one_node": True}, {"cpus": 2, "nodes": 2}),
        ({"memory_gib_per_worker": 16}, {"memory_gib": 8.0}),
    ],
)
def test_machines_that_hold_no_trial_are_refused(resources: dict[str, Any], given: dict[str, Any]) -> None:
    asked: dict[str, Any] = {"nodes": 1, "cpus": None, "gpus": None, "memory_gib": None, **given}
    with pytest.raises(ConfigError, match="must fit, but"):
        machines_for(config(**resources), **asked)
