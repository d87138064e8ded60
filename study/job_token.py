"""The token of a Ray cluster, from where Ray itself looks for it. It goes into a request's header and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from .errors import ConfigError, first_line

TOKEN, TOKEN_PATH = "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
DEFAULT_PATH = "~/.ray/auth_token"


def read_token(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the token of ``RAY_AUTH_TOKEN``, else of the file ``RAY_AUTH_TOKEN_PATH``, else of ``~/.ray/auth_token``.

    Raises:
        ConfigError: the named file can't be read, or what it holds is no token.
    """
    if environment.get(TOKEN):
        return _checked(environment[TOKEN], TOKEN)
    named = environment.get(TOKEN_PATH)
    path = Path(named or DEFAULT_PATH).expanduser()
    if not named and not path.is_file():
        return None
    try:
        return _checked(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        where = f"{TOKEN_PATH}={path}" if named else str(path)
        raise ConfigError(f"{where}: must be a file with the cluster's token, but: {first_line(error)}") from None


def _checked(text: str, where: str) -> str:
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(f"{where}: must hold a token, which is letters and digits without spaces, but holds none")
    return token
