"""What a user brings: a whole training script with its report call, a workload in a file, and the examples of both."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml
from typer.testing import CliRunner, Result

from results import ResultStore
from study.cli import app
from study.loading import load_study
from study.resolve import resolve
from tests.trainers.script_cases import ARGUMENTS, BOWL, REPOSITORY, write_script
from trainers.errors import DataError
from trainers.script import ScriptSettings
from trainers.workloads import load_workload

EXAMPLES = REPOSITORY / "study" / "examples"


def own_study(folder: Path, **changes: Any) -> Path:
    """Write the example's study with a script that is only named, and changes to its sweep."""
    study = yaml.safe_load((EXAMPLES / "own_script.yaml").read_text())
    study["sweeps"][0] |= {"workload": write_script(folder).name, **changes}
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    return folder / "study.yaml"


def test_whether_a_scripts_metric_falls_or_rises_must_be_said_of_all_but_loss(tmp_path: Path) -> None:
    for metrics, target in (
        (["accuracy"], {"value": 0.9}),
        (["loss", "accuracy"], {"metric": "accuracy", "value": 0.9}),
    ):
        own = {"workload_settings": {"metrics": metrics}, "target": target}
        result = CliRunner().invoke(app, ["plan", str(own_study(tmp_path, **own))])
        assert result.exit_code == 2
        assert "target: mode (min or max) is required with the metric accuracy" in result.stderr
        own["target"] = {"mode": "max", **target}
        (sweep,) = resolve(load_study(own_study(tmp_path, **own))).config.sweeps
        assert (sweep.target.metric, sweep.target.mode) == ("accuracy", "max")
    falls = own_study(
        tmp_path, workload_settings={"metrics": ["accuracy", "loss"]}, target={"metric": "loss", "value": 1}
    )
    (sweep,) = resolve(load_study(falls)).config.sweeps
    assert (sweep.target.metric, sweep.target.mode) == ("loss", "min")


def test_what_the_readme_says_of_a_scripts_study_can_be_planned(tmp_path: Path) -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    (block,) = (found for found in re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL) if "launcher" in found)
    said = yaml.safe_load(block)
    said.pop("workload")
    (sweep,) = resolve(load_study(own_study(tmp_path, **said))).config.sweeps
    assert sweep.workload_settings == said["workload_settings"]
    assert set(sweep.workload_settings) == set(ScriptSettings.model_fields), "all settings are shown"
    assert sweep.workload_settings["arguments"] == ScriptSettings().arguments


def test_probes_of_a_script_are_refused_before_anything_runs(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["plan", str(own_study(tmp_path, probes={"fractions": [0.5]}))])
    assert result.exit_code == 2
    assert "probes: the script bowl_script.py trains by itself, so nothing can be measured in it" in result.stderr
    result = CliRunner().invoke(app, ["probe", str(own_study(tmp_path)), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "digits-sgd: the script bowl_script.py trains by itself, so nothing can be measured in it" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_trials_id_does_not_depend_on_where_the_script_lies(tmp_path: Path) -> None:
    specs = []
    for folder in (tmp_path / "here", tmp_path / "there"):
        folder.mkdir()
        for name in ("own_script.py", "own_script.yaml"):
            (folder / name).write_text((EXAMPLES / name).read_text())
        resolved = resolve(load_study(folder / "own_script.yaml"))
        assert resolved.config.workload_folder == str(folder)
        specs.append(dataclasses.replace(resolved, folder=tmp_path).config.sweeps)
    assert specs[0] == specs[1]
    assert specs[0][0].workload == "own_script.py"


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """A folder in the format of the Hugging Face library: two kinds of texts that one word tells apart."""

    def split(count: int) -> datasets.Dataset:
        texts = [f"film {k % 7} was {'good' if k % 2 else 'bad'} indeed" for k in range(count)]
        return datasets.Dataset.from_dict({"text": texts, "label": [k % 2 for k in range(count)]})

    datasets.DatasetDict({"train": split(64), "validation": split(16)}).save_to_disk(str(tmp_path / "reviews"))
    return tmp_path / "reviews"


def test_the_examples_plans_are_shown(reviews: Path) -> None:
    for name in ("own_script", "own_workload"):
        result = CliRunner().invoke(app, ["plan", str(EXAMPLES / f"{name}.yaml")])
        assert result.exit_code == 0, result.output
        assert "25 trials" in result.stdout


def test_the_examples_workload_names_data_that_cannot_be_had(tmp_path: Path) -> None:
    workload = load_workload(f"{EXAMPLES}/own_workload.py:TextClassification", {"dataset": str(tmp_path)})
    with pytest.raises(DataError, match=r"can't be loaded: \w+: "):
        workload.prepare()


def test_the_examples_workload_reads_a_folder_of_csv_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By ``load_dataset``, as a name on the hub is."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv" / "train.csv").write_text("text,label\ngood good,1\nbad,0\nno good,0\n")
    (tmp_path / "csv" / "validation.csv").write_text("text,label\ngood,1\n")
    own = {"dataset": str(tmp_path / "csv"), "buckets": 1000, "words_per_text": 2}
    workload: Any = load_workload(f"{EXAMPLES}/own_workload.py:TextClassification", own)
    workload.prepare()
    tokens, labels = workload.rows["train"]
    assert labels.tolist() == [1, 0, 0]
    (good, again), (bad, nothing), (no, good_too) = tokens.tolist()
    assert good == again == good_too == workload.rows["validation"][0][0, 0]
    assert len({good, bad, no, nothing}) == 4
    assert nothing == 0
    assert workload.baselines()["label frequencies"] == pytest.approx(math.log(3))  # a third of the labels are 1


def batchlaw_run(path: Path, out: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["run", str(path), "--out", str(out), "--quiet", "--no-report", *options])


def test_a_study_of_a_script_and_of_a_class_of_ones_own_runs_and_goes_on(tmp_path: Path, reviews: Path) -> None:
    """Two rates of each example, and a 2 × 2 grid of a script whose trials end in every way."""
    sweeps = [yaml.safe_load((EXAMPLES / f"{name}").with_suffix(".yaml").read_text())["sweeps"][0] for name in FILES]
    for sweep, name in zip(sweeps, FILES, strict=True):
        sweep["workload"] = sweep["workload"].replace(name, str(EXAMPLES / name))
        sweep |= {"batch_sizes": [16], "extend": {}}
    sweeps[0] |= {"budget": {"steps": 40}, "learning_rates": [0.1, 0.4], "outcome": "value_at_budget"}
    sweeps[1] |= {"budget": {"steps": 60}, "learning_rates": [0.01, 0.1]}
    sweeps[1]["workload_settings"] = {"dataset": str(reviews), "buckets": 1000}
    # The class's file imports what lies beside it, here and in the workers.
    (tmp_path / "beside_mine.py").write_text((EXAMPLES / "own_workload.py").read_text())
    (tmp_path / "mine.py").write_text("from beside_mine import TextClassification\n")
    sweeps[1]["workload"] = "mine.py:TextClassification"
    write_script(tmp_path, BOWL.replace("theta = 1.0", "theta = 1.0\nif batch_size == 3: sys.exit('no memory')"))
    endings = {
        "name": "endings",
        "workload": "bowl_script.py",
        "workload_settings": {"arguments": ARGUMENTS, "loss_limit": 100.0},
        "target": {"value": 0.005},
        "outcome": "steps_to_target",
        "optimizer": "sgd",
        "batch_sizes": [2, 3],
        "learning_rates": [0.25, 4.0],
        "budget": {"steps": 40},
    }
    path, out = tmp_path / "study.yaml", tmp_path / "out"
    path.write_text(yaml.safe_dump({"name": "own", "sweeps": [*sweeps, endings]}))
    first = batchlaw_run(path, out)
    assert first.exit_code == 0, first.output
    assert "8 of 8 trials to run" in first.stdout
    stored = ResultStore(out).read()
    rows = stored.trials.set_index("sweep")
    script = rows.loc["digits-sgd"]
    assert set(script["status"]) == {"exhausted"}
    assert (script["value"] < math.log(10)).all(), "what it learned beats a uniform guess over ten digits"
    assert (script["examples"] == 40 * script["batch_size"]).all()
    points = stored.curves[stored.curves["trial_id"].isin(script["trial_id"])]
    assert sorted(set(points["step"])) == [20, 40]
    assert set(points["name"]) == {"loss"}
    assert set(rows.loc["text-adamw", "status"]) == {"reached"}
    ends = {(row.batch_size, row.learning_rate): row for row in rows.loc["endings"].itertuples()}
    assert ends[2, 0.25].status == "reached"
    assert ends[2, 4.0].status == "diverged"
    assert {ends[3, rate].message for rate in (0.25, 4.0)} == {"bowl_script.py: exit status 1: no memory"}
    assert (rows.loc["endings", "workload"] == "bowl_script.py").all()

    # The script is put right, and failed trials alone run again, from the resolved study that lies with the results.
    write_script(tmp_path)
    again = batchlaw_run(out / "study.yaml", out, "--retry-failed")
    assert again.exit_code == 0, again.output
    assert "2 of 8 trials to run" in again.stdout
    assert set(ResultStore(out).trials()["trial_id"]) == set(rows["trial_id"])
    assert not any(name.startswith("batchlaw-") for name in os.listdir(tmp_path))


FILES = ("own_script.py", "own_workload.py")
