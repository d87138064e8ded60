"""Why a worker was lost, read from the text that Ray Tune keeps; the pickle beside it is never opened."""

from __future__ import annotations

import re
from pathlib import Path

_ATTEMPT = re.compile(r"^Failure # \d+ \(occurred at .*\)$", re.MULTILINE)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_FRAME = '  File "'


def cause_of_loss(error_file: Path | None) -> str:
    """Return type and first line of the last error in ``error_file``, Tune's ``error.txt``; None where it wrote none.

    An exception on the worker is written with its traceback, and so has its type. Ray's own words on a worker that died
    have none, and are told as ``WorkerLost``.
    """
    try:
        text = "" if error_file is None else error_file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    lines = _COLOUR.sub("", _ATTEMPT.split(text)[-1]).strip().splitlines()
    if not lines:
        return "WorkerLost: Ray gives no reason"
    frames = [number for number, line in enumerate(lines) if line.startswith(_FRAME)]
    if frames:
        raised = next((line for line in lines[frames[-1] + 1 :] if not line.startswith("  ")), "")
        if raised:
            # With its module where it is no builtin, which a row doesn't say of any other error either.
            name, colon, message = raised.partition(":")
            return f"{name.rpartition('.')[2]}{colon}{message}"
    return f"WorkerLost: {lines[0].strip()}"


def tells_of_memory(cause: str) -> bool:
    """Return whether ``cause_of_loss`` says that Ray ended the worker because its machine ran out of memory."""
    return cause.startswith("WorkerLost: ") and "running low on memory" in cause
