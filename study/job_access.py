"""Whether a URL is a job server's, and whom that server lets in: asked before anything is sent to it."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request

from .errors import ConfigError, first_line
from .job_token import TOKEN, TOKEN_PATH

_PATIENCE_SECONDS = 10.0


def checked_address(address: str) -> str:
    """Return the URL ``address`` without a slash at its end.

    Raises:
        ConfigError: it is no URL of a server, or holds a password.
    """
    try:
        url = urllib.parse.urlsplit(address)
        good = url.scheme in ("http", "https") and bool(url.hostname) and not (url.query or url.fragment)
        secret = url.username is not None or url.password is not None
        _ = url.port
    except ValueError:
        good, secret = False, False
    if secret:
        raise ConfigError(f"--address: must be a URL without a user or password; the token comes from {TOKEN}")
    if not good:
        raise ConfigError(
            f"--address {address}: must be the URL of a cluster's job server, such as http://127.0.0.1:8265; "
            "'batchlaw run --address host:port' joins a cluster that this machine belongs to"
        )
    return address.rstrip("/")


def authentication_mode(address: str) -> str:
    """Return the cluster's mode (``token``, ``disabled``, ...), without sending it a token.

    Clusters that are too old to say have none.

    Raises:
        ConfigError: there is no job server.
    """
    try:
        with urllib.request.urlopen(f"{address}/api/authentication_mode", timeout=_PATIENCE_SECONDS) as answer:
            return str(json.loads(answer.read(10_000))["authentication_mode"])
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return "disabled"
        raise ConfigError(
            f"{address}: no Ray job server answers there, but something that says {error.code} {error.reason}"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise ConfigError(
            f"{address}: no Ray job server answers there, but something else; its port is 8265 unless the cluster was "
            "started with another --dashboard-port"
        ) from None
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise ConfigError(
            f"{address}: no job server answers ({first_line(reason)}); unless told otherwise it listens on "
            "127.0.0.1:8265 of the head node alone: ssh -L 8265:127.0.0.1:8265 HEAD"
        ) from None


def refused(address: str, *, missing: bool) -> ConfigError:
    """Return the error of a cluster that lets nobody in without a token, or refuses the one it got."""
    if missing:
        return ConfigError(f"{address}: the cluster asks for a token; set {TOKEN}, or {TOKEN_PATH} to a file with it")
    return ConfigError(
        f"{address}: the cluster refuses the token of {TOKEN} or {TOKEN_PATH}; it must be the cluster's own"
    )
