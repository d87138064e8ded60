"""The workloads that come with the platform, and the way to a user's own."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import sys
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from ..errors import DataError, SettingsError, first_line
from ..reading import read_settings
from ..script import Script, ScriptSettings
from ..workload import Workload

WORKLOADS: dict[str, str] = {
    "quadratic": "trainers.workloads.quadratic:Quadratic",
    "bert-mlm": "trainers.workloads.bert_mlm:BertMaskedLM",
    "bert-classify": "trainers.workloads.bert_classify:BertClassify",
    "simsiam": "trainers.workloads.simsiam:SimSiam",
    "cosent": "trainers.workloads.cosent:Cosent",
    "cross-encoder": "trainers.workloads.cross_encoder:CrossEncoder",
    "gru-am-softmax": "trainers.workloads.gru_am_softmax:GruAmSoftmax",
    "triples": "trainers.workloads.triples:Triples",
    "byol": "trainers.workloads.byol:Byol",
    "gan": "trainers.workloads.gan:Gan",
}
"""Name to ``module:Class``. Modules are imported on use: torch and transformers take seconds."""

ENTRY_POINTS = "batchlaw.workloads"
"""Packages announce workloads of their own under this entry-point group."""


def load_workload(name: str, settings: Mapping[str, Any]) -> Workload:
    """Build a workload from its name and plain settings.

    Args:
        name: a registered name, an entry point's name, ``path/to/file.py:ClassName``, or ``path/to/script.py``. A class
            may import what lies beside its file, at once or later; of equal names, what is installed comes first.
        settings: values for the class's ``Settings``; data are not loaded yet.

    Raises:
        SettingsError: unknown name, unreadable file, wrong settings, or a constructor that raises.
        DataError: the constructor, a user's, says that its data can't be had: elsewhere they perhaps can.
    """
    if name.endswith(".py"):
        return Script(read_settings(ScriptSettings, settings, where="workload_settings"), path=name)
    workload_class = find_workload(name)
    values = read_settings(workload_class.Settings, settings, where="workload_settings")
    try:
        return workload_class(values)  # type: ignore[call-arg]
    except (SettingsError, DataError):
        raise
    except Exception as error:  # a user's class may raise anything
        raise SettingsError(
            f"workload_settings: {workload_class.__name__} can't be built from them: "
            f"{type(error).__name__}: {first_line(error)}"
        ) from error


def find_workload(name: str) -> type[Workload]:
    """Return the workload class called ``name`` (as in ``load_workload``) without building it."""
    if ".py:" in name:
        return _from_file(name)
    if name in WORKLOADS:
        module, _, attribute = WORKLOADS[name].partition(":")
        return _checked(getattr(importlib.import_module(module), attribute), name)
    found = {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}
    if name in found:
        return _checked(found[name].load(), name)
    known = sorted([*WORKLOADS, *found])
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise SettingsError(
        f"workload {name!r} is unknown; {hint}known: {', '.join(known)}, "
        "or a file of yours as path/to/file.py:ClassName, or a training script as path/to/script.py"
    )


def _from_file(name: str) -> type[Workload]:
    path, _, attribute = name.rpartition(":")
    if not os.path.isfile(path):
        raise SettingsError(f"workload {name!r}: there is no file {path!r} (seen from {os.getcwd()})")
    module = _import_file(path)
    if not hasattr(module, attribute):
        classes = [
            n for n, v in vars(module).items() if inspect.isclass(v) and issubclass(v, Workload) and v is not Workload
        ]
        raise SettingsError(
            f"workload {name!r}: the file defines no {attribute}; its workloads: {', '.join(classes) or 'none'}"
        )
    return _checked(getattr(module, attribute), name)


def _import_file(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"batchlaw_user_{abs(hash(os.path.abspath(path)))}", path)
    if spec is None or spec.loader is None:
        raise SettingsError(f"workload file {path!r} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # What looks its own module up while it is defined, such as a dataclass, must find it.
    sys.modules[spec.name] = module
    try:
        with _neighbours_of(path):
            spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[spec.name]
        raise SettingsError(
            f"workload file {path!r} does not import: {type(error).__name__}: {first_line(error)}"
        ) from error
    return module


_FOLDERS: list[str] = []
"""Of the workload files loaded so far, as far as imports would not look there without us; the last loaded first."""
_NEIGHBOURS: dict[str, str] = {}
"""Modules that came in with a workload file and lie beside it, to its folder."""


@contextlib.contextmanager
def _neighbours_of(path: str) -> Iterator[None]:
    """Let imports find what lies beside ``path``, from now on: a method may import later. It hides nothing installed.

    Of equal names beside two files each file gets its own: what came in with files of other folders is forgotten, which
    leaves those files what they have of it.
    """
    folder = os.path.dirname(os.path.abspath(path))
    for name in [name for name, beside in _NEIGHBOURS.items() if beside != folder]:
        sys.modules.pop(name, None)
        del _NEIGHBOURS[name]
    if folder in _FOLDERS or folder not in sys.path:
        sys.path[:] = [other for other in sys.path if other not in _FOLDERS]
        _FOLDERS[:] = [folder, *(other for other in _FOLDERS if other != folder)]
        sys.path += _FOLDERS
    before = set(sys.modules)
    try:
        yield
    finally:
        for name in sys.modules.keys() - before:
            found = getattr(sys.modules[name], "__file__", None) or ""
            beside = os.path.join(folder, name.partition(".")[0])  # an environment below the folder is not beside
            if found.startswith((f"{beside}.py", beside + os.sep)):
                _NEIGHBOURS[name] = folder


def _checked(found: Any, name: str) -> type[Workload]:
    if not (inspect.isclass(found) and issubclass(found, Workload)):
        raise SettingsError(
            f"workload {name!r} must be a class derived from trainers.workload.Workload, but got {found!r}"
        )
    if inspect.isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise SettingsError(f"workload {name!r} must implement {missing}")
    return found
