"""Whether a study that was struck holds what the same study holds where nothing befell it."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import pandas as pd

from results import ResultStore
from results.parts import parse_part

OF_ITS_TIME = [
    "train_seconds",
    "evaluate_seconds",
    "setup_seconds",
    "probe_seconds",
    "examples_per_second",
    "started_at",
    "code_version",
    "resumes",
]
"""Columns that tell when and where a trial ran, not what came of it."""
KEPT = {"study.yaml", "parts", "compacted", "baselines.json", "memory.json"}
"""What may lie in a study's folder when no driver is at work, before it is reported on."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of a study's trials; all counts but the first are zero where all is well."""

    trials: int
    lost: int
    """Trials that are not stored."""
    foreign: int
    """Trials that are stored and not of the study."""
    twice: int
    """Trials of which two different rows are stored."""
    torn: int
    """Files that can't be read."""
    stray: int
    """Files and folders that a finished study does not have, temporary ones among them."""
    tables_equal: bool
    """Whether trials, curves and probes are the undisturbed study's, to the last bit, but for times."""

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return self.tables_equal and not (self.lost or self.foreign or self.twice or self.torn or self.stray)


def judge(struck: Path, undisturbed: Path) -> Verdict:
    """Compare the stored results of two folders."""
    found, expected = ResultStore(struck).read(), ResultStore(undisturbed).read()
    ids, wanted = set(found.trials["trial_id"]), set(expected.trials["trial_id"])
    stray = [path for path in struck.iterdir() if path.name not in KEPT]
    stray += [path for path in struck.rglob("*") if path.name.endswith(".tmp")]
    return Verdict(
        trials=len(ids),
        lost=len(wanted - ids),
        foreign=len(ids - wanted),
        twice=_stored_differently(struck),
        torn=len(found.skipped),
        stray=len(stray),
        tables_equal=not differences(struck, undisturbed),
    )


def differences(struck: Path, undisturbed: Path) -> list[str]:
    """Return which tables are not equal bit for bit, each with the first difference."""
    found, expected = ResultStore(struck).read(), ResultStore(undisturbed).read()
    differing = []
    for name in ("trials", "curves", "probes"):
        try:
            pd.testing.assert_frame_equal(
                _timeless(getattr(found, name)), _timeless(getattr(expected, name)), check_exact=True
            )
        except AssertionError as error:
            differing.append(f"{name}: {error}")
    return differing


def _timeless(table: pd.DataFrame) -> pd.DataFrame:
    table = table.drop(columns=[name for name in OF_ITS_TIME if name in table])
    order = [name for name in ("trial_id", "step", "name", "scope", "draw", "batch_size", "rate") if name in table]
    return table.sort_values(order, kind="stable", ignore_index=True)


def _stored_differently(folder: Path) -> int:
    """Count the trials of which two different rows lie in the files; a crash while they are moved leaves equal ones."""
    rows = []
    for path in (folder / "parts").glob("[!.]*.json"):
        with contextlib.suppress(ValueError):  # torn, which is told apart
            rows.append(parse_part(path.read_bytes())["trial"])
    tables = [pd.read_parquet(path) for path in sorted((folder / "compacted").glob("*-trials.parquet"))]
    starts = pd.concat([pd.DataFrame(rows, columns=["trial_id", "started_at"]), *tables], ignore_index=True)
    return int((starts.groupby("trial_id")["started_at"].nunique() > 1).sum())
