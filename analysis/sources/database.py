"""Which tool wrote a database, seen without any tool's client and without touching it."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from ..errors import TableError

_URL = re.compile(r"(sqlite|postgresql|postgres|mysql|mariadb|oracle|mssql)(\+\w+)?://", re.IGNORECASE)
_LONGEST = 160
_SQLITE_FILE = (".db", ".sqlite", ".sqlite3")


def is_database(location: str) -> bool:
    """Return whether a location is the URL of a database, or a file of SQLite."""
    return bool(_URL.match(location)) or ("://" not in location and Path(location).suffix.lower() in _SQLITE_FILE)


def database_url(location: str) -> str:
    """Return the URL of a database, also for a plain path to a SQLite file."""
    return location if "://" in location else f"sqlite:///{Path(location).resolve()}"


def sqlite_tables(location: str) -> set[str] | None:
    """Return the names of a SQLite database's tables; None for a database on a server.

    Raises:
        TableError: the file is not there, or is no SQLite database.
    """
    url = database_url(location)
    if not url.lower().startswith("sqlite"):
        return None
    path = Path(re.sub(r"^[^:]+://", "", url).split("?")[0].removeprefix("/"))
    if not path.is_file():
        raise TableError(f"{path}: no such file; a SQLite URL has three slashes before a relative path, four before /")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            return {str(name) for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.DatabaseError as error:
        raise TableError(f"{path}: no SQLite database that can be read ({error}); check the file") from None


def without_password(location: str) -> str:
    """Return a URL for a message."""
    return re.sub(r"(://[^/@:]*):[^/@]*@", r"\1:…@", location)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its type where it says nothing."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
