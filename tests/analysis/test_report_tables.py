"""The report of any table: few columns, many groups, steps without rates."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from analysis.figures import groups_table
from analysis.laws import LAWS
from analysis.page.overview import FOLDED_FROM, MOST_DRAWN_FULLY
from analysis.report import write_report
from analysis.sentences import sweep_sentences
from analysis.study_analysis import TABLES, analyse
from analysis.tradeoff_analysis import analyse_steps

from .page_reader import Page
from .sweeps import one_step_sweep, parabola_sweep

NO_CURVES = pd.DataFrame(columns=["trial_id", "step", "examples", "name", "value"])
LAW = {"sqrt": LAWS["sqrt"], "power": LAWS["power"]}
HOSTILE = '</script><script>alert("x")</script><b onclick=x>'
CORE = ["sweep", "batch_size", "learning_rate", "seed", "status", "value", "mode"]


def table(names):
    parts = [
        parabola_sweep(lambda b: 0.01 * b**0.5, sweep=name, noise=0.05, batch_sizes=(8, 16, 32, 64), seeds=1, seed=k)
        for k, name in enumerate(names)
    ]
    return pd.concat(parts, ignore_index=True)[CORE]


def analysed(trials, outcome="value_at_budget"):
    outcomes = dict.fromkeys(dict.fromkeys(trials["sweep"]), outcome)
    return analyse(trials, NO_CURVES, outcomes=outcomes, laws=LAW, resamples=40)


def page_of(analysis, trials, folder, **options):
    path = write_report(analysis, folder / "report.html", title="A table", trials=trials, **options)
    return Page(path.read_text(encoding="utf-8"))


def headings(page):
    return [words.strip() for words in page.words if words.strip()]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    trials = table(["all"])
    folder = tmp_path_factory.mktemp("plain")
    notes = [f"The loss is taken from the column {HOSTILE!r}."]
    return page_of(analysed(trials), trials, folder, source=f"CSV file {HOSTILE}", notes=notes)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Eight groups, made of two analyses under other names."""
    values = [f"{HOSTILE} {k}" if k == 3 else f"w{k}" for k in range(FOLDED_FROM + 1)]
    names = [f"width={value}" for value in values]
    once = table(["a", "b"])
    analysis = analysed(once)
    tables = {
        each: pd.concat(
            [
                getattr(analysis, each).loc[lambda t, k=k: t["sweep"] == "ab"[k % 2]].assign(sweep=name)
                for k, name in enumerate(names)
            ],
            ignore_index=True,
        )
        for each in TABLES
        if len(getattr(analysis, each))
    }
    trials = pd.concat(
        [once[once["sweep"] == "ab"[k % 2]].assign(sweep=name, width=values[k]) for k, name in enumerate(names)]
    )
    renamed = analysis.__class__(
        **{each: tables.get(each, getattr(analysis, each)) for each in TABLES},
        outcomes=dict.fromkeys(names, "value_at_budget"),
        curves=NO_CURVES,
    )
    groups = pd.DataFrame({"sweep": names, "width": values})
    return page_of(renamed, trials, tmp_path_factory.mktemp("many"), groups=groups), names, values


def test_columns_that_are_not_there_leave_no_shell(plain):
    for words in ("Training curves", "Steps and examples", "training time", "hardware", "ZeRO", "trials began", "nan"):
        assert words not in plain.text, words
    assert [name for name in plain.data() if name.startswith("figure-")] == ["figure-1-1", "figure-1-2", "figure-1-3"]
    assert "no study" not in plain.text
    assert " · · " not in plain.text
    columns = [column["key"] for column in plain.data()["trials-data"]["columns"]]
    assert columns == ["sweep", "status", "batch_size", "learning_rate", "seed", "value"]


def test_what_was_read_and_how_is_said_letter_by_letter(plain):
    assert f"CSV file {HOSTILE}" in plain.text
    assert f"The loss is taken from the column {HOSTILE!r}." in plain.text
    assert not [tag for tag, attrs in plain.elements if tag == "b" and attrs]
    assert len(plain.scripts) == 4 + len(plain.data())


def test_blank_columns_count_as_absent(tmp_path):
    trials = table(["all"]).assign(hardware="", workload="", train_seconds=np.nan, metric="val_loss", message="")
    page = page_of(analysed(trials), trials, tmp_path)
    assert "hardware" not in page.text
    assert "training time" not in page.text
    assert "val_loss at the budget" in page.text


def test_other_columns_stand_with_the_trials(tmp_path):
    trials = table(["all"]).assign(width=64, note=HOSTILE)
    page = page_of(analysed(trials), trials, tmp_path)
    columns = {column["key"]: column for column in page.data()["trials-data"]["columns"]}
    assert columns["width"]["values"] == [64] * len(trials)
    assert columns["note"]["words"] == [HOSTILE]


def test_many_groups_begin_with_a_table_that_leads_to_folded_sections(many):
    page, names, values = many
    folded = [attrs["id"] for tag, attrs in page.elements if tag == "details" and attrs.get("class") == "sweep"]
    assert folded == [f"sweep-{k}" for k in range(1, len(names) + 1)]
    links = [attrs["href"] for tag, attrs in page.elements if tag == "a" and "href" in attrs]
    assert [link for link in links if link.startswith("#sweep-")] == [f"#{place}" for place in folded]
    words = headings(page)
    table_at, section_at = words.index("All sweeps", words.index("The answer")), words.index(names[0])
    assert table_at < section_at
    for value in values:
        assert value in words[table_at:section_at]
    assert f"Of {len(names)} sweeps" in page.text
    assert not [tag for tag, attrs in page.elements if tag == "b" and attrs]


def test_many_groups_share_one_chart(many):
    page, names, _ = many
    chart = page.data()["figure-all"]
    assert len(chart["data"]) == len(names)
    assert "<script" not in json.dumps(chart)
    assert "&lt;script&gt;" in json.dumps(chart)
    per_section = [name for name in page.data() if name.startswith("figure-3-")]
    assert len(per_section) == 3


def test_one_sweep_has_no_overview(plain):
    assert "overview" not in [attrs.get("id") for _, attrs in plain.elements]
    assert "figure-all" not in plain.data()


def test_a_hundred_groups_stay_small(tmp_path, many, monkeypatch):
    """A section of the largest kind times a hundred, below the size of a page with Plotly twice."""
    page, names, _ = many
    blocks = [len(body) for attrs, body in page.scripts if attrs.get("type") == "application/json"]
    per_group = sum(blocks) / len(names)
    assert MOST_DRAWN_FULLY * per_group + 5e6 < 15e6


def test_groups_table_keeps_bounds_and_drops_what_is_not_resolved():
    optima = pd.DataFrame(
        {
            "sweep": ["b", "b", "a", "a"],
            "batch_size": [16, 8, 8, 16],
            "learning_rate": [0.2, 0.1, 0.3, np.nan],
            "low": [0.1, np.nan, 0.3, np.nan],
            "high": [0.4, 0.1, np.nan, np.nan],
            "status": ["interior", "edge_low", "edge_high", "unresolved"],
        }
    )
    found = groups_table(optima)
    assert found[["sweep", "batch_size"]].to_numpy().tolist() == [["b", 8], ["b", 16], ["a", 8]]
    assert found["words"].tolist() == ["at most 0.1", "0.20 [0.10, 0.40]", "at least 0.3"]


def test_steps_without_rates_make_a_page_of_the_trade_off_alone(tmp_path):
    trials = pd.DataFrame(
        {
            "sweep": "all",
            "batch_size": [8, 16, 32, 64, 128],
            "learning_rate": np.nan,
            "seed": 0,
            "status": "reached",
            "steps": [900.0, 505.0, 299.0, 202.0, 149.0],
            "steps_to_target": [900.0, 505.0, 299.0, 202.0, 149.0],
            "run": list("abcde"),
        }
    )
    page = page_of(analyse_steps(trials, sweeps=["all"]), trials, tmp_path)
    assert "B_crit" in page.text
    assert "Verdict" not in page.text
    assert "nothing to draw" not in page.text
    assert "learning rates nan" not in page.text
    assert [name for name in page.data() if name.startswith("figure-")] == ["figure-1-1"]


def test_a_sweep_without_a_target_says_nothing_of_steps(tmp_path):
    trials = parabola_sweep(lambda b: 0.01 * b**0.5, noise=0.05, batch_sizes=(8, 16, 32, 64))
    found = analysed(trials)
    page = page_of(found, trials, tmp_path)
    assert "Steps and examples to the target" not in page.text
    assert len([name for name in page.data() if name.startswith("figure-")]) == 3
    assert len(found.tradeoff)
    assert not [line for line in found.sentences() if "trade-off" in line or "target" in line]


def test_too_few_batch_sizes_with_a_target_are_counted():
    trials = one_step_sweep(lambda b: 0.01, batch_sizes=(8, 16))
    lines = sweep_sentences(analysed(trials, "steps_to_target"), "s")
    assert any(re.search(r"2 batch sizes have measured fewest steps to the target, three are needed", x) for x in lines)


def test_a_bound_of_the_critical_batch_is_said_as_one():
    """Steps that fall as 1/B up to the largest batch: B_crit lies above all of them."""
    trials = one_step_sweep(lambda b: 0.01, b_crit=1e6, s_min=1.0, batch_sizes=(8, 16, 32, 64, 128))
    found = analysed(trials, "steps_to_target")
    assert found.tradeoff["status"].iloc[0] == "unbounded_high"
    line = next(line for line in found.sentences() if "B_crit" in line)
    assert "B_crit at least" in line
    assert "S_min at most" in line
    assert "unknown" not in line
