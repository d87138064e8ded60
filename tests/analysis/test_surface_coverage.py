"""How often a surface's 95 % intervals hold the truth, for valleys of shapes that are not the surface's own."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import binom

from .surface_studies import SHAPES, TRUTH, measure

SETTINGS = [
    {"noise": noise, "step": step, "seeds": seeds, "batch_sizes": 6 + 2 * (seeds > 1)}
    for noise, (step, seeds) in itertools.product((0.005, 0.02, 0.05), ((1.0, 1), (0.5, 1), (1.0, 3)))
]


@pytest.mark.parametrize(("law", "shape"), [("power", "lopsided"), ("saturating", "parabola")])
def test_intervals_hold_the_truth_in_most_of_a_few_studies(law, shape):
    found = measure(law, shape, studies=10, resamples=100, both=False, noise=0.02, step=1.0, seeds=1)
    for _, part in found.groupby("parameter"):
        # At 95 % three of ten outside has a chance of about one in a hundred.
        assert part["holds"].sum() >= 8
        assert part["error"].abs().max() < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("law", TRUTH)
def test_intervals_hold_the_truth_in_92_of_100_studies(law, shape):
    """Print the table of the campaign: about two minutes a law and shape and setting on one core."""
    studies = 200
    lines, least = [], 1.0
    for setting in SETTINGS:
        found = measure(law, shape, studies=studies, resamples=200, both=True, **setting)
        for parameter, part in found.groupby("parameter", sort=False):
            routes = {route: rows.set_index("study") for route, rows in part.groupby("route")}
            surface, optima = routes["surface"], routes["optima"]
            ratio = (surface["width"] / optima["width"]).replace([np.inf], np.nan).median()
            lines.append(
                f"{law:10} {shape:8} {setting} {parameter:8} surface {surface['holds'].mean():.3f} "
                f"(width {surface['width'].median():.4f}) optima {optima['holds'].mean():.3f} "
                f"(width {optima['width'].median():.4f}) ratio {ratio:.2f}"
            )
            least = min(least, surface["holds"].mean())
    print("\n" + "\n".join(lines))
    # 92 of 100, less what chance takes from 200 studies in one case of a thousand.
    assert least >= binom.ppf(0.001, studies, 0.92) / studies
