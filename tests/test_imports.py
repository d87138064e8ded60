"""The house rule of who may import whom, read from the source, imports inside functions included."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = {"study", "trainers", "analysis", "results"}
FORBIDDEN = {
    "study": {"plotly"},
    "trainers": {"ray", "optuna", "pandas", "plotly"} | OURS - {"trainers"},
    "analysis": {"torch", "ray", "deepspeed", "transformers", "pydantic", "study", "trainers"},
    "results": {"torch", "ray", "deepspeed", "transformers", "pydantic"} | OURS - {"results"},
}


def imported(source: str) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(str(node.module).split(".")[0])
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "import_module":
            names |= {str(arg.value).split(".")[0] for arg in node.args if isinstance(arg, ast.Constant)}
    return names


@pytest.mark.parametrize("package", sorted(OURS))
def test_no_package_imports_what_it_must_not_know(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    wrong = {
        str(path.relative_to(ROOT)): sorted(found)
        for path in files
        if (found := imported(path.read_text(encoding="utf-8")) & FORBIDDEN[package])
    }
    assert not wrong


@pytest.mark.parametrize(
    "source",
    [
        "import ray",
        "def f():\n    from ray.tune import report",
        "import importlib\nimportlib.import_module('ray.tune')",
    ],
)
def test_the_reader_sees_every_kind_of_import(source):
    assert "ray" in imported(source)


def test_relative_imports_are_not_taken_for_packages():
    assert imported("from .ray import x\nfrom . import torch") == set()
