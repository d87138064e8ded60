"""A study on Ray whose workers are lost and short of memory finds what an undisturbed one finds."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from results import ResultStore

from .studies import Study
from .test_run import run

FRAGILE = Path(__file__).with_name("fragile.py")
SWEEP: dict[str, Any] = {
    "workload": "fragile.py:Fragile",
    "optimizer": "adamw",
    "outcome": "value_at_budget",
    "batch_sizes": [8],
    "learning_rates": [0.01],
    "budget": {"steps": 3000},
    "evaluation": {"points": 7},
}


def test_lost_workers_and_little_memory_change_no_result(study: Study) -> None:
    out = study.folder / "out"
    shutil.copy(FRAGILE, study.folder / "fragile.py")
    sweeps = [
        {"name": "calm", **SWEEP},
        {"name": "killed", **SWEEP, "workload_settings": {"dies_beside": str(out)}},
    ]
    resources = {"max_concurrent": 1, "checkpoint_seconds": 0.01}
    path = study.write_text(yaml.safe_dump({"name": "fragile", "resources": resources, "sweeps": sweeps}))
    done = run(path, out)
    assert done.exit_code == 0, done.output
    assert (study.folder / "died").exists()
    assert done.stderr == ""

    store = ResultStore(out)
    rows = store.trials().set_index("sweep")
    assert set(rows["status"]) == {"exhausted"}
    assert rows["resumes"].to_dict() == {"calm": 0, "killed": 1}
    other = ("trial_id", "spec", "started_at", "resumes")
    same = [name for name in rows.columns if "second" not in name and name not in other]
    calm, killed = (rows.loc[name, same].to_dict() for name in ("calm", "killed"))
    assert killed == calm
    curves = {name: curve_of(store, rows.loc[name, "trial_id"]) for name in ("calm", "killed")}
    assert len(curves["calm"]) == 8 + 7  # the loss at 8 moments, and the mean of those in training before 7 of them
    pd.testing.assert_frame_equal(curves["killed"], curves["calm"], check_exact=True)
    # Nothing is left of the checkpoints.
    assert sorted(p.name for p in out.iterdir()) == ["compacted", "parts", "study.yaml"]


def curve_of(store: ResultStore, trial_id: str) -> pd.DataFrame:
    curves = store.curves()
    return curves[curves["trial_id"] == trial_id].drop(columns="trial_id").reset_index(drop=True)
