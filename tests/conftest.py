"""How the suite is shared over processes (``make test``): a file stays whole, and one Ray cluster runs at a time."""

from pathlib import PurePosixPath
from typing import Any

import pytest

NEED_RAY = {
    "test_bring_your_own.py",
    "test_cli.py",
    "test_faults.py",
    "test_group_crew.py",
    "test_half_done.py",
    "test_joining.py",
    "test_known_answer.py",
    "test_loggers_run.py",
    "test_lost_and_cramped.py",
    "test_presets.py",
    "test_probe_runs.py",
    "test_run.py",
    "test_run_on_s3.py",
    "test_slurm_run.py",
    "test_submitted_job.py",
    "test_submitted_study.py",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in NEED_RAY)  # the longest share begins first


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling

    class Shares(LoadScopeScheduling):
        """In the place of ``--dist loadgroup``, which pytest 9.2 leaves without groups (pytest-xdist#1386)."""

        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "ray" if PurePosixPath(file).name in NEED_RAY else file

    config.option.loadscopereorder = False  # by number of tests: a share of a few long ones would come last
    return Shares(config, log)
