"""A study on a cluster of the tests: its driver as a user starts it, and the gates at which its trials can be held."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from results import ResultStore

from .nodes import REPOSITORY, Nodes
from .processes import wait_for
from .verdict import Verdict, differences, judge

SWEEP: dict[str, Any] = {
    "name": "walk",
    "workload": "gated.py:Gated",
    "workload_settings": {"dimensions": 50, "target_loss": 0.6},
    "optimizer": "momentum",
    "outcome": "steps_to_target",
    "batch_sizes": [4, 8],
    "learning_rates": [0.05, 0.1],
    "seeds": [0, 1],
    "budget": {"steps": 40},
}


class StruckStudy:
    """A study below ``folder``, whose results go to ``out``. ``environment`` makes the nodes' trials see its gates."""

    def __init__(self, folder: Path, *, resources: Mapping[str, Any] | None = None, **sweep: Any) -> None:
        """Write the study; keys of the sweep replace those of ``SWEEP``."""
        self.folder, self.out = folder, folder / "out"
        self.path = folder / "study.yaml"
        self.gates = folder / "gates"
        self.gates.mkdir()
        self.environment = {"TRIAL_GATES": str(self.gates)}
        self._undisturbed = folder / "undisturbed"
        shutil.copy(Path(__file__).with_name("gated.py"), folder)
        shutil.copy(REPOSITORY / "tests" / "study" / "bowl.py", folder)
        self.write(sweep, resources=resources)

    def write(self, *sweeps: Mapping[str, Any], resources: Mapping[str, Any] | None = None) -> None:
        """Write the study anew, with these sweeps; what they leave out is as in ``SWEEP``."""
        study = {
            "name": "struck",
            "resources": dict(resources or {}),
            "sweeps": [{**SWEEP, **sweep} for sweep in sweeps or [{}]],
        }
        self.path.write_text(yaml.safe_dump(study, sort_keys=False))

    # -- the driver ---------------------------------------------------------------------------------

    def command(self, nodes: Nodes, *options: str) -> list[str]:
        """Return the command line that runs what is missing."""
        words = [sys.executable, "-c", "from study.cli import main; main()", "run", str(self.path)]
        return [*words, "--out", str(self.out), "--address", nodes.address, "--quiet", "--no-report", *options]

    def start(
        self, nodes: Nodes, *options: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a driver; what it says is added to ``said``."""
        with open(self.folder / "driver.log", "a") as log:
            return subprocess.Popen(
                self.command(nodes, *options),
                cwd=self.folder,
                env={**nodes.environment, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def end(self, driver: subprocess.Popen[bytes], *, seconds: float = 240.0) -> int:
        """Wait for a driver and return its exit status."""
        try:
            return driver.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            driver.kill()
            driver.wait()
            raise AssertionError(f"the driver did not end in {seconds:g} s; it said:\n{self.said()}") from None

    def stored(self) -> int:
        """Return how many trials are stored by now."""
        return len(ResultStore(self.out).trials(("trial_id",)))

    def said(self) -> str:
        """Return what all drivers wrote, output and errors."""
        return (self.folder / "driver.log").read_text()

    # -- gates --------------------------------------------------------------------------------------

    def hold(self, *seeds: int) -> None:
        """Let trials of these seeds wait in the middle from now on."""
        for seed in seeds:
            (self.gates / f"hold-{seed}").touch()

    def let_go(self, *seeds: int) -> None:
        """Let them go on."""
        for seed in seeds:
            (self.gates / f"hold-{seed}").unlink()

    def held(self, seed: int) -> list[int]:
        """Return the processes that have come to this gate."""
        return [int(path.name.rpartition("-")[2]) for path in sorted(self.gates.glob(f"held-{seed}-*"))]

    def wait_held(self, seed: int, driver: subprocess.Popen[bytes]) -> int:
        """Wait until a trial of ``seed`` is held; return the process."""
        wait_for(
            lambda: bool(self.held(seed)) or driver.poll() is not None,
            what=lambda: f"no trial of seed {seed} began:\n{self.said()}",
        )
        assert self.held(seed), f"the driver ended with {driver.returncode} before seed {seed}:\n{self.said()}"
        return self.held(seed)[0]

    # -- the verdict --------------------------------------------------------------------------------

    def judge(self) -> tuple[Verdict, list[str]]:
        """Compare with the same study, run in one process without Ray; return the verdict and all differences."""
        if not self._undisturbed.exists():
            subprocess.run(
                [sys.executable, "-m", "tests.cluster.undisturbed", str(self.path), str(self._undisturbed)],
                cwd=REPOSITORY,
                env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TRIAL_PACE": "none"},
                check=True,
            )
        return judge(self.out, self._undisturbed), differences(self.out, self._undisturbed)
