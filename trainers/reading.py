"""Settings as frozen pydantic models, and one way to read them from plain JSON values."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import SettingsError


class Settings(BaseModel):
    """Base of every group of settings: frozen, no unknown keys, no silent conversion of text to numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def added(default: Any, **rules: Any) -> Any:
    """Return the field of a setting that came after trials had been stored without it.

    Where it equals ``default`` it is not written out: such trials are what those without it were, and keep their ids.
    So the default is what was done before there was a choice, and never changes.

    Args:
        default: The value.
        rules: Of pydantic's ``Field``, such as ``gt``.
    """
    return Field(default=default, exclude_if=lambda value: value == default, **rules)


S = TypeVar("S", bound=Settings)


def read_settings(cls: type[S], values: Mapping[str, Any], *, where: str) -> S:
    """Build ``cls`` from ``values``.

    Args:
        cls: the settings to build.
        values: plain JSON values.
        where: the name a user knows this group by, such as ``schedule``; it starts the message.

    Raises:
        SettingsError: naming the first wrong key, its value and what is allowed.
    """
    try:
        return cls.model_validate(dict(values))
    except ValidationError as error:
        raise SettingsError(describe(error, cls, where=where)) from None


def model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the first model inside ``annotation``, such as ``M`` in ``M | None``; ``None`` where there is none."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, BaseModel) else None
    return next((found for part in typing.get_args(annotation) if (found := model_in(part))), None)


def _model_at(model: type[BaseModel], location: Iterable[object]) -> type[BaseModel]:
    """Return the model at ``location``, a path of field names, inside ``model``."""
    for part in location:
        if part in model.model_fields:
            model = model_in(model.model_fields[str(part)].annotation) or model
    return model


def describe(error: ValidationError, cls: type[BaseModel], *, where: str) -> str:
    """Return one line for the first problem in ``error``: place, rule, value, and the way out."""
    first = error.errors(include_url=False)[0]
    place = ".".join([where, *(str(part) for part in first["loc"])])
    if first["type"] == "extra_forbidden":
        key = str(first["loc"][-1])
        known = sorted(_model_at(cls, first["loc"][:-1]).model_fields)
        close = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        return f"{place} is not a setting; {hint}allowed: {', '.join(known) or 'none'}"
    if first["type"] == "missing":
        return f"{place} is required"
    message = first["msg"].removeprefix("Value error, ")
    told = first["type"] == "value_error" and " but " in message  # a rule of ours that says the value itself
    return f"{place}: {message}" if told else f"{place}: {message}, but got {first['input']!r}"
