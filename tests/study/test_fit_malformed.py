"""Tables that nobody should have written: statuses or one line, never a traceback, nothing half-written."""

import io
import os
import shutil
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.cells import tabulate_cells
from analysis.compare import compare
from analysis.fit_tables import BAND_COLUMNS, FIT_COLUMNS
from analysis.optimum import OPTIMUM_COLUMNS
from analysis.study_analysis import Analysis
from analysis.tradeoff import STEP_COLUMNS, TRADEOFF_COLUMNS
from study.fit_command import RESULT_TABLES

from .fitting import fit, put_in_place_of_the_analysis, stub_report

RESULTS = {*(f"{name}.csv" for name in RESULT_TABLES), "report.html"}

NUMBERS = st.sampled_from(
    [
        "8",
        "16",
        "0.1",
        "1e-3",
        "-4",
        "0",
        "1e400",
        "-inf",
        "inf",
        "nan",
        "",
        " ",
        "9" * 400,
        "1,024",
        "1_0",
        "0x1F",
        "1e-320",
    ]
)
WORDS = st.sampled_from(
    ["adam", "diverged", "8M", "256k", "1/3", "3.5%", "[1]", "{}", "=1+1", "'", '"', "\x1b[31m", "€", "٣"]
)
NAMES = st.sampled_from(
    [
        "bs",
        "batch_size",
        "lr",
        "learning_rate",
        "loss",
        "val_loss",
        "accuracy",
        "seed",
        "step",
        "state",
        "run",
        "sweep",
        "",
        "N",
    ]
)
CELLS = st.one_of(NUMBERS, NUMBERS, WORDS, st.text(max_size=5))


def table_text(draw):
    """A sound table with a few cells, rows or names changed."""
    names = draw(st.permutations(["bs", "lr", "loss"]))
    batch_sizes = draw(st.lists(st.sampled_from(["8", "16", "32", "64", "0.5", "1e6"]), min_size=1, max_size=5))
    rates = draw(st.lists(st.sampled_from(["0.1", "0.2", "0.4", "0.8", "1e-3"]), min_size=1, max_size=5))
    loss = draw(st.sampled_from(["1.5", "nan", "2", "-1", "0", "inf", "1e300"]))
    rows = [
        [{"bs": b, "lr": r, "loss": loss if (i + j) % 2 else "1.25"}[name] for name in names]
        for i, b in enumerate(batch_sizes)
        for j, r in enumerate(rates)
    ]
    header = list(names)
    for _ in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(["cell", "name", "short", "long", "column", "drop", "repeat"]))
        row = draw(st.integers(0, len(rows) - 1))
        if kind == "cell" and rows[row]:
            rows[row][draw(st.integers(0, len(rows[row]) - 1))] = draw(CELLS)
        elif kind == "name":
            header[draw(st.integers(0, len(header) - 1))] = draw(NAMES)
        elif kind == "short":
            rows[row] = rows[row][:-1]
        elif kind == "long":
            rows[row] = [*rows[row], draw(CELLS)]
        elif kind == "column":
            header = [*header, draw(NAMES)]
            values = draw(st.lists(CELLS, min_size=1, max_size=3))
            rows = [[*cells, values[k % len(values)]] for k, cells in enumerate(rows)]
        elif kind == "drop":
            rows = rows[:row]
            if not rows:
                break
        elif kind == "repeat":
            rows += rows[: row + 1]
    delimiter = draw(st.sampled_from([",", ",", ",", ",", ";", ";", "\t", "|", " "]))
    lines = [delimiter.join(cells) for cells in [header, *rows]]
    return draw(st.sampled_from(["\n", "\r\n", "\n\n"])).join(lines) + draw(
        st.sampled_from(["\n", "\n", "\n", "\n", "", "", '"', "\0"])
    )


@st.composite
def files(draw):
    """Suffix and bytes of a file."""
    kind = draw(st.integers(0, 12))
    if kind == 0:
        return draw(st.sampled_from([".csv", ".parquet", ".tsv", ".db", ".json"])), draw(st.binary(max_size=300))
    text = table_text(draw)
    if kind == 1:
        return ".csv", text.encode(draw(st.sampled_from(["utf-8-sig", "utf-16", "latin-1", "utf-8"])), "replace")
    if kind == 2:
        try:
            frame = pd.read_csv(io.StringIO(text))
            buffer = io.BytesIO()
            frame.to_parquet(buffer)
        except Exception:  # this table is none that pandas could have written
            return ".parquet", text.encode("utf-8", "replace")
        data = buffer.getvalue()
        return ".parquet", data if draw(st.booleans()) else data[: len(data) // 2]
    return ".csv", text.encode("utf-8", "replace")


OPTIONS = st.lists(
    st.sampled_from(
        [
            ["--mode", "min"],
            ["--mode", "max"],
            ["--loss", "loss"],
            ["--loss", "bs"],
            ["--group", "N"],
            ["--group", "run"],
            ["--group", "sweep"],
            ["--seed", "seed"],
            ["--steps", "step"],
            ["--diverged-above", "1.4"],
            ["--diverged-above", "nan"],
            ["--study", "x"],
        ]
    ),
    max_size=1,
).map(lambda parts: [word for part in parts for word in part])


def cells_only(trials, curves, *, outcomes, **_):
    """The analysis up to its cells, which is where rows could still be refused."""
    cells = pd.concat([tabulate_cells(trials[trials["sweep"] == s], outcome=o) for s, o in outcomes.items()])
    return Analysis(
        outcomes=dict(outcomes),
        cells=cells,
        optima=pd.DataFrame(columns=list(OPTIMUM_COLUMNS)),
        fits=pd.DataFrame(columns=list(FIT_COLUMNS)),
        bands=pd.DataFrame(columns=list(BAND_COLUMNS)),
        verdicts=compare({}, pd.DataFrame(columns=list(OPTIMUM_COLUMNS)), sweeps=list(outcomes)),
        steps=pd.DataFrame(columns=list(STEP_COLUMNS)),
        tradeoff=pd.DataFrame(columns=list(TRADEOFF_COLUMNS)),
        curves=curves,
    )


def check(suffix, data, options):
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder, f"t{suffix}"), Path(folder, "out")
        path.write_bytes(data)
        result = fit(path, "--out", out, *options)
        left = set(os.listdir(folder)) - {path.name}
        if result.exit_code == 0:
            assert left == {"out"}
            assert set(os.listdir(out)) == RESULTS
            assert len(pd.read_csv(out / "verdicts.csv", keep_default_na=False))
            return
        assert result.exit_code == 2, result.output
        assert len(result.stderr.splitlines()) == 1
        assert result.stderr.isprintable() or result.stderr.rstrip("\n").isprintable()
        assert left == set()


@settings(max_examples=220, deadline=None, suppress_health_check=list(HealthCheck))
@given(files(), OPTIONS)
def test_any_file_ends_in_statuses_or_one_line(file, options):
    with pytest.MonkeyPatch.context() as patch:
        put_in_place_of_the_analysis(patch, cells_only)
        patch.setattr("analysis.report.write_report", stub_report)
        check(*file, options)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(files(), OPTIONS)
def test_any_file_goes_through_the_true_analysis(file, options):
    with pytest.MonkeyPatch.context() as patch:
        put_in_place_of_the_analysis(patch)
        check(*file, options)


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(files(), OPTIONS)
def test_any_file_goes_through_everything(file, options):
    check(*file, options)


@pytest.mark.parametrize(
    "place", ["", ".", "none", "none.csv", "sqlite:///none.db", "sqlite://", "ftp://x/y", "a\nb", "~"]
)
def test_places_that_hold_nothing(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    result = fit(place)
    assert result.exit_code == 2, result.output
    assert len(result.stderr.splitlines()) == 1
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.csv"
    path.write_text("bs,lr,loss\n8,1,1\n")
    path.chmod(0)
    result = fit(path)
    assert result.exit_code == 2
    assert "Permission" in result.stderr


def test_a_folder_called_like_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.csv").mkdir()
    result = fit("x.csv")
    assert result.exit_code == 2, result.output
    assert len(result.stderr.splitlines()) == 1
    shutil.rmtree("x.csv")
    assert os.listdir(tmp_path) == []
