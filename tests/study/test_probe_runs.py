"""Which runs a study probes, where, and what refuses to be probed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from results import PROBE, ResultStore
from study.cli import app
from study.cost import CostModel
from study.design import Design, PlannedTrial
from study.loading import load_study, resolved_yaml
from study.resolve import resolve
from trainers.workloads import load_workload
from trainers.workloads.quadratic import Quadratic

from .studies import Study, design, row

PROBES = {"fractions": [0.25, 1.0], "draws": 3}


def stored(study: Design, needed: dict[float, float], **changes: object) -> dict[str, dict[str, object]]:
    return {t.trial_id: row(t, steps=needed[t.spec.learning_rate]) | changes for t in study.trials({})}


def probe_runs(study: Design, rows: dict[str, dict[str, object]]) -> list[PlannedTrial]:
    return [trial for trial in study.trials(rows) if trial.purpose == PROBE]


def test_the_best_cell_is_probed_once_its_batch_size_is_complete() -> None:
    study = design(batch_sizes=[2], learning_rates=[0.1, 0.2, 0.4], seeds=[0, 1], probes=PROBES)
    rows = stored(study, {0.1: 40, 0.2: 30, 0.4: 50}, steps=32)
    last = rows.popitem()
    assert probe_runs(study, rows) == []
    rows |= [last]
    (run,) = probe_runs(study, rows)
    assert (run.spec.learning_rate, run.spec.seed, run.extension) == (0.2, 0, False)
    assert run.spec.probes == {"draws": 3, "ladder": [2], "steps": [8, 32]}
    # Nothing else differs, and it is the last to run.
    cell = next(t for t in study.trials({}) if t.spec.learning_rate == 0.2 and t.spec.seed == 0)
    assert run.spec.to_dict() == {**cell.spec.to_dict(), "probes": run.spec.probes}
    assert study.missing(rows) == [run]
    assert study.trials(rows)[-1] == run
    assert study.missing({**rows, run.trial_id: row(run)}) == []


def test_a_seed_that_failed_is_not_probed_and_no_rate_is_where_all_diverged() -> None:
    study = design(batch_sizes=[2], learning_rates=[0.1, 0.2], seeds=[0, 1], probes=PROBES)
    rows = stored(study, {0.1: 40, 0.2: 30})
    first = next(t for t in study.trials({}) if t.spec.learning_rate == 0.2)
    rows[first.trial_id]["status"] = "failed"
    (run,) = probe_runs(study, rows)
    assert (run.spec.learning_rate, run.spec.seed) == (0.2, 1)
    assert probe_runs(study, {key: {**value, "status": "diverged"} for key, value in rows.items()}) == []


def test_only_the_batch_sizes_asked_for_are_probed_and_a_ladder_is_kept() -> None:
    study = design(batch_sizes=[2, 4, 8], learning_rates=[0.1], probes={**PROBES, "batch_sizes": [4], "ladder": [2, 8]})
    (run,) = probe_runs(study, stored(study, {0.1: 40}))
    assert run.spec.batch_size == 4
    assert run.spec.probes is not None
    assert run.spec.probes["ladder"] == [2, 8]


def test_a_probe_run_costs_what_probes_took_before() -> None:
    study = design(batch_sizes=[2, 4], learning_rates=[0.1], seeds=[0], probes=PROBES)
    rows = stored(study, {0.1: 40})
    first, second = probe_runs(study, rows)
    plain = CostModel(rows.values()).seconds(second)
    probed = [*rows.values(), {**row(first), "probe_seconds": 7.0}]
    assert plain is not None
    assert CostModel(probed).seconds(second) == pytest.approx(plain + 7.0)


@pytest.mark.parametrize(
    ("probes", "message"),
    [
        ({"batch_sizes": [3]}, "probes: probe runs are at batch sizes of the sweep ([2, 4]), but 3 is none"),
        ({"fractions": [1.5]}, "probes.fractions[0]: should be less than or equal to 1, but got 1.5"),
        ({"steps": [3]}, "probes: fractions say where to measure, so leave out steps"),
        ({"drows": 3}, "probes: at batch size 2: drows is not a setting; did you mean draws?"),
        (
            {"small_batch_size": 2, "large_batch_size": 3},
            "probes: at batch size 2: large_batch_size must be a multiple",
        ),
        ({"max_equivalent_steps": 1.0}, "probes: at batch size 2: a probe must cost at most"),
    ],
)
def test_wrong_probes_are_one_line_at_their_place(study: Study, probes: dict[str, object], message: str) -> None:
    path = study.write(probes=probes)
    answer = CliRunner().invoke(app, ["plan", str(path)])
    assert answer.exit_code == 2
    assert message in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_a_resolved_study_says_all_of_its_measurement_and_reads_back(study: Study, tmp_path: Path) -> None:
    resolved = resolve(load_study(study.write(probes=PROBES)))
    probes = resolved.config.sweeps[0].probes
    assert probes is not None
    assert probes.measurement["quantities"] == ["two_batch", "curvature"]
    assert resolved.arithmetic["bowl", 2].probe_steps is not None
    again = tmp_path / "again" / "study.yaml"
    again.parent.mkdir()
    again.write_text(resolved_yaml(resolved.config))
    assert resolve(load_study(again)).config == resolved.config
    assert "2 probe runs follow, each probe as long as" in CliRunner().invoke(app, ["plan", str(again)]).stdout


QUADRATIC: dict[str, Any] = {
    "workload": "quadratic",
    "workload_settings": {"dimensions": 200, "spectrum_exponent": 0.25, "noise": 16.0},
    "outcome": "value_at_budget",
    "target": None,
    "batch_sizes": [16, 64, 256],
    "learning_rates": [0.5, 1.0, 2.0, 4.0],
    "seeds": [0],
    "budget": {"steps": 1},
    "extend": {"max_steps_per_side": 1},
    "probes": {"fractions": [0.0], "draws": 24, "quantities": ["two_batch", "curvature", "one_step"]}
    | {"small_batch_size": 4, "large_batch_size": 64, "reference_batch_size": 4096, "curvature_batch_size": 16},
}


def test_a_study_with_probes_is_run_compared_and_shown(study: Study) -> None:
    out = study.folder / "out"
    path = study.write(resources={"max_concurrent": 1}, **QUADRATIC)
    answer = CliRunner().invoke(app, ["run", str(path), "--out", str(out), "--quiet"])
    assert answer.exit_code == 0, answer.output
    tables = ResultStore(out).read()
    runs = tables.trials[tables.trials["purpose"] == PROBE]
    assert sorted(runs["batch_size"]) == [16, 64, 256]
    assert (runs["probe_seconds"] > 0).all()
    assert set(tables.probes["trial_id"]) == set(runs["trial_id"])
    # A probe run takes the very steps of its cell.
    cells = tables.trials[tables.trials["purpose"] != PROBE].set_index(["batch_size", "learning_rate"])
    for run in runs.itertuples():
        assert cells.loc[(run.batch_size, run.learning_rate), "value"] == run.value
    assert (out / "tables" / "derived_vs_fitted.csv").is_file()
    assert "saturating" in answer.stdout
    page = (out / "report.html").read_text()
    assert "derived" in page.lower()

    again = CliRunner().invoke(app, ["run", str(path), "--out", str(out), "--quiet", "--no-report"])
    assert "nothing to run" in again.stdout

    # The probes alone give the exact law, at any batch size.
    asked = ["predict", "--from-probe", str(out), "--batch-size", "32", "--json"]
    said = CliRunner().invoke(app, asked)
    assert said.exit_code == 0, said.output
    rates = {row["derivation"]: row for row in json.loads(said.stdout)["from_probe"]["bowl"]}
    exact = exact_rate(32)
    assert rates["saturating"]["status"] == "ok"
    assert rates["saturating"]["low"] < exact < rates["saturating"]["high"]
    assert rates["saturating"]["high"] / rates["saturating"]["low"] < 2.5
    known = CliRunner().invoke(app, [*asked, "--from-batch-size", "64", "--from-learning-rate", "1"])
    ratio = next(r for r in json.loads(known.stdout)["from_probe"]["bowl"] if r["derivation"] == "saturating")
    assert ratio["learning_rate"] == pytest.approx(exact_rate(32) / exact_rate(64), rel=0.15)


def exact_rate(batch_size: float) -> float:
    workload = load_workload("quadratic", QUADRATIC["workload_settings"])
    assert isinstance(workload, Quadratic)
    law = workload.exact_one_step_law()
    return law["eta_max"] / (1 + law["b_noise"] / batch_size)


def test_a_probe_without_a_sweep_answers_for_a_small_share(study: Study) -> None:
    out = study.folder / "probed"
    sweep = {key: value for key, value in QUADRATIC.items() if key != "probes"}
    path = study.write(**{**sweep, "budget": {"steps": 400}})
    answer = CliRunner().invoke(app, ["probe", str(path), "--out", str(out), "--quiet"])
    assert answer.exit_code == 0, answer.output
    tables = ResultStore(out).read()
    (run,) = tables.trials.to_dict("records")
    assert run["purpose"] == PROBE
    spec = json.loads(run["spec"])
    assert run["steps"] == max(spec["probes"]["steps"]) < 400
    assert "% of the sweep's" in answer.stdout
    share = float(answer.stdout.split("% of the sweep's")[0].rsplit(" ", 1)[1])
    assert 0 < share <= 2.0
    assert "saturating" in answer.stdout
    assert (out / "report.html").is_file()
    said = CliRunner().invoke(app, ["predict", "--from-probe", str(out), "--batch-size", "32"])
    assert said.exit_code == 0, said.output
    assert "saturating" in said.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch-size", "3"], "--batch-size must be one of the sweep's (2, 4), but got 3"),
        (["--learning-rate", "-1"], "--learning-rate must be positive and finite, but got -1"),
        (["--sweep", "x"], "--sweep must be one of bowl, but got 'x'"),
        (["--share", "0.0001"], "buys no probe of 4 draws at batch size 2; give --share"),
    ],
)
def test_a_probe_that_cannot_be_had_is_one_line(study: Study, options: list[str], message: str) -> None:
    answer = CliRunner().invoke(app, ["probe", str(study.write()), "--out", str(study.folder / "out"), *options])
    assert answer.exit_code == 2, answer.output
    assert message in answer.stderr
    assert not (study.folder / "out").exists()


def test_rates_from_probes_are_refused_in_one_line(study: Study) -> None:
    runner = CliRunner()
    empty = runner.invoke(app, ["predict", "--from-probe", str(study.folder), "--batch-size", "8"])
    assert empty.exit_code == 2
    assert "holds no study.yaml" in empty.stderr
    both = runner.invoke(app, ["predict", str(study.folder), "--from-probe", str(study.folder), "--batch-size", "8"])
    assert "leave PLACE" in both.stderr
