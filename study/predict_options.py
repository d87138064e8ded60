"""What ``batchlaw predict`` reads from its options; what can't be read is a ``ConfigError`` in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .errors import ConfigError

MOST_DEVICES = 10**7


def refuse_plan_options(speed: float | None, seconds: float | None, price: float | None, kept: float) -> None:
    """Refuse options of a plan where none is asked for."""
    given = {
        "--examples-per-second": speed is not None,
        "--seconds-per-step": seconds is not None,
        "--price-per-device-hour": price is not None,
        "--parallel-efficiency": kept != 1.0,
    }
    for name, is_given in given.items():
        if is_given:
            raise ConfigError(f"{name} is about a plan for several devices: add --devices, such as --devices 1,2,4,8")


def device_counts(text: str) -> list[int]:
    """Return the numbers of ``1,2,4,8``."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and 1 <= int(part) <= MOST_DEVICES for part in parts):
        raise ConfigError(f"--devices is a list of whole numbers such as 1,2,4,8, but got {text!r}")
    return [int(part) for part in parts]


def named_values(texts: Sequence[str], option: str) -> Mapping[str, str]:
    """Return name -> value of options such as ``NAME=VALUE``."""
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise ConfigError(f"{option} is NAME=VALUE, but got {text!r}")
        pairs[name] = value
    return pairs


def number(text: str, name: str) -> float:
    """Return a number that an option's value holds."""
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(f"{name} must be a number, but got {text!r}") from error


def some(names: Sequence[str]) -> str:
    """Return names for a message, the first of many."""
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
