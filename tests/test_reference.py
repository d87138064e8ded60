"""The committed measurements: still readable, still the same ids, and what the README quotes of them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from analysis.derived import Optimizer
from analysis.derived_study import derive_study
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


def test_the_readme_quotes_the_stored_faults():
    faults = pd.read_csv(REFERENCE.parent / "faults.csv").set_index("kind")
    struck, total = faults["faults"].drop("all"), faults.loc["all"]
    assert total["faults"] == struck.sum() == 100
    assert total["tables_equal"] == True  # noqa: E712 – a cell of a column that is mostly empty
    spoilt = ["lost", "foreign", "twice", "torn", "stray", "given_up", "drivers_stopped", "left_behind"]
    assert not total[spoilt].any()
    for kind, word in {"worker": "workers", "driver": "drivers", "desk": "desks", "node": "nodes"}.items():
        assert f"{struck[kind]} {word}" in README
    assert f"{struck['raylet']} raylets" in README
    assert f"{struck['node and driver']} nodes with their driver" in " ".join(README.split())
    assert f"Of {total['trials']:.0f} trials none" in README


def test_the_readme_quotes_the_stored_cost_of_a_driver():
    measured = pd.read_csv(REFERENCE.parent / "driver_scale.csv").set_index(["path", "asked"])
    ours, stock = measured.loc["platform"], measured.loc["stock"]
    assert list(ours.index) == [100, 1000, 10_000, 100_000]
    assert (ours["trials"] == ours.index).all()
    text = " ".join(README.split())
    most = ours["driver_cpu_last_tenth_ms"]
    assert f"{most.min():.1f} to {most.max():.1f} ms of its processor time" in text
    assert f"{ours['driver_mib'].iloc[0]:.0f} MiB after 100 trials and {ours['driver_mib'].iloc[-1]:.0f} MiB" in text
    last = stock.loc[10_000]
    assert f"{stock.loc[100, 'driver_cpu_last_tenth_ms']:.0f} ms at first" in text
    assert f"{last['driver_cpu_last_tenth_ms']:.0f} ms after {last['trials']:,.0f} trials" in text
    assert f"{last['driver_mib']:.0f} MiB by then" in text


DERIVED = REFERENCE.parent / "derived"
NAMES = {
    "masked LM, AdamW": "bert-mlm-adamw",
    "masked LM, sign-SGD": "bert-mlm-sign-sgd",
    "masked LM, SGD": "bert-mlm-sgd",
}


def test_stored_probe_runs_read_back_and_took_their_cells_steps():
    stored = ResultStore(DERIVED).read()
    assert stored.skipped == []
    trials = stored.trials
    for row in trials.itertuples():
        assert TrialSpec.from_dict(json.loads(row.spec)).trial_id == row.trial_id
    cells = trials[trials["purpose"] == "sweep"].set_index(["sweep", "batch_size", "learning_rate", "seed"])
    probed = trials[trials["purpose"] == "probe"]
    assert probed.groupby("sweep").size().to_dict() == {**dict.fromkeys(NAMES.values(), 6), "simsiam-sgd": 5}
    assert set(stored.probes["trial_id"]) == set(probed["trial_id"])
    for run in probed.itertuples():
        cell = cells.loc[(run.sweep, run.batch_size, run.learning_rate, run.seed)]
        assert (run.value, run.steps, run.status) == (cell["value"], cell["steps"], cell["status"])


def test_the_derived_rates_are_those_of_the_stored_probes():
    stored, config = ResultStore(DERIVED).read(), yaml.safe_load((DERIVED / "study.yaml").read_text())
    sweep = next(s for s in config["sweeps"] if s["name"] == "bert-mlm-sgd")
    runs = stored.trials[(stored.trials["purpose"] == "probe") & (stored.trials["sweep"] == sweep["name"])]
    tables = {name: pd.read_csv(DERIVED / "tables" / f"{name}.csv") for name in ("optima", "fits", "tradeoff")}
    found = derive_study(
        stored.probes,
        runs=runs,
        optimizers={sweep["name"]: Optimizer(name=sweep["optimizer"], settings=sweep["optimizer_settings"])},
        batch_sizes={sweep["name"]: sweep["batch_sizes"]},
        **tables,
        study="derived",
        workloads={sweep["name"]: sweep["workload"]},
    )
    committed = pd.read_csv(REFERENCE.parent / "derived_vs_fitted.csv")
    own = committed[committed["sweep"] == sweep["name"]].reset_index(drop=True)
    ours = found.comparison.reset_index(drop=True)
    assert list(ours) == list(committed)
    for column in ("batch_size", "derived", "fitted", "ratio", "low", "high"):
        np.testing.assert_allclose(ours[column].astype(float), own[column].astype(float), rtol=1e-6, err_msg=column)
    for column in ("study", "workload", "optimizer", "quantity", "derivation", "status"):
        assert ours[column].fillna("").tolist() == own[column].fillna("").tolist()


def test_the_readme_quotes_the_derived_laws():
    verdicts = pd.read_csv(DERIVED / "tables" / "derivation_verdicts.csv").set_index(["sweep", "derivation"])
    sweep, quoted = "", 0
    for line in README.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 6 or not (cells[0] in NAMES or (sweep and not cells[0])):
            continue
        sweep = NAMES.get(cells[0], sweep)
        row = verdicts.loc[(sweep, cells[1].strip("`"))]
        level, slope = ([row[f"{name}{end}"] for end in ("", "_low", "_high")] for name in ("level", "slope"))
        assert cells[2:] == [
            "{:.2f} [{:.2f}, {:.2f}]".format(*level),
            "{:.2f} [{:.2f}, {:.2f}]".format(*slope),
            row["verdict"],
            row["level_verdict"],
        ]
        quoted += 1
    assert quoted == 9
    sources = pd.read_csv(DERIVED / "tables" / "noise_scale_sources.csv")
    run = sources[sources["step"].isna()].set_index(["sweep", "source"])
    for key in (
        ("bert-mlm-adamw", "hyperbola"),
        ("bert-mlm-adamw", "probe_b_simple"),
        ("bert-mlm-sgd", "hyperbola"),
        ("bert-mlm-sgd", "probe_b_simple"),
    ):
        row = run.loc[key]
        assert f"{row['value']:.3g} [{row['low']:.3g}, {row['high']:.3g}]" in README
