"""Faults that kill nobody: clocks that jump, machines with other code, data that are gone."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from .nodes import REPOSITORY, Nodes
from .processes import wait_for
from .struck_study import StruckStudy

pytestmark = pytest.mark.slow

DAY_SECONDS = 86400

JUMPING_CLOCK = f"""
import os, time
real, flags = time.time, os.environ["CLOCK_FLAGS"]
def jumping():
    ahead, behind = (os.path.exists(os.path.join(flags, name)) for name in ("ahead", "behind"))
    return real() + (ahead - behind) * {DAY_SECONDS}
time.time = jumping
"""


def verdict_of(study: StruckStudy) -> None:
    verdict, differing = study.judge()
    assert not differing
    assert verdict.good, verdict


def test_a_clock_that_jumps_by_a_day_changes_nothing(tmp_path: Path) -> None:
    study = StruckStudy(tmp_path, seeds=[0, 1, 2, 3])
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(JUMPING_CLOCK)
    flags = tmp_path / "flags"
    flags.mkdir()
    jumping = {"CLOCK_FLAGS": str(flags), "PYTHONPATH": f"{tmp_path / 'clock'}:{REPOSITORY}"}
    with Nodes(head_cpus=0) as nodes:
        nodes.add_node(environment={**study.environment, **jumping})
        study.hold(1, 2, 3)
        driver = study.start(nodes, environment=jumping)
        study.wait_held(1, driver)
        (flags / "ahead").touch()
        os.kill(study.wait_held(1, driver), signal.SIGKILL)  # the next worker starts tomorrow
        study.let_go(1)
        study.wait_held(2, driver)
        (flags / "ahead").unlink()
        (flags / "behind").touch()
        study.let_go(2)
        study.wait_held(3, driver)
        (flags / "behind").unlink()
        study.let_go(3)
        assert study.end(driver) == 0, study.said()
        nodes.settle()
    verdict_of(study)


def test_machines_with_other_code_are_refused_by_name_and_others_go_on(tmp_path: Path) -> None:
    study = StruckStudy(tmp_path, seeds=[0, 1])
    other = tmp_path / "other"
    for package in ("analysis", "results", "study", "trainers"):
        shutil.copytree(REPOSITORY / package, other / package, ignore=shutil.ignore_patterns("__pycache__"))
    with open(other / "trainers" / "loop.py", "a") as file:
        file.write("# edited\n")
    with Nodes(head_cpus=0) as nodes:
        nodes.add_node(environment={**study.environment, "PYTHONPATH": str(other)})
        alone = study.start(nodes)
        assert study.end(alone) == 2, study.said()
        last = study.said().splitlines()[-1]
        assert last.startswith("batchlaw: process ")
        assert "but the driver runs other code" in last
        assert last.endswith("; install the same version there")
        assert study.stored() == 0

        nodes.add_node(environment=study.environment)
        (tmp_path / "driver.log").unlink()
        study.hold(1)
        driver = study.start(nodes)
        study.wait_held(1, driver)
        wait_for(lambda: "but the driver runs other code" in study.said(), what=lambda: f"not told: {study.said()}")
        study.let_go(1)
        assert study.end(driver) == 0, study.said()
        nodes.settle()
    verdict_of(study)


def test_a_study_whose_archive_disappears_stops_by_its_name_and_goes_on_when_it_is_back(tmp_path: Path) -> None:
    archive, elsewhere = tmp_path / "archive", tmp_path / "elsewhere"
    archive.touch()
    settings = {"dimensions": 50, "target_loss": 0.6, "archive": str(archive)}
    study = StruckStudy(tmp_path, seeds=[0, 1, 2], workload_settings=settings)
    with Nodes(head_cpus=0) as nodes:
        nodes.add_node(environment=study.environment)
        study.hold(1, 2)
        driver = study.start(nodes)
        worker = study.wait_held(1, driver)
        archive.rename(elsewhere)
        study.let_go(1)
        assert study.wait_held(2, driver) == worker  # which has its data in memory
        os.kill(worker, signal.SIGKILL)
        assert study.end(driver) == 2, study.said()
        assert f"{archive}: the archive is gone" in study.said().splitlines()[-1]
        before = study.stored()
        assert before >= 4
        elsewhere.rename(archive)
        study.let_go(2)
        assert study.end(study.start(nodes)) == 0, study.said()
        assert study.stored() == 12
        nodes.settle()
    verdict_of(study)
