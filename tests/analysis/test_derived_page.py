"""Derived laws in the report: the numbers behind the figures, the words, and names that come from data."""

from __future__ import annotations

import dataclasses
import functools
import json
import re

import numpy as np
import pandas as pd
import pytest

from analysis.derived import Optimizer
from analysis.derived_study import FILES, derive_study
from analysis.figures import (
    derived_rates_figure,
    derived_rates_table,
    noise_steps_figure,
    noise_steps_table,
    optima_table,
)
from analysis.page.derived import derived_markup
from analysis.page.tables import trials_data
from analysis.report import write_probe_report, write_report
from analysis.study_analysis import analyse

from .page_reader import Page
from .simulated_probes import dense, diagonal, probe_runs, with_rate
from .synthetic_study import B_NOISE, ETA_MAX, make_trials

SIZES = (8, 32, 128, 512)
SWEEP = "toy sgd"
HOSTILE = "</script><script>alert('x')</script><b onclick=x>&amp;\u2028%{x} $x$"
SGD = with_rate(diagonal(b_simple=B_NOISE), eta_max=ETA_MAX)


@functools.cache
def swept(sweep):
    trials, curves = make_trials(sweep=sweep, batch_sizes=SIZES, seeds=(0,), optimizer="sgd")
    return trials, analyse(trials, curves, outcomes={sweep: "steps_to_target"}, resamples=40)


def study_of(sweep, *, problem=SGD, optimizer="sgd", study="s", workload="w", **settings):
    """Return trials (those of the probe runs too), the analysis of the grid, and what the probes derive."""
    trials, analysis = swept(sweep)
    settings = {"batch_sizes": SIZES, "draws": 8, "sweep": sweep, "steps": (0, 40)} | settings
    rows, runs = probe_runs(problem, **settings)
    found = derive_study(
        rows, runs=runs, optimizers={sweep: Optimizer(name=optimizer)}, batch_sizes={sweep: SIZES}, study=study,
        workloads={sweep: workload}, optima=analysis.optima, fits=analysis.fits, tradeoff=analysis.tradeoff,
        resamples=300,
    )  # fmt: skip
    probed = trials.iloc[: len(runs)].assign(
        trial_id=runs["trial_id"].to_numpy(), purpose="probe", learning_rate=77.0, seed=9
    )
    return pd.concat([trials, probed], ignore_index=True), analysis, found


def page_of(path):
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def study():
    return study_of(SWEEP)


@pytest.fixture(scope="module")
def page(study, tmp_path_factory):
    trials, analysis, derived = study
    path = tmp_path_factory.mktemp("derived") / "report.html"
    return page_of(write_report(analysis, path, title="A study", trials=trials, derived=derived))


def shown(page):
    return re.sub(r"\s+", " ", page.text.replace("\u00a0", " "))


def test_the_section_of_a_sweep_holds_what_the_probes_say(page, study):
    words = shown(page)
    for heading in ("Derived and fitted rates", "The noise scale along training", "Laws derived from gradients:"):
        assert heading in words
    assert "one_step, saturating supported" in words
    assert list(page.data())[-3:-1] == ["figure-1-6", "figure-1-7"]
    lines = [line.removeprefix(f"{SWEEP}: ") for line in study[2].sentences(SWEEP)]
    for line in lines:
        assert line[1:] in words  # the first letter is a capital one there
    answer = words[words.index("The answer") : words.index("Verdict:")]
    assert answer.count("f the laws derived from gradients") == 1
    assert not [line for line in lines[1:] if line[1:] in answer]


def test_the_tables_hold_the_numbers(page, study):
    words, derived = shown(page), study[2]
    row = derived.verdicts.set_index("derivation").loc["saturating"]
    assert f"{row['level']:.3g}" in words
    for run in derived.runs.itertuples():
        assert run.trial_id in words
    assert "tr(HΣ)/gᵀHg" in words
    assert "(1-mu if heavy ball) * |g|^2" in words


def test_probe_runs_are_listed_and_enter_no_figure_of_the_grid(page, study):
    columns = {column["key"]: column for column in page.data()["trials-data"]["columns"]}
    assert [columns["purpose"]["words"][i] for i in columns["purpose"]["values"]].count("probe") == len(SIZES)
    figures = json.dumps({name: spec for name, spec in page.data().items() if name.startswith("figure-")})
    assert "77.0" not in figures
    trials = study[0]
    assert f"{len(trials) - len(SIZES)} trials (" in shown(page)
    plain = trials_data(trials[trials["purpose"] == "sweep"])
    assert "purpose" not in [column["key"] for column in plain["columns"]]


def test_equal_arguments_give_equal_bytes(study):
    _, analysis, derived = study
    again = study_of(SWEEP)[2]
    one, other = (derived_markup(d, number=1, first=6, fitted=analysis) for d in (derived, again))
    assert one.encode() == other.encode()


def test_probes_alone_have_a_page_of_their_own(study, tmp_path):
    trials, _, derived = study
    alone = dataclasses.replace(derived, comparison=derived.comparison.iloc[:0], verdicts=derived.verdicts.iloc[:0])
    given = {"title": "Probes", "trials": trials, "notes": ["A note."], "study_description": {"name": "demo"}}
    page = page_of(write_probe_report(alone, tmp_path / "deep" / "probe.html", **given))
    words = shown(page)
    for part in ("The answer", "derived without a sweep by one_step", "Derived rates", "A note.", '"name": "demo"'):
        assert part in words
    assert "Best learning rate against batch size" not in words
    assert [name for name in page.data() if name.startswith("figure-")] == ["figure-1-1", "figure-1-2"]
    names = [trace.get("name") for trace in page.data()["figure-1-1"]["data"]]
    assert "rate of the probe run" in names
    assert not [name for name in names if name and "fitted" in name]
    policies = [attrs["content"] for tag, attrs in page.elements if attrs.get("http-equiv")]
    assert len(policies) == 1
    assert "default-src 'none'" in policies[0]


def test_nothing_probed_is_a_page_that_says_so(study, tmp_path):
    trials, _, derived = study
    empty = type(derived)(**{name: getattr(derived, name).iloc[:0] for name in FILES})
    page = page_of(write_probe_report(empty, tmp_path / "probe.html", title="Probes", trials=trials))
    assert "No probe gave anything to derive a law from." in shown(page)
    assert derived_markup(empty, number=1, first=1) == ""


@pytest.fixture(scope="module")
def hostile_pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    trials, analysis, derived = study_of(HOSTILE, study=HOSTILE, workload=HOSTILE)
    named = [getattr(derived, name).copy() for name in FILES]
    for table in named:
        for column in ("derivation", "definition", "reason", "parameter", "quantity", "verdict"):
            if column in table.columns:
                rows = table.index[:: 1 if column == "definition" else 3]
                table[column] = table[column].astype(object)
                table.loc[rows, column] = HOSTILE
    derived = type(derived)(**dict(zip(FILES, named, strict=True)))
    given = {"title": HOSTILE, "trials": trials}
    return [
        page_of(write_report(analysis, folder / "report.html", derived=derived, **given)),
        page_of(write_probe_report(derived, folder / "probe.html", **given)),
    ]


def test_names_from_data_are_text(hostile_pages):
    for page in hostile_pages:
        assert HOSTILE in " ".join(page.text.split("\n"))
        assert not [tag for tag, attrs in page.elements if tag == "b" and attrs]
        assert not [body for _, body in page.scripts if body.startswith("alert")]
        assert len([body for attrs, body in page.scripts if attrs.get("type") != "application/json"]) == 4
        figures = {name: spec for name, spec in page.data().items() if name.startswith("figure-")}
        assert len(figures) >= 2
        drawn = json.dumps(list(figures.values()))
        for raw in ("<script", "<b onclick", "%{x} $x$"):
            assert raw not in drawn


LOUD = dataclasses.replace(SGD, noise=SGD.noise * 300.0)


@pytest.mark.parametrize("settings", [{"draws": 1}, {"draws": 3, "problem": LOUD}, {"optimizer": "lamb"}])
def test_a_half_resolved_study_is_shown_without_a_fault(settings):
    _, analysis, derived = study_of(SWEEP, **settings)
    markup = derived_markup(derived, number=1, first=1, fitted=analysis)
    page = Page(markup)
    assert "Laws derived from gradients:" in shown(page)
    assert not {"nan", "<na>"} & set(shown(page).lower().split())
    assert "figure-1-1" in page.data()


def derived_rows(*rows):
    names = ("derivation", "step", "batch_size", "learning_rate", "low", "high", "status")
    return pd.DataFrame(rows, columns=names).assign(trial_id="", reason="").astype({"step": "Int64"})


RATES = derived_rows(
    ("one_step", 5, 8.0, 9.0, 8.0, 10.0, "ok"),
    ("one_step", pd.NA, 32.0, 2.0, 1.5, 2.5, "ok"),
    ("one_step", pd.NA, 8.0, 1.0, 0.5, 2.0, "ok"),
    ("one_step", pd.NA, 64.0, 5.0, np.nan, 9.0, "not_resolved"),
    ("surge", pd.NA, 8.0, 1.0, 0.9, 1.1, "ok"),
    ("surge", pd.NA, 32.0, 2.0, 1.9, 2.1, "ok"),
    ("surge_mean_field", pd.NA, 8.0, 1.03, 0.9, 1.1, "ok"),
    ("surge_mean_field", pd.NA, 32.0, 1.95, 1.9, 2.1, "ok"),
    ("half_power", pd.NA, 8.0, 1.03, 0.9, 1.1, "ok"),
    ("half_power", pd.NA, 32.0, 2.2, 1.9, 2.1, "ok"),
)
VERDICTS = pd.DataFrame({"derivation": ["one_step", "surge"], "verdict": ["supported", "rejected"]})


def test_the_rates_drawn_are_the_resolved_means_of_the_sweep():
    table = derived_rates_table(RATES, VERDICTS)
    assert table[["derivation", "batch_size", "learning_rate"]].to_numpy().tolist() == [
        ["one_step", 8.0, 1.0], ["one_step", 32.0, 2.0], ["surge", 8.0, 1.0], ["surge", 32.0, 2.0],
        ["surge_mean_field", 8.0, 1.03], ["surge_mean_field", 32.0, 1.95],
        ["half_power", 8.0, 1.03], ["half_power", 32.0, 2.2],
    ]  # fmt: skip
    first = table.drop_duplicates("derivation").set_index("derivation")
    assert first["kind"].to_dict() == {
        "one_step": "points", "surge": "curve", "surge_mean_field": "curve", "half_power": "curve",
    }  # fmt: skip
    assert first["verdict"].to_dict() == {
        "one_step": "supported", "surge": "rejected", "surge_mean_field": "", "half_power": "",
    }  # fmt: skip
    assert first["shown"].to_dict() == {
        "one_step": True, "surge": True, "surge_mean_field": False, "half_power": True,
    }  # fmt: skip
    assert derived_rates_table(RATES.iloc[:0], VERDICTS.iloc[:0]).empty


def test_the_figure_draws_points_lines_and_what_waits_in_the_legend(study):
    runs = pd.DataFrame({"batch_size": [8.0], "learning_rate": [1.0]})
    optima = optima_table(study[1].optima)
    figure = derived_rates_figure(derived_rates_table(RATES, VERDICTS), optima, pd.DataFrame(), runs=runs)
    traces = {trace.name: trace for trace in figure.data if trace.name}
    points = traces["derived: one_step (supported)"]
    assert points.mode == "markers"
    assert list(points.y) == [1.0, 2.0]
    assert list(points.error_y.array) == [1.0, 0.5]
    assert list(points.error_y.arrayminus) == [0.5, 0.5]
    assert "batch size 8: " in points.text[0]
    assert list(traces["derived: surge (rejected)"].y) == [1.0, 2.0]
    assert traces["derived: surge (rejected)"].visible is True
    assert traces["derived: surge_mean_field"].visible == "legendonly"
    assert "rate of the probe run" not in traces
    optimum = traces["fitted optimum, 95 % interval"]
    assert list(optimum.y) == pytest.approx(list(optima.loc[optima["reading"] == "point", "learning_rate"]))
    low, high = figure.layout.yaxis.range
    assert 10**low < min(*optimum.y, 1.0)
    assert 10**high > 2.2


def test_the_noise_scale_along_training_has_run_and_examples_beside_it():
    rows = [
        ("fit", "", pd.NA, 60.0, 50.0, 70.0, "ok"),
        ("hyperbola", "", pd.NA, np.nan, 40.0, np.nan, "not_resolved"),
        ("probe_b_noise", "b", 10, 55.0, 45.0, 66.0, "ok"),
        ("probe_b_noise", "a", 20, 30.0, np.nan, 66.0, "not_resolved"),
        ("probe_b_noise", "a", 10, 20.0, 10.0, 40.0, "ok"),
        ("probe_b_simple", "a", 10, np.nan, np.nan, np.nan, "not_measured"),
    ]
    three_way = pd.DataFrame(rows, columns=["source", "trial_id", "step", "value", "low", "high", "status"])
    three_way = three_way.astype({"step": "Int64"}).assign(definition="B_noise of saturating fitted to the best rates")
    scales = pd.DataFrame({"trial_id": ["a", "a", "a", "b"], "step": [10, 10, 20, 10], "examples": [80, 80, 160, 320]})
    runs = pd.DataFrame({"trial_id": ["b", "a"], "batch_size": [32, 8], "learning_rate": [0.2, 0.1]})
    table = noise_steps_table(three_way, scales, runs)
    assert table[["source", "trial_id", "batch_size", "step", "examples", "value"]].to_numpy().tolist()[:3] == [
        ["probe_b_noise", "a", 8, 10, 80, 20.0],
        ["probe_b_noise", "a", 8, 20, 160, 30.0],
        ["probe_b_noise", "b", 32, 10, 320, 55.0],
    ]
    figure = noise_steps_figure(table, three_way)
    traces = {trace.name: trace for trace in figure.data}
    assert set(traces) == {
        "B = 8", "B = 32", "B_noise of saturating, fitted: 60 [50, 70]", "B_crit of steps and examples: at least 40",
    }  # fmt: skip
    assert list(traces["B = 8"].x) == [80, 160]
    assert list(traces["B = 8"].y) == [20.0, 30.0]
    assert list(traces["B = 8"].marker.symbol) == ["circle", "circle-open"]
    assert list(traces["B = 8"].error_y.array) == [20.0, 36.0]
    rects = [(shape.y0, shape.y1) for shape in figure.layout.shapes if shape.type == "rect"]
    lines = [shape.y0 for shape in figure.layout.shapes if shape.type == "line"]
    assert (rects, lines) == ([(50.0, 70.0)], [60.0, 40.0])


def test_a_probe_before_the_first_step_has_a_place_left_of_all_others(study):
    derived = study[2]
    table = noise_steps_table(derived.three_way, derived.noise_scales, derived.runs)
    assert set(table["examples"]) == {0, *(40 * b for b in SIZES)}
    axis = noise_steps_figure(table, derived.three_way).layout.xaxis
    assert axis.ticktext[0] == "0"
    assert axis.tickvals[0] == 40 * SIZES[0] / 4
    assert all(
        float(text.replace("\u202f", "")) == value
        for text, value in zip(axis.ticktext[1:], axis.tickvals[1:], strict=True)
    )


def test_an_average_of_gradients_is_told_under_the_figure():
    _, analysis, derived = study_of(SWEEP, optimizer="ema-momentum")
    page = Page(derived_markup(derived, number=1, first=1, fitted=analysis))
    assert "The probes' values are multiplied by 0.0526, the optimiser's noise factor" in shown(page)
    assert "multiplied" not in derived_markup(derived, number=1, first=1, all_figures=False)


def test_without_figures_the_tables_stay(study):
    derived = study[2]
    markup = derived_markup(derived, number=1, first=6, all_figures=False)
    assert "data-figure" not in markup
    assert "Parameters of the closed forms" in markup


def test_the_surge_of_a_sign_brings_its_own_noise_scale():
    sign = dense(beta_n=0.5)
    rows, runs = probe_runs(sign, batch_sizes=(8, 64), draws=8, phi=np.sign, rate=sign.sign_rate, steps=(3,))
    fit = {"sweep": SWEEP, "law": "surge", "parameter": "B_s", "value": 60.0, "low": 50.0, "high": 75.0, "status": "ok"}
    found = derive_study(
        rows, runs=runs, optimizers={SWEEP: Optimizer(name="sign-sgd")}, batch_sizes={SWEEP: (8, 64)},
        fits=pd.DataFrame([fit]), resamples=300,
    )  # fmt: skip
    table = noise_steps_table(found.three_way, found.noise_scales, found.runs)
    figure = noise_steps_figure(table, found.three_way)
    assert [note.text for note in figure.layout.annotations] == ["tr(HΣ) / gᵀHg", "B_simple = tr Σ / |g|²", "π κ² / 2"]
    assert found.agreements.set_index(["first", "second"]).loc[("fit", "probe_b_sign"), "agreement"] == "agree"
