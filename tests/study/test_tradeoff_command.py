"""The command ``batchlaw tradeoff``: its files, its words, and what it makes of bad input."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from study.cli import app

COLUMNS = ["s_min", "s_min_low", "s_min_high", "e_min", "e_min_low", "e_min_high"]
COLUMNS += ["b_crit", "b_crit_low", "b_crit_high", "status", "definition"]


def table(*, replicates=2, seed=0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = [
        {"N": n, "bs": batch, "steps": 100 * (1 + b_crit / batch) * np.exp(0.03 * rng.standard_normal()), "seed": i}
        for n, b_crit in ((1e8, 50.0), (1e9, 200.0))
        for batch in (8, 16, 32, 64, 128, 256)
        for i in range(replicates)
    ]
    return pd.DataFrame(rows)


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["tradeoff", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def answer(frame: pd.DataFrame, folder: Path, *options: object) -> pd.DataFrame:
    folder.mkdir()
    frame.to_csv(folder / "t.csv", index=False)
    code, _, error = run(folder / "t.csv", "--out", folder / "out", *options)
    assert code == 0, error
    return pd.read_csv(folder / "out" / "tradeoff.csv")


def test_groups_get_their_rows_and_the_definition_stands_beside_the_numbers(tmp_path):
    table().to_csv(tmp_path / "t.csv", index=False)
    out = tmp_path / "out"
    code, said, _ = run(tmp_path / "t.csv", "--group", "N", "--out", out)
    assert code == 0
    found = pd.read_csv(out / "tradeoff.csv")
    assert list(found.columns) == ["N", *COLUMNS]
    assert found["N"].tolist() == [1e8, 1e9]
    for b_crit, row in zip((50, 200), found.itertuples(), strict=True):
        assert row.status == "ok"
        assert row.b_crit_low < b_crit < row.b_crit_high
        assert row.b_crit == pytest.approx(b_crit, rel=0.25)
    assert said.count("B_crit = E_min/S_min") >= 2
    assert "twice the fewest steps" in said
    assert "20 % more examples" in said
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "runs.csv", "steps.csv", "tradeoff.csv"]
    assert pd.read_csv(out / "steps.csv").columns[0] == "N"


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return answer(table(), tmp_path_factory.mktemp("plain") / "a", "--group", "N")


@pytest.mark.parametrize("change", ["order", "names", "duplicates"])
def test_what_does_not_matter_does_not_matter(tmp_path, plain, change):
    frame, group = table(), "N"
    if change == "order":
        frame = frame.sample(frac=1, random_state=1)
    elif change == "names":
        frame, group = (
            frame.rename(columns={"N": "model size", "bs": "Global Batch-Size", "steps": "num_steps"}),
            "model size",
        )
    else:
        frame = pd.concat([frame, frame.iloc[::3]])
    found = answer(frame, tmp_path / "b", "--group", group).rename(columns={group: "N"})
    pd.testing.assert_frame_equal(found, plain, rtol=1e-9)


def test_targets_along_curves_have_a_column_after_the_groups(tmp_path):
    rows = [
        {
            "N": n,
            "run": f"{n}-{batch}",
            "bs": batch,
            "step": step,
            "val_loss": 1 + 5 * (1 + step / (1 + b / batch)) ** -0.5,
        }
        for n, b in ((1, 40), (2, 90))
        for batch in (8, 32, 128, 512)
        for step in np.unique(np.geomspace(2, 2000, 30).astype(int))
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "c.csv", index=False)
    code, said, _ = run(
        *(tmp_path / "c.csv", "--group", "N", "--target", 1.6, "--target", 2.0, "--out", tmp_path / "out")
    )
    assert code == 0
    found = pd.read_csv(tmp_path / "out" / "tradeoff.csv")
    assert list(found.columns) == ["N", "target", *COLUMNS]
    assert found[["N", "target"]].to_numpy().tolist() == [[1, 2.0], [1, 1.6], [2, 2.0], [2, 1.6]]
    np.testing.assert_allclose(found["b_crit"], [40, 40, 90, 90], rtol=0.05)
    assert "N=2: B_crit = E_min/S_min along the targets" in said
    code, _, error = run(tmp_path / "c.csv", "--group", "N", "--out", tmp_path / "none")
    assert code == 2
    assert error.count("--target") == 3
    assert not (tmp_path / "none").exists()


def test_a_stored_study_is_read_as_it_is(tmp_path):
    folder = Path(__file__).parents[2] / "results" / "reference" / "quick"
    code, said, _ = run(folder, "--out", tmp_path / "out")
    assert code == 0
    found = pd.read_csv(tmp_path / "out" / "tradeoff.csv").set_index("sweep")
    assert found.loc["bert-mlm-adamw", "status"] == "ok"
    assert found.loc["simsiam-sgd", "status"] == "failed"
    assert (tmp_path / "out" / "optima.csv").exists()
    assert "none of 5 batch sizes reached a target" in said


@pytest.mark.parametrize(
    ("name", "text", "options"),
    [
        ("t.csv", "", ()),
        ("t.csv", "bs,steps\n", ()),
        ("t.csv", "bs,steps\n8,x\n", ()),
        ("t.csv", "bs,steps\n8,5\n", ("--group", "nope")),
        ("t.csv", "bs,steps,status\n8,5,1\n", ("--group", "status")),
        ("t.csv", "bs,steps\n8,5\n", ("--mode", "up")),
        ("t.csv", "bs,steps\n8,5\n", ("--target", "2.0")),
        ("t.parquet", "not parquet", ()),
        ("t.csv", "bs,steps\n8,5\n16\n", ()),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, name, text, options):
    (tmp_path / name).write_text(text)
    code, _, error = run(tmp_path / name, "--out", tmp_path / "out", *options)
    assert code == 2
    assert error.startswith("batchlaw: ")
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_too_little_is_a_status_and_not_an_error(tmp_path):
    found = answer(pd.DataFrame({"bs": [8, 16], "steps": [100, 60]}), tmp_path / "a")
    assert found["status"].tolist() == ["failed"]
    assert found[COLUMNS[:9]].isna().all(axis=None)


def test_it_needs_no_trainers(tmp_path):
    table().to_csv(tmp_path / "t.csv", index=False)
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'ray', 'optuna', 'mlflow', 'deepspeed', 'transformers'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from study.cli import main\n"
        f"sys.argv = ['batchlaw', 'tradeoff', {str(tmp_path / 't.csv')!r}, '--out', {str(tmp_path / 'out')!r}]\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "tradeoff.csv").exists()
