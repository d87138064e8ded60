"""What must not move the answer: how a table is written."""

import functools
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.laws import LAWS

from .fitting import FOUR_LAWS, fit, put_in_place_of_the_analysis, quick_analyse, read, stub_report, sweep

# A law with a batch size among its parameters comes to the four.
FIVE_LAWS = {**FOUR_LAWS, "saturating": LAWS["saturating"]}
UNIT_POWER = {("sqrt", "a"): -0.5, ("linear", "a"): -1.0, ("saturating", "B_noise"): 1.0}
"""Parameters that change by a power of the unit of batch size, by the laws' formulas."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch, tmp_path):
    put_in_place_of_the_analysis(monkeypatch, functools.partial(quick_analyse, laws=FIVE_LAWS))
    monkeypatch.setattr("analysis.report.write_report", stub_report)
    monkeypatch.chdir(tmp_path)


def answer(table, *options, name="t.csv"):
    table.to_csv(name, index=False)
    result = fit(name, "--out", "out", *options)
    assert result.exit_code == 0, result.output
    return read("out")


@functools.cache
def plain_table():
    return sweep()


@pytest.fixture
def plain():
    return answer(plain_table())


def assert_same(found, expected):
    for name, table in expected.items():
        pd.testing.assert_frame_equal(found[name], table, check_exact=True)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_order_of_rows_and_columns(plain, seed):
    table = plain_table().sample(frac=1.0, random_state=seed)
    assert_same(answer(table[["val_loss", "seed", "lr", "bs"]]), plain)


@pytest.mark.parametrize("write", ["{:.12e}", " {!r} ", "+{:.15f}", "{:.17g}"])
def test_how_rates_are_written(plain, write):
    table = plain_table()
    assert_same(answer(table.assign(lr=[write.format(float(rate)) for rate in table["lr"]])), plain)


def test_how_batch_sizes_are_written(plain):
    table = plain_table()
    assert_same(
        answer(table.assign(bs=[f"{batch:.1e}" for batch in table["bs"]], lr=table["lr"].astype(str))),
        answer(table.assign(bs=[float(f"{batch:.1e}") for batch in table["bs"]])),
    )


def test_rows_that_are_there_twice(plain):
    table = plain_table()
    assert_same(answer(pd.concat([table, table[::3], table[::5]])), plain)


def test_names_of_columns(plain):
    names = {"bs": "Größe", "lr": "x y", "val_loss": "a,b", "seed": "wiederholung"}
    options = ["--batch-size", "Größe", "--learning-rate", "x y", "--loss", "a,b", "--seed", "wiederholung"]
    assert_same(answer(plain_table().rename(columns=names), *options, "--mode", "min"), plain)


def test_the_form_of_the_file(plain):
    plain_table().to_parquet("t.parquet")
    assert fit("t.parquet", "--out", "out").exit_code == 0
    assert_same(read("out"), plain)


def test_a_group_of_one_value(plain):
    found = answer(plain_table().assign(N=7), "--group", "N")
    # Draws follow the sweep's label, so that intervals may move; what is measured may not.
    columns = ["batch_size", "learning_rate", "status", "outcome", "cells", "seeds"]
    pd.testing.assert_frame_equal(found["optima"][columns], plain["optima"][columns])


def test_labels_that_differ_by_rounding():
    table = sweep(noise=0.0).assign(lr=lambda t: [float(np.float32(2.0 ** round(np.log2(r)))) for r in t["lr"]])
    mixed = [rate if k % 3 else float(f"{rate:.3g}") for k, rate in enumerate(table["lr"])]
    assert_same(answer(table.assign(lr=mixed)), answer(table))


@pytest.mark.parametrize("unit", [1e-3, 1024.0, 1e6])
def test_the_unit_of_batch_size(plain, unit):
    found = answer(sweep(unit=unit))
    for name in ("optima", "cells"):
        same = found[name].assign(batch_size=found[name]["batch_size"] / unit)
        pd.testing.assert_frame_equal(same, plain[name], rtol=1e-9, check_dtype=False)
    assert found["verdicts"]["verdict"].tolist() == plain["verdicts"]["verdict"].tolist()
    keys = ["law", "parameter"]
    by_name, before = found["fits"].set_index(keys), plain["fits"].set_index(keys)
    exponent = before.loc[("power", "p"), "value"]
    for key, row in before.iterrows():
        power = -exponent if key == ("power", "a") else UNIT_POWER.get(key, 0.0)
        assert by_name.loc[key, "value"] == pytest.approx(row["value"] * unit**power, rel=1e-4, nan_ok=True), key
        assert by_name.loc[key, "status"] == row["status"]
        for name in ("aicc", "weight", "holdout_error_log2"):
            assert by_name.loc[key, name] == pytest.approx(row[name], rel=1e-4, abs=1e-6, nan_ok=True), (key, name)


@pytest.mark.slow
def test_a_million_rows(tmp_path):
    rng = np.random.default_rng(0)
    count = 1_000_000
    batch, rate = rng.choice([8, 16, 32, 64], count), 0.004 * 2.0 ** rng.integers(-2, 3, count)
    loss = np.exp(0.05 * np.log(rate / (0.004 * (batch / 32) ** 0.5)) ** 2 + 0.1 * rng.standard_normal(count))
    table = pd.DataFrame({"bs": batch, "lr": rate, "seed": np.arange(count), "loss": loss})
    table.to_csv("big.csv", index=False, float_format="%.6g")
    code = """
        import resource, sys
        from study.cli import main
        sys.argv = ["batchlaw", "fit", "big.csv"]
        try:
            main()
        finally:
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
    """
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=os.environ | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "the best rate follows sqrt" in done.stdout
    cells = pd.read_csv("fit-big/cells.csv")
    assert (len(cells), cells["seeds"].sum()) == (20, count)
    assert int(done.stderr) < 3 * 2**20, "kibibytes of memory"
