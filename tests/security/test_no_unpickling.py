"""No line of the packages can turn bytes into code: read from the source, imports inside functions included."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("analysis", "results", "study", "trainers")

UNPICKLERS = {"cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "pickle", "shelve"}
"""Modules whose readers run what they read; nothing here needs one."""
BUILTINS = {"__import__", "compile", "eval", "exec"}
CALLS = {
    "numpy.load",  # .npy and .npz may hold pickled objects
    "numpy.loadtxt",
    "pandas.eval",
    "pandas.read_hdf",
    "pandas.read_pickle",
    "torch.distributed.all_gather_object",  # pickles of other processes
    "torch.distributed.broadcast_object_list",
    "torch.distributed.gather_object",
    "torch.distributed.recv_object_list",
    "torch.distributed.scatter_object_list",
    "torch.hub.load",
    "torch.jit.load",
    "torch.load",
    "yaml.full_load",
    "yaml.full_load_all",
    "yaml.load_all",
    "yaml.unsafe_load",
    "yaml.unsafe_load_all",
}
SHORT = {"np": "numpy", "pd": "pandas"}
SAFE_LOADERS = {"CSafeLoader", "SafeLoader", "_Loader"}  # _Loader: study/source.py, a SafeLoader
WEIGHTLESS = ("Config", "Tokenizer")
"""Classes whose ``from_pretrained`` reads JSON and text; all others read weights."""


def dotted(node: ast.AST) -> str:
    """Return a name as it is written, ``torch.hub.load``; empty for anything else."""
    if isinstance(node, ast.Name):
        return SHORT.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def findings(source: str) -> Iterator[str]:
    tree = ast.parse(source)
    named: dict[str, str] = {}  # what ``from torch import load as read`` makes of ``read``
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if UNPICKLERS & set(alias.name.split(".")):
                    yield f"{node.lineno}: imports {alias.name}"
                named[alias.asname or alias.name] = alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                name = f"{node.module or ''}.{alias.name}"
                if UNPICKLERS & set(name.split(".")):
                    yield f"{node.lineno}: imports {name}"
                named[alias.asname or alias.name] = name
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        written = dotted(node.func)
        head, dot, rest = written.partition(".")
        name = f"{named.get(head, head)}{dot}{rest}"
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        refuses_pickles = isinstance(of := given.get("allow_pickle"), ast.Constant) and of.value is False
        if refuses_pickles:
            del given["allow_pickle"]
        if (name in CALLS and not (name == "numpy.load" and refuses_pickles)) or name in BUILTINS:
            yield f"{node.lineno}: calls {name}"
        if name == "yaml.load" and not SAFE_LOADERS & {
            dotted(loader).rpartition(".")[2] for loader in (*node.args[1:], *given.values())
        }:
            yield f"{node.lineno}: yaml.load without SafeLoader"
        if {"allow_pickle", "trust_remote_code", "weights_only"} & given.keys():
            yield f"{node.lineno}: {name} with {sorted(given, key=str)}"
        owner, _, method = written.rpartition(".")
        if method == "from_pretrained" and not owner.endswith(WEIGHTLESS):
            safe = given.get("use_safetensors")
            if not (isinstance(safe, ast.Constant) and safe.value is True):
                yield f"{node.lineno}: {owner}.from_pretrained without use_safetensors=True"


def found_in(package: str) -> dict[str, list[str]]:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    found = {str(path.relative_to(ROOT)): list(findings(path.read_text(encoding="utf-8"))) for path in files}
    return {path: lines for path, lines in found.items() if lines}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_reads_what_could_run(package: str) -> None:
    assert found_in(package) == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from ray import cloudpickle",
        "import joblib.numpy_pickle",
        "def f():\n    from marshal import loads",
        "import torch\ntorch.load('x')",
        "from torch import load as read\nread('x')",
        "import torch.distributed as dist\ndist.broadcast_object_list([1])",
        "import numpy as np\nnp.load('x')",
        "import numpy\nnumpy.lib.format.read_array(f, allow_pickle=True)",
        "import pandas as pd\npd.read_pickle('x')",
        "import yaml\nyaml.load(text, yaml.Loader)",
        "import yaml\nyaml.load(text)",
        "import yaml\nyaml.load(text, Loader=yaml.FullLoader)",
        "import yaml\nyaml.unsafe_load(text)",
        "eval('1')",
        "exec(text)",
        "AutoModel.from_pretrained(name)",
        "AutoModel.from_pretrained(name, use_safetensors=False)",
        "transformers.BertModel.from_pretrained(name, use_safetensors=choice)",
        "AutoConfig.from_pretrained(name, trust_remote_code=True)",
    ],
)
def test_the_rule_sees_each_way(source: str) -> None:
    assert len(list(findings(source))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "import yaml\nyaml.load(text, Loader=yaml.SafeLoader)",
        "import yaml\nyaml.safe_load(text)",
        "model.eval()",
        "AutoModel.from_pretrained(name, use_safetensors=True)",
        "AutoTokenizer.from_pretrained(name)",
        "json.load(file)",
        "import numpy as np\nnp.load('x', allow_pickle=False)",
    ],
)
def test_the_rule_lets_the_safe_ways_pass(source: str) -> None:
    assert list(findings(source)) == []
