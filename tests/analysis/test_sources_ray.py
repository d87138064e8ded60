import json
import math
import pickle

import numpy as np
import pytest

from analysis.errors import TableError
from analysis.sources import read_source

GRID = [(8, 1e-3), (8, 1e-1), (32, 1e-3), (32, 1e-1)]


class Trap:
    """Whoever unpickles it is found out."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was opened",))


def ray_experiment(folder):
    """The files of an experiment as Ray Tune 2.60 writes them, its housekeeping cut."""
    folder.mkdir(parents=True)
    trials = []
    for number, (batch, rate) in enumerate(GRID):
        trial_id, status = f"f927e_{number:05d}", "ERROR" if (batch, rate) == (8, 0.1) else "TERMINATED"
        trial = folder / f"f_{trial_id}_{number}_batch_size={batch},lr={rate:.4f}_2026-11-22_10-53-42"
        trial.mkdir()
        config = {"batch_size": batch, "optim": {"lr": rate}}
        (trial / "params.json").write_text(json.dumps(config, indent=2))
        (trial / "params.pkl").write_bytes(pickle.dumps(Trap()))
        lines = [
            json.dumps(
                {
                    "val_loss": math.nan if (batch, rate, step) == (32, 0.1, 3) else batch + step,
                    "timestamp": 1795344835,
                    "checkpoint_dir_name": None,
                    "done": False,
                    "training_iteration": step,
                    "trial_id": trial_id,
                    "config": config,
                    "time_total_s": 0.1,
                }
            )
            for step in (1, 2, 3)
        ]
        (trial / "result.json").write_text("\n".join(lines) + "\n" + '{"val_loss": 99')
        state = {"stub": False, "trial_id": trial_id, "status": status, "storage": {"_type": "CLOUDPICKLE_FALLBACK"}}
        trials.append([json.dumps(state), "{}"])
    (folder / "experiment_state-2026-11-22_10-53-42.json").write_text(json.dumps({"trial_data": trials}))
    (folder / "tuner.pkl").write_bytes(pickle.dumps(Trap()))
    return folder


def check_ray(table):
    rows = {(row["config/batch_size"], row["config/optim/lr"]): row for row in table.runs.to_dict("records")}
    assert set(rows) == set(GRID)
    assert rows[8, 1e-3]["val_loss"] == 11
    assert np.isnan(rows[32, 0.1]["val_loss"])
    assert (rows[8, 0.1]["status"], rows[8, 1e-3]["status"]) == ("ERROR", "TERMINATED")
    assert not {"timestamp", "done", "config", "time_total_s"} & set(table.runs)
    curve = table.curves[(table.curves["run"] == rows[8, 1e-3]["run"]) & (table.curves["name"] == "val_loss")]
    assert curve[["step", "value"]].to_numpy().tolist() == [[1, 9], [2, 10], [3, 11]]


def test_a_ray_experiment_is_read_as_text(tmp_path):
    check_ray(read_source(ray_experiment(tmp_path / "exp")))
    with pytest.raises(TableError, match="holds 1 Ray experiment; name one of exp"):
        read_source(tmp_path)


def test_a_ray_experiment_of_csv_files_without_a_state(tmp_path):
    folder = ray_experiment(tmp_path / "exp")
    next(folder.glob("experiment_state-*")).write_text("{torn")
    for trial in folder.glob("f_*"):
        results = [json.loads(line) for line in (trial / "result.json").read_text().splitlines()[:-1]]
        lines = ["val_loss,training_iteration,trial_id"]
        lines += [f"{r['val_loss']},{r['training_iteration']},{r['trial_id']}" for r in results]
        (trial / "progress.csv").write_text("\n".join(lines) + "\n")
        (trial / "result.json").unlink()
        if "batch_size=8,lr=0.1" in trial.name:
            (trial / "error.txt").write_text("Failure # 1")
    runs = read_source(folder).runs
    assert runs["val_loss"].tolist() == ["11", "11", "35", "nan"]
    assert runs["status"].tolist() == ["TERMINATED", "ERROR", "TERMINATED", "TERMINATED"]


def test_settings_of_a_ray_trial_that_are_torn(tmp_path):
    folder = ray_experiment(tmp_path / "exp")
    next(folder.glob("f_*/params.json")).write_text("{")
    with pytest.raises(TableError, match=r"params\.json: no JSON"):
        read_source(folder)
