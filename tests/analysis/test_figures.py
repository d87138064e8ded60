import dataclasses
import json
import re

import numpy as np
import pandas as pd
import plotly.io
import pytest

from analysis.cells import tabulate_cells
from analysis.figures import (
    DARK,
    LIGHT,
    PAGE,
    css_variables,
    curves_figure,
    curves_table,
    describe_outcome,
    heatmap_figure,
    heatmap_table,
    laws_table,
    optima_figure,
    optima_table,
    optimum_words,
    tradeoff_figure,
    tradeoff_table,
    valleys_figure,
    valleys_table,
)

from .synthetic_study import make_trials

NAN = float("nan")


@pytest.fixture
def small():
    """Two batch sizes, two rates, two seeds, with one trial of every status."""
    trials, curves = make_trials(batch_sizes=(8, 16), rates=(0.001, 0.002), seeds=(0, 1))
    assert set(trials["status"]) == {"reached"}
    trials["steps_to_target"] = [100.0, 121.0, 50.0, 50.0, 60.0, NAN, 40.0, NAN]
    trials["status"] = ["reached", "reached", "failed", "failed", "reached", "exhausted", "reached", "diverged"]
    trials["steps"] = [100, 121, 50, 50, 60, 240, 40, 7]
    return trials, curves, tabulate_cells(trials, outcome="steps_to_target")


OPTIMA = pd.DataFrame(
    {
        "sweep": "s",
        "batch_size": [64, 8, 16, 32],
        "learning_rate": [0.004, 0.001, 0.0021, NAN],
        "low": [0.003, NAN, 0.0018, NAN],
        "high": [NAN, 0.0012, 0.0025, NAN],
        "status": ["edge_high", "edge_low", "interior", "unresolved"],
        "outcome": [20.0, 100.0, 55.0, NAN],
        "cells": [5, 5, 5, 5],
        "seeds": [2, 2, 2, 1],
    }
)
FITS = pd.DataFrame({"law": ["sqrt", "linear", "power", "power"], "weight": [0.25, 0.001, 0.749, 0.749]})
BANDS = pd.DataFrame(
    {"law": ["sqrt", "linear", "power"], "batch_size": 8.0, "learning_rate": 0.001, "low": 0.0009, "high": 0.0012}
)
FIT = {"s_min": 10.0, "s_min_low": 9.0, "s_min_high": 11.0, "e_min": 320.0, "e_min_low": 300.0, "e_min_high": NAN}
FIT |= {"b_crit": 32.0, "b_crit_low": 30.0, "b_crit_high": NAN, "status": "ok", "definition": ""}
STEPS = pd.DataFrame(
    {
        "batch_size": [32, 8],
        "steps": [21.0, 50.0],
        "low": [20.0, NAN],
        "high": [22.0, 50.0],
        "examples": [672.0, 400.0],
        "status": ["measured", "at_most"],
    }
)


def test_heatmap_table_shows_every_cell_with_its_counts(small):
    trials, _, cells = small
    table = heatmap_table(trials, cells).set_index(["batch_size", "learning_rate"])
    assert list(table["kind"]) == ["measured", "failed", "right_censored", "diverged"]
    assert table.loc[(8, 0.001), "outcome"] == pytest.approx(110.0)  # geometric mean of 100 and 121
    assert np.isnan(table.loc[(8, 0.002), "outcome"])
    assert np.isnan(table.loc[(16, 0.002), "outcome"])
    counts = table[["reached", "exhausted", "diverged", "failed"]].to_numpy().tolist()
    assert counts == [[2, 0, 0, 0], [0, 0, 0, 2], [1, 1, 0, 0], [1, 0, 1, 0]]


def test_heatmap_colours_only_measured_cells(small):
    trials, _, cells = small
    figure = heatmap_figure(heatmap_table(trials, cells), OPTIMA, outcome=describe_outcome(trials, "steps_to_target"))
    coloured = [trace for trace in figure.data if trace.type == "heatmap"][-1]
    assert np.isfinite(np.array(coloured.z, dtype=float)).sum() == 1
    assert {"diverged", "target not reached", "failed, not fitted"} <= {trace.name for trace in figure.data}


def test_valleys_table_keeps_lost_trials_without_a_number(small):
    trials, _, cells = small
    table = valleys_table(trials, cells, OPTIMA)
    assert len(table) == 6  # the two failed trials are left out
    lost = table[table["outcome"].isna()]
    assert sorted(lost["kind"]) == ["diverged", "exhausted"]
    assert lost["mean"].isna().all()
    assert set(table.loc[table["batch_size"] == 16, "optimum"]) == {0.0021}


def test_curves_table_averages_the_cell_nearest_to_the_optimum():
    trials, _ = make_trials(batch_sizes=(8,), rates=(0.0005, 0.001, 0.002), seeds=(0, 1))
    ids = trials.loc[trials["learning_rate"] == 0.001, "trial_id"].tolist()
    curves = pd.DataFrame(
        {
            "trial_id": [*ids, ids[0], ids[0], *trials["trial_id"].iloc[:1]],
            "step": [1, 1, 2, 2, 1],
            "examples": [8, 8, 16, 16, 8],
            "name": ["validation_loss", "validation_loss", "validation_loss", "train_loss", "validation_loss"],
            "value": [3.0, 5.0, 2.0, 77.0, 88.0],
        }
    )
    optima = OPTIMA[OPTIMA["batch_size"] == 8]
    table = curves_table(trials, curves, tabulate_cells(trials, outcome="steps_to_target"), optima)
    assert table["value"].tolist() == [4.0, 2.0]
    assert table["low"].tolist() == [3.0, 2.0]
    assert table["high"].tolist() == [5.0, 2.0]
    assert table["seeds"].tolist() == [2, 1]
    assert table["learning_rate"].tolist() == [0.001, 0.001]


def test_optima_table_says_how_an_optimum_is_to_be_read():
    table = optima_table(OPTIMA)
    assert table["batch_size"].tolist() == [8, 16, 32, 64]
    assert table["reading"].tolist() == ["upper bound", "point", "unresolved", "lower bound"]
    words = [optimum_words(row) for row in table.to_dict("records")]
    assert words == ["at most 0.0012", "0.0021 [0.0018, 0.0025]", "not resolved", "at least 0.003"]


def test_laws_table_ranks_by_weight_and_marks_the_verdict():
    table = laws_table(BANDS, FITS, verdict="sqrt")
    assert table["law"].tolist() == ["power", "sqrt", "linear"]
    assert table["role"].tolist() == ["possible", "verdict", "unlikely"]
    assert table["weight"].tolist() == [0.749, 0.25, 0.001]


def test_laws_without_weights_are_all_shown():
    table = laws_table(BANDS, FITS.assign(weight=NAN), verdict="undetermined")
    assert set(table["role"]) == {"possible"}


def test_optima_figure_emphasises_the_verdict_only():
    outcome = describe_outcome(make_trials(batch_sizes=(8,), seeds=(0,))[0], "steps_to_target")
    for verdict, thick in (("sqrt", 1), ("undetermined", 0)):
        figure = optima_figure(optima_table(OPTIMA), laws_table(BANDS, FITS, verdict=verdict), outcome=outcome)
        lines = [trace for trace in figure.data if trace.mode == "lines" and trace.name]
        assert sum(trace.line.width > 3 for trace in lines) == thick
        assert {trace.name.split(" ")[0]: trace.visible for trace in lines}["linear"] == "legendonly"


def test_tradeoff_table_matches_the_hyperbola():
    table = tradeoff_table(STEPS, FIT)
    assert table["batch_size"].tolist() == [8, 32]
    assert table["fitted_steps"].tolist() == [50.0, 20.0]  # 10 (1 + 32/8) and 10 (1 + 32/32)
    assert table["fitted_examples"].tolist() == [400.0, 640.0]  # 320 (1 + 8/32) and 320 (1 + 32/32)
    assert table["examples_high"].tolist() == [400.0, 704.0]
    assert np.isnan(table["steps_low"][0])
    assert tradeoff_table(STEPS, None)["fitted_steps"].isna().all()


def _luminance(colour: str) -> float:
    channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_contrast_meets_wcag(theme):
    """WCAG 2.2: 4.5 for text (1.4.3), 3 for what a figure needs to be understood (1.4.11)."""
    text = [
        (colour, ground, 4.5)
        for colour in (theme.ink, theme.muted, theme.accent)
        for ground in (theme.paper, theme.panel)
    ]
    marks = [(colour, theme.paper, 3.0) for colour in (*theme.series, *theme.ramp)]
    for colour, ground, least in text + marks:
        dark, bright = sorted((_luminance(colour), _luminance(ground)))
        assert (bright + 0.05) / (dark + 0.05) >= least, (colour, ground)


@pytest.mark.parametrize("outcome", ["steps_to_target", "value_at_budget"])
@pytest.mark.parametrize("theme", [LIGHT, DARK, PAGE], ids=["light", "dark", "page"])
def test_every_figure_draws_in_every_theme(theme, outcome):
    trials, curves = make_trials(metric="<i>loss</i>", batch_sizes=(8, 64), seeds=(0, 1))
    trials = trials.assign(steps=100)
    cells = tabulate_cells(trials, outcome=outcome)
    words = describe_outcome(trials, outcome)
    figures = [
        heatmap_figure(heatmap_table(trials, cells), OPTIMA, outcome=words, theme=theme),
        optima_figure(optima_table(OPTIMA), laws_table(BANDS, FITS, verdict="sqrt"), outcome=words, theme=theme),
        valleys_figure(valleys_table(trials, cells, OPTIMA), outcome=words, theme=theme),
        tradeoff_figure(tradeoff_table(STEPS, FIT), FIT, outcome=words, theme=theme),
        curves_figure(curves_table(trials, curves, cells, OPTIMA), metric="<i>loss</i>", target=2.3, theme=theme),
    ]
    defined = set(re.findall(r"(--[a-z0-9-]+):", css_variables(DARK)))
    assert defined == set(re.findall(r"(--[a-z0-9-]+):", css_variables(LIGHT)))
    for figure in figures:
        spec = plotly.io.to_json(figure, engine="json")
        assert "<i>" not in json.dumps(json.loads(spec))
        used = set(re.findall(r"var\((--[a-z0-9-]+)\)", spec))
        assert used <= defined
        assert bool(used) == (theme is PAGE)


def test_page_theme_names_every_role():
    for field in dataclasses.fields(PAGE):
        value = getattr(PAGE, field.name)
        assert len(value) == len(getattr(LIGHT, field.name)) or isinstance(value, str)
        assert all(item.startswith("var(--") for item in ([value] if isinstance(value, str) else value))
