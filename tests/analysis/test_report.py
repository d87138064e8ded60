import base64
import hashlib
import json
import os
import re

import numpy as np
import pandas as pd
import pytest

from analysis.laws import LAWS
from analysis.page.markup import safe_json, script_hash, text
from analysis.page.tables import parameter_words, trials_data
from analysis.report import write_report
from analysis.study_analysis import analyse

from .page_reader import Page
from .synthetic_study import make_trials

HOSTILE = "</script><script>alert('x')</script><b onclick=x>&amp;\u2028%{x} $x$"


def _analysed(trials, curves, *, outcome="steps_to_target"):
    return analyse(trials, curves, outcomes=dict.fromkeys(dict.fromkeys(trials["sweep"]), outcome), resamples=40)


def _page(path):
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def study():
    return make_trials(batch_sizes=(8, 32, 128, 512), seeds=(0, 1))


@pytest.fixture(scope="module")
def analysis(study):
    return _analysed(*study)


@pytest.fixture(scope="module")
def page(analysis, study, tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "deep" / "report.html"
    description, baselines = {"name": "demo"}, {"bert-mlm": {"unigram": 2.88}}
    given = {"title": "A study", "trials": study[0], "study_description": description, "baselines": baselines}
    assert write_report(analysis, path, **given) == path
    return _page(path)


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory):
    trials, curves = make_trials(sweep=HOSTILE, metric=HOSTILE, batch_sizes=(8, 64), seeds=(0, 1))
    names = ("study", "workload", "optimizer", "schedule", "hardware", "message", "code_version", "dtype", "started_at")
    trials = trials.assign(**dict.fromkeys(names, HOSTILE))
    path = write_report(
        _analysed(trials, curves),
        tmp_path_factory.mktemp("hostile") / "report.html",
        title=HOSTILE,
        trials=trials,
        study_description={HOSTILE: HOSTILE},
        baselines={HOSTILE: {HOSTILE: 1.0}},
    )
    return _page(path)


def test_report_of_a_study_has_every_part(page):
    headings = [tag for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert headings.count("h1") == 1
    for words in (
        "The answer",
        "Verdict:",
        "All trials",
        "Baselines",
        "unigram",
        "How this was made",
        '"name": "demo"',
    ):
        assert words in page.text
    figures = [name for name in page.data() if name.startswith("figure-")]
    assert len(figures) == 5
    assert [attrs["data-figure"] for _, attrs in page.elements if "data-figure" in attrs] == figures


def test_answer_is_what_the_analysis_says(page, analysis):
    shown = page.text.replace("\u00a0", " ").lower()
    for sentence in analysis.sentences():
        assert sentence.removeprefix("bert-mlm adamw: ").lower() in shown


def test_report_loads_nothing(page):
    assert not {tag for tag, _ in page.elements} & {"link", "img", "iframe", "object", "embed", "base", "form"}
    for tag, attrs in page.elements:
        assert "src" not in attrs, tag
        assert not [name for name in attrs if name.startswith("on")], tag
        assert (attrs.get("href") or "#").startswith("#"), attrs
    style = page.text[: page.text.index("The answer")]
    assert not re.search(r"url\(|@import", style)


def test_only_the_scripts_of_the_package_may_run(hostile_page):
    policies = [a["content"] for tag, a in hostile_page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert len(policies) == 1
    assert "default-src 'none'" in policies[0]
    assert "unsafe-eval" not in policies[0]
    running = [body for attrs, body in hostile_page.scripts if attrs.get("type") != "application/json"]
    allowed = set(re.findall(r"'sha256-[^']+'", policies[0]))
    digests = {f"'sha256-{base64.b64encode(hashlib.sha256(b.encode()).digest()).decode()}'" for b in running}
    assert len(running) == 4
    assert digests == allowed


def test_names_from_data_show_letter_by_letter(hostile_page):
    assert HOSTILE in " ".join(hostile_page.text.split("\n"))
    assert not [tag for tag, attrs in hostile_page.elements if tag == "b" and attrs]
    assert not [body for _, body in hostile_page.scripts if body.startswith("alert")]


def test_names_from_data_are_text_in_figures(hostile_page):
    figures = {name: json.dumps(spec) for name, spec in hostile_page.data().items() if name.startswith("figure-")}
    assert figures
    for spec in figures.values():
        assert "<b onclick" not in spec
        assert "<script" not in spec
        assert "%{x} &#36;" not in spec
    assert any("&lt;b onclick=x&gt;" in spec for spec in figures.values())


def test_trials_table_holds_names_and_unknown_numbers(hostile_page):
    table = hostile_page.data()["trials-data"]
    columns = {column["key"]: column for column in table["columns"]}
    assert columns["sweep"]["words"] == [HOSTILE]
    assert all(len(column["values"]) == table["count"] for column in columns.values())
    assert None in columns["steps_to_target"]["values"]


def test_trials_data_gives_back_the_trials(study):
    trials, _ = study
    columns = {column["key"]: column for column in trials_data(trials)["columns"]}
    status = [columns["status"]["words"][code] for code in columns["status"]["values"]]
    assert status == trials["status"].tolist()
    assert columns["batch_size"]["values"] == trials["batch_size"].tolist()
    np.testing.assert_allclose(
        np.array(columns["value"]["values"], dtype=float), trials["value"], rtol=1e-5, equal_nan=True
    )


def test_safe_json_parses_back_and_has_no_letter_of_html():
    value = {HOSTILE: [HOSTILE, 1, None, 0.5]}
    encoded = safe_json(value)
    assert json.loads(encoded) == value
    assert not set("<>&\u2028") & set(encoded)
    with pytest.raises(ValueError, match="not JSON compliant"):
        safe_json(float("nan"))


def test_text_is_safe_in_attributes():
    assert text("\"><i>'&") == "&quot;&gt;&lt;i&gt;&#x27;&amp;"


def test_script_hash_known_answer():
    """Printed in W3C's Content Security Policy Level 2, section 7.18: the script alert('Hello, world.');."""
    assert script_hash("alert('Hello, world.');") == "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("ok", "B_noise = 130 [90.0, 190]"),
        ("at_bound", "B_noise = 130 [90.0, 190] (at its bound)"),
        ("unbounded_high", "B_noise at least 90"),
        ("unbounded_low", "B_noise at most 190"),
        ("failed", "not fitted"),
    ],
)
def test_parameters_in_words(status, words):
    row = {"parameter": "B_noise", "value": 130.0, "low": 90.0, "high": 190.0, "status": status}
    assert parameter_words(row) == words


def _all(status):
    def change(trials):
        none = np.full(len(trials), np.nan)
        return trials.assign(status=status, steps_to_target=none, examples_to_target=none)

    return change


def _one_seed_without_target(trials):
    return _all("exhausted")(trials[trials["seed"] == 0]).assign(
        target=np.nan, steps=100, metric="accuracy", mode="max"
    )


@pytest.mark.parametrize("outcome", ["steps_to_target", "value_at_budget"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_all("diverged"), "diverged"),
        (_all("exhausted"), "exhausted"),
        (_all("failed"), "failed"),
        (lambda trials: trials[trials["batch_size"] == 8], "undetermined"),
        (lambda trials: trials[trials["learning_rate"] == trials["learning_rate"].min()], "undetermined"),
        (lambda trials: trials.iloc[:1], "undetermined"),
        (_one_seed_without_target, "exhausted"),
    ],
    ids=["all diverged", "all exhausted", "all failed", "one batch size", "one rate", "one trial", "no target"],
)
def test_poor_studies_get_a_report_with_words(tmp_path, study, change, words, outcome):
    trials, curves = study
    changed = change(trials.assign(steps=100, examples=100 * trials["batch_size"])).reset_index(drop=True)
    analysis = _analysed(changed, curves.iloc[:0], outcome=outcome)
    page = _page(write_report(analysis, tmp_path / "report.html", title="Poor", trials=changed))
    assert words in page.text
    assert "undetermined" in page.text


def test_equal_arguments_give_equal_bytes(tmp_path, analysis, study):
    paths = [write_report(analysis, tmp_path / name, title="A study", trials=study[0]) for name in ("a", "b")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_write_that_fails_leaves_the_old_report(tmp_path, analysis, study, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def refuse(*_):
        raise OSError("no space")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="no space"):
        write_report(analysis, path, title="A study", trials=study[0])
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_report_of_500_trials_is_below_six_megabytes(tmp_path):
    sweeps = [make_trials(sweep=name, seeds=(0, 1, 2), seed=k) for k, name in enumerate(("first", "second"))]
    trials = pd.concat([t for t, _ in sweeps], ignore_index=True)
    trials["trial_id"] = [f"{k:016x}" for k in range(len(trials))]
    curves = pd.concat([c for _, c in sweeps], ignore_index=True)
    assert len(trials) > 500
    outcomes = dict.fromkeys(("first", "second"), "steps_to_target")
    analysis = analyse(trials, curves, outcomes=outcomes, resamples=40, laws={"power": LAWS["power"]})
    assert write_report(analysis, tmp_path / "report.html", title="Large", trials=trials).stat().st_size < 6e6
