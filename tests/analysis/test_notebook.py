"""The notebook runs from its first cell to its last, on a machine without the trainers, and its data are ours."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from results import ResultStore

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "analysis" / "notebooks"
NOTEBOOK = NOTEBOOKS / "your_own_sweep.ipynb"
PRELUDE = """
import ast, json, sys
class Absent:
    names = {"torch", "ray", "optuna", "mlflow", "deepspeed", "transformers", "IPython"}
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
space = {}
for cell in json.load(open(sys.argv[1], encoding="utf-8"))["cells"]:
    if cell["cell_type"] != "code":
        continue
    tree = ast.parse("".join(cell["source"]))
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, cell["id"], "exec"), space)
    if last is not None:
        shown = eval(compile(ast.Expression(last.value), cell["id"], "eval"), space)
        if shown is not None:
            print(type(shown).__name__, len(shown.to_json()) > 1000)
"""


@pytest.fixture(scope="module")
def notebook():
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))


def test_the_notebook_is_stored_without_outputs(notebook):
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in notebook["cells"]:
        assert cell["cell_type"] in ("markdown", "code")
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)


def test_from_a_table_to_a_rate_takes_ten_lines(notebook):
    code = {cell["id"]: "".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"}
    needed = "\n".join(code[name] for name in ("fit", "verdict", "predict"))
    assert len([line for line in needed.splitlines() if line.strip()]) <= 12


def test_its_data_are_the_stored_measurements():
    trials = ResultStore(ROOT / "results" / "reference" / "quick").trials()
    stored = trials[trials["sweep"] == "simsiam-sgd"].sort_values(["batch_size", "learning_rate", "seed"])
    table = pd.read_csv(NOTEBOOKS / "sweep.csv")
    assert list(table.columns) == ["batch_size", "learning_rate", "seed", "knn_accuracy"]
    for column in ("batch_size", "learning_rate", "seed"):
        assert np.array_equal(table[column], stored[column])
    np.testing.assert_allclose(table["knn_accuracy"], stored["value"], rtol=1e-12)


def test_the_notebook_runs(tmp_path):
    shutil.copy(NOTEBOOKS / "sweep.csv", tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE, str(NOTEBOOK)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Figure True") == 2
    assert "at batch size 1024: " in done.stdout
    assert "0.05 at batch size 256 becomes" in done.stdout
    assert (tmp_path / "report.html").stat().st_size > 1e6
