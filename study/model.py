"""What every part of a study's YAML is made of: frozen models, and the kinds of values they share."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, StringConstraints

NAME_PATTERN = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=100)]
Count = Annotated[int, Strict(), Field(ge=1)]
Rate = Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False)]


def json_section(value: dict[str, Any]) -> dict[str, Any]:
    """Return ``value``, or raise ``ValueError`` where JSON can't hold it."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"holds a value that JSON can't: {error}") from None
    return value


Section = Annotated[dict[str, Any], AfterValidator(json_section)]
"""A group of settings that ``trainers`` reads and checks."""


class Model(BaseModel):
    """Base of every part of a study: frozen, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")
