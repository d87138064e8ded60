"""The committed measurements: still readable, still the same ids, and what the README quotes of them."""

import json
from pathlib import Path

import pandas as pd
import pytest

from results import ResultStore, TrialSpec

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "results" / "reference" / "quick"
README = (ROOT / "README.md").read_text(encoding="utf-8")


def table(name):
    return pd.read_csv(REFERENCE / "tables" / f"{name}.csv")


def test_stored_trials_read_back_and_their_ids_are_those_of_their_content():
    stored = ResultStore(REFERENCE).read()
    trials, curves = stored.trials, stored.curves
    assert len(trials) == 80
    assert stored.skipped == []
    assert set(curves["trial_id"]) == set(trials["trial_id"])
    for row in trials.itertuples():
        assert TrialSpec.from_dict(json.loads(row.spec)).trial_id == row.trial_id


def test_the_readme_quotes_the_stored_fits():
    fits = table("fits")
    exponents = fits[(fits["law"] == "power") & (fits["parameter"] == "p")]
    assert len(exponents) == 2
    for row in exponents.itertuples():
        assert f"{row.value:.2f} [{row.low:.2f}, {row.high:.2f}]" in README
    surface = table("surface")
    for row in surface[(surface["law"] == "power") & (surface["parameter"] == "p")].itertuples():
        assert f"{row.value:.2f} [{row.low:.2f}, {row.high:.2f}]" in README
    row = table("tradeoff").set_index("sweep").loc["bert-mlm-adamw"]
    assert f"{row['b_crit']:.3g} [{row['b_crit_low']:.3g}, {row['b_crit_high']:.3g}] sequences" in README


def test_the_readme_quotes_the_stored_baselines():
    stored = json.loads((REFERENCE / "baselines.json").read_text(encoding="utf-8"))["simsiam"]
    text = " ".join(README.split())
    assert (
        f"raw pixels ({stored['raw pixels']:.3f}), above untrained encoders ({stored['untrained encoder']:.3f})" in text
    )


@pytest.mark.parametrize("sweep", ["bert-mlm-adamw", "simsiam-sgd"])
def test_the_readme_quotes_the_stored_optima(sweep):
    optima = table("optima").set_index("sweep").loc[sweep].sort_values("batch_size")
    assert set(optima["status"]) == {"interior"}
    first, last = optima["learning_rate"].iloc[[0, -1]]
    assert f"{first:.3g} to {last:.3g}, {last / first:.2g} times" in README
    assert f"{optima['batch_size'].min()} to {optima['batch_size'].max()}" in README
    verdict = table("verdicts").set_index("sweep").loc[sweep, "verdict"]
    assert verdict == "undetermined"


def test_the_readme_quotes_the_stored_campaign():
    covered, named = (pd.read_csv(REFERENCE.parent / "recovery" / f"{name}.csv") for name in ("coverage", "verdicts"))
    for noise, part in named.groupby("noise"):
        shares = [covered.loc[covered["noise"] == noise, "covered"], part["right"], part["undetermined"], part["wrong"]]
        assert f"| {noise:g} | " + " | ".join(f"{100 * share.mean():.1f} %" for share in shares) + " |" in README
    assert f"{named['studies'].sum():,} simulated studies" in README
