"""How the suite is shared over processes (``make test``): a file stays whole, and one Ray cluster runs at a time."""

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
    for item in items:
        group = "ray" if item.path.name in NEED_RAY else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
