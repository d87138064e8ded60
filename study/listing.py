"""The commands that list what there is: workloads and their settings, laws, presets."""

from __future__ import annotations

import inspect
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import typer

from .terminal import line, plain_table, print_table, text_row

_WIDTH = 80


def workloads(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One of them, or path/to/file.py:Class: its settings.")
    ] = None,
) -> None:
    """List the workloads that come with the platform at their default settings, or the settings of one."""
    from trainers.workloads import WORKLOADS, find_workload, load_workload

    if name is not None:
        _describe(find_workload(name))
        return
    table = plain_table("name", "size", "data", "outcome", "source")
    for known in WORKLOADS:
        workload = load_workload(known, {})
        facts = (short_count(workload.parameters), workload.data_set, workload.target.metric, workload.source)
        table.add_row(*text_row(known, *facts))
    print_table(table)
    line("size: trained parameters; batchlaw workloads NAME lists the settings of one")
    line("your own is path/to/file.py:Class or path/to/script.py")


def laws() -> None:
    """List the laws that are fitted."""
    from analysis.laws import LAWS

    table = plain_table("name", "learning rate at batch size B", "source")
    for name, law in LAWS.items():
        table.add_row(*text_row(name, law.formula, law.source))
    print_table(table)


def presets() -> None:
    """List the studies that come with the platform; their names can be given wherever a STUDY is asked for."""
    from .loading import load_study
    from .loading import presets as preset_files

    for name, path in preset_files().items():
        line(name)
        _say(load_study(path).config.description, indent="  ")


def _describe(workload: Any) -> None:
    """Print what one workload does, reports and can be told."""
    _say(f"{workload.name}: {workload.summary}")
    if workload.source:
        line(f"source: {workload.source}")
    _say(f"metrics: {', '.join(workload.metrics)}")
    line(f"batch sizes count {workload.example_unit}")
    fields = workload.Settings.model_fields
    if not fields:
        line("It has no settings.")
        return
    said = inspect.cleandoc(workload.Settings.__doc__ or "").replace("``", "")
    for paragraph in said.split("\n\n"):
        line()
        _say(paragraph)
    line()
    own = getattr(workload.Settings, "own_defaults", {})
    table = plain_table("setting", "default", "type")
    for row in _rows(workload.Settings, own):
        table.add_row(*text_row(*row))
    print_table(table)


def _say(text: str, *, indent: str = "") -> None:
    """Print words that fill lines, also in a pipe."""
    for filled in textwrap.wrap(
        " ".join(text.split()), _WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    ):
        line(filled)


def _rows(settings: Any, own: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield name, default and type of each setting; those of a group inside are named ``group.setting``."""
    for key, field in settings.model_fields.items():
        if hasattr(field.annotation, "model_fields"):
            yield from _rows(field.annotation, {}, f"{prefix}{key}.")
        else:
            default = own.get(key, field.get_default(call_default_factory=True))
            yield f"{prefix}{key}", "required" if field.is_required() else _plain(default), _type(field.annotation)


def _plain(value: Any) -> str:
    """Return a default as it is written in YAML."""
    if isinstance(value, tuple):
        return f"[{', '.join(_plain(part) for part in value)}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value) or "''"


def _type(annotation: Any) -> str:
    """Return a type as the values that YAML may have there."""
    if typing.get_origin(annotation) is Literal:
        return " | ".join(str(value) for value in typing.get_args(annotation))
    if typing.get_origin(annotation) is types.UnionType:
        return " | ".join(_type(part) for part in typing.get_args(annotation))
    if annotation is type(None):
        return "null"
    if typing.get_origin(annotation) is tuple:
        return f"list of {_type(typing.get_args(annotation)[0])}"
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")


def short_count(count: float) -> str:
    """Return a count of parameters as 200, 19 k or 1.0 M."""
    if count < 1_000:
        return str(count)
    return f"{count / 1e3:.0f} k" if count < 999_500 else f"{count / 1e6:.1f} M"
