"""The README promises what is there: commands, laws, workloads, a study that loads, a workload that compiles."""

import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from analysis.laws import LAWS
from results import round_rate
from study.cli import app
from study.config import StudyConfig
from study.resources import Resources
from trainers.workload import Workload
from trainers.workloads import WORKLOADS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language, containing):
    blocks = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return next(text for text in blocks if containing in text)


@pytest.mark.parametrize("command", re.findall(r"^batchlaw (\w+)", README, re.MULTILINE))
def test_every_command_of_the_readme_exists(command):
    assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


def test_every_command_is_in_the_readme():
    named = set(re.findall(r"^batchlaw (\w+)", README, re.MULTILINE))
    assert {str(c.name or c.callback.__name__) for c in app.registered_commands} <= named


@pytest.mark.parametrize("name", [*LAWS, *WORKLOADS])
def test_every_law_and_workload_is_in_the_readme(name):
    assert f"| `{name}` |" in README


def test_the_readmes_study_is_the_quick_preset():
    shown = StudyConfig.model_validate(yaml.safe_load(block("yaml", "name: quick"))).sweeps[0]
    preset = StudyConfig.model_validate(
        yaml.safe_load((ROOT / "study" / "presets" / "quick.yaml").read_text(encoding="utf-8"))
    ).sweeps[0]
    for part in ("name", "workload", "optimizer", "batch_sizes", "learning_rates", "outcome", "budget", "extend"):
        assert getattr(shown, part) == getattr(preset, part), part
    assert round_rate(shown.learning_rates.center) == shown.learning_rates.center


def test_the_readmes_resources_are_what_a_study_may_ask_for():
    asked = Resources.model_validate(yaml.safe_load(block("yaml", "cpus_per_worker"))["resources"])
    assert asked.workers == 2
    assert asked.model_fields_set == Resources.model_fields.keys()


def test_the_readmes_workload_has_every_method_it_needs():
    space = {}
    exec(compile(block("python", "class Mine"), "README.md", "exec"), space)
    assert issubclass(space["Mine"], Workload)
    assert not space["Mine"].__abstractmethods__


def test_make_targets_of_the_documents_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for document in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / document).read_text(encoding="utf-8")
        named = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE))
        assert named
        assert named <= targets, document
