"""URLs of the places that loggers write to: without a password where they are kept, with it where they are used."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from .errors import ConfigError, first_line

_VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*)\}")
_SECRET_WORD = re.compile(r"[?&;]\w*(?:password|passwd|pwd|token|secret|api_?key)=([^&;#\s]*)", re.IGNORECASE)
_RELATIVE_SQLITE = re.compile(r"(sqlite(?:\+\w+)?:///)(?!/|:memory:)(.+)", re.IGNORECASE)
_USER_AND_PASSWORD = re.compile(r"(://[^/@:\s]*):\S*@")
_SHORTEST_SECRET = 4
"""Shorter texts stand in messages by chance."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Location:
    """A place that can be opened.

    Attributes:
        url: as it is opened; never shown.
        secrets: what must not stand in a message.
    """

    url: str = dataclasses.field(repr=False)
    secrets: tuple[str, ...] = dataclasses.field(default=(), repr=False)

    def explain(self, error: BaseException) -> str:
        """Return the first line of an error that a tool raised, without what is secret."""
        text = str(error)
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, "…")
        return without_password(first_line(Exception(text)) if text.strip() else type(error).__name__)


def without_password(text: str) -> str:
    """Return a text for a message: passwords in its URLs are cut out."""
    text = _USER_AND_PASSWORD.sub(r"\1:…@", text)
    return _SECRET_WORD.sub(lambda found: found[0].replace(found[1], "…") if found[1] else found[0], text)


def passwords(url: str) -> list[str]:
    """Return the passwords in a URL: after a user's name, and values of words such as ``password`` behind ``?``."""
    scheme, mark, rest = url.partition("://")
    found = _SECRET_WORD.findall(url)
    if mark and not scheme.lower().startswith(("sqlite", "file")) and "@" in rest:
        found.append(rest.rpartition("@")[0].partition(":")[2])
    return [password for password in found if password]


def without_secrets(url: str | None, *, variable: str) -> str | None:
    """Return ``url`` as it may be kept beside the results.

    Raises:
        ValueError: it holds a password that is not a variable of the environment.
    """
    if url is not None and any(not _VARIABLE.fullmatch(password) for password in passwords(url)):
        raise ValueError(
            f"is kept beside the results, but holds a password; write ${{{variable}}} and set that variable"
        )
    return url


def locate(url: str, *, where: str, folder: Path, environment: Mapping[str, str] | None = None) -> Location:
    """Return the place that ``url`` names; a relative path, or one of a SQLite file, counts from ``folder``.

    Args:
        url: a URL or a path; ``${NAME}`` stands for a variable.
        where: the setting's name, for messages.
        folder: the folder of the results.
        environment: the variables [those of this process].

    Raises:
        ConfigError: a variable is not set.
    """
    known = os.environ if environment is None else environment
    missing = [name for name in _VARIABLE.findall(url) if not known.get(name)]
    if missing:
        raise ConfigError(
            f"{where}: the environment must have the variable {missing[0]}, but has none; set it, or drop it"
        )
    resolved = _VARIABLE.sub(lambda found: known[found[1]], url)
    values = {known[name] for name in _VARIABLE.findall(url)} | set(passwords(resolved))
    secrets = {text for value in values for text in (value, unquote(value)) if len(text) >= _SHORTEST_SECRET}
    sqlite = _RELATIVE_SQLITE.fullmatch(resolved)
    if sqlite:
        resolved = f"{sqlite[1]}{folder.resolve() / sqlite[2]}"
    elif "://" not in resolved:
        resolved = str(folder.resolve() / Path(resolved).expanduser())
    return Location(url=resolved, secrets=tuple(secrets))
