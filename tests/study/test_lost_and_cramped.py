"""A study on Ray whose workers are lost and short of memory finds what an undisturbed one finds."""

from __future__ import annotations

import json
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
    "budget": {"steps": 2000},
    "evaluation": {"points": 7},
}
SHORT = {**SWEEP, "seeds": [0, 1], "budget": {"steps": 40}}


def test_lost_workers_and_little_memory_change_no_result(study: Study) -> None:
    out = study.folder / "out"
    shutil.copy(FRAGILE, study.folder / "fragile.py")
    sweeps = [
        {"name": "calm", **SWEEP},
        {"name": "killed", **SWEEP, "workload_settings": {"dies_beside": str(out)}},
        {"name": "cramped", **SHORT, "workload_settings": {"room": 2}},
        {"name": "sharded", **SHORT, "workload_settings": {"room": 2}, "engine": {"zero_stage": 2}},
        {"name": "hopeless", **SHORT, "workload_settings": {"room": 0}, "seeds": [0]},
    ]
    resources = {"max_concurrent": 1, "checkpoint_seconds": 0.01}
    path = study.write_text(yaml.safe_dump({"name": "fragile", "resources": resources, "sweeps": sweeps}))
    done = run(path, out)
    assert done.exit_code == 0, done.output
    assert (study.folder / "died").exists()
    assert done.stderr == ""

    store = ResultStore(out)
    trials = store.trials()
    rows = trials[trials["sweep"].isin(["calm", "killed"])].set_index("sweep")
    assert set(rows["status"]) == {"exhausted"}
    assert rows["resumes"].to_dict() == {"calm": 0, "killed": 1}
    other = ("trial_id", "spec", "started_at", "resumes")
    same = [name for name in rows.columns if "second" not in name and name not in other]
    calm, killed = ({column: repr(rows.loc[name, column]) for column in same} for name in ("calm", "killed"))
    assert killed == calm  # as text, in which NaN is NaN
    curves = {name: curve_of(store, rows.loc[name, "trial_id"]) for name in ("calm", "killed")}
    assert len(curves["calm"]) == 8 + 7  # the loss at 8 moments, and the mean of those in training before 7 of them
    pd.testing.assert_frame_equal(curves["killed"], curves["calm"], check_exact=True)
    # The first of a shape finds out what fits; of its examples no other number is trained on.
    for name in ("cramped", "sharded"):
        found = trials[trials["sweep"] == name].sort_values("seed")
        assert list(found["status"]) == ["exhausted"] * 2, found["message"].tolist()
        assert list(found["halvings"]) == [2, 0]
        assert list(found["micro_batch_size"]) == [2, 2]
        assert list(found["accumulation_steps"]) == [4, 4]
        assert set(found["examples"]) == {8 * 40}
    (hopeless,) = trials[trials["sweep"] == "hopeless"].to_dict("records")
    assert hopeless["status"] == "failed"
    assert hopeless["message"].startswith("SettingsError: one example does not fit into the memory of a device")
    limits = json.loads((out / "memory.json").read_text())["limits"]
    assert [(limit["zero_stage"], limit["micro_batch_at_most"]) for limit in limits] == [(0, 2), (2, 2)]
    # Nothing is left of the checkpoints.
    assert sorted(p.name for p in out.iterdir()) == ["compacted", "memory.json", "parts", "study.yaml"]


def curve_of(store: ResultStore, trial_id: str) -> pd.DataFrame:
    curves = store.curves()
    return curves[curves["trial_id"] == trial_id].drop(columns="trial_id").reset_index(drop=True)
