"""Both routes in words and on the page."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from analysis.laws import LAWS
from analysis.page.routes import routes_markup
from analysis.page.sweep import split_sweeps
from analysis.study_analysis import analyse

from .synthetic_study import make_trials

LAWS_SHOWN = {name: LAWS[name] for name in ("constant", "power", "saturating")}


@pytest.fixture(scope="module")
def shown():
    trials, curves = make_trials(sweep="s", batch_sizes=(8, 32, 128, 512), seeds=(0, 1))
    found = analyse(trials, curves, outcomes={"s": "steps_to_target"}, resamples=40, laws=LAWS_SHOWN)
    return found, trials


def test_one_sentence_sets_the_two_routes_side_by_side(shown):
    analysis, _ = shown
    (line,) = [line for line in analysis.sentences() if "by one surface through" in line]
    law = re.search(r"of (\w+) is", line).group(1)
    row = analysis.surface[analysis.surface["law"] == law].iloc[-1]
    assert f"{row['parameter']} of {law} is {row['value']:.3g} [" in line
    assert f"through {row['cells']} cells" in line
    assert line.endswith("the two routes agree.")
    assert "nan" not in line


def test_a_contradiction_is_said_and_an_open_comparison_is_not(shown):
    analysis, _ = shown
    for agrees, end in ((False, "contradict each other."), (np.nan, "best rate of each batch size.")):
        surface = analysis.surface.assign(agrees=[agrees] * len(analysis.surface))
        lines = dataclasses.replace(analysis, surface=surface).sentences()
        assert any(line.endswith(end) and "one surface" in line for line in lines)
    nothing = dataclasses.replace(analysis, surface=analysis.surface.iloc[:0])
    assert not any("one surface" in line for line in nothing.sentences())


def test_the_page_shows_every_parameter_by_both_routes(shown):
    analysis, trials = shown
    (sweep,) = split_sweeps(analysis, trials)
    page = routes_markup(sweep)
    assert page.count("<tr>") == 1 + len(analysis.surface)
    assert page.startswith("<details>")
    assert page.count("<td>agree</td>") == int((analysis.surface["agrees"] == True).sum())  # noqa: E712
    assert "nan" not in page
    failed = dataclasses.replace(analysis, surface=analysis.surface.assign(status="failed"))
    assert routes_markup(split_sweeps(failed, trials)[0]) == ""


def test_names_of_laws_cannot_reach_the_page_as_markup(shown):
    analysis, trials = shown
    evil = dataclasses.replace(
        analysis, surface=analysis.surface.assign(law="<b>x"), fits=analysis.fits.assign(law="<b>x")
    )
    page = routes_markup(split_sweeps(evil, trials)[0])
    assert "<b>x" not in page
    assert "&lt;b&gt;x" in page
