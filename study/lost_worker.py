"""Why a worker was lost, read from the text that Ray Tune keeps; the pickle beside it is never opened."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_ATTEMPT = re.compile(r"^Failure # \d+ \(occurred at .*\)$", re.MULTILINE)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_FRAME = '  File "'
_MEMORY = "running low on memory"


def cause_of_loss(error_file: Path | None) -> str:
    """Return type and first line of the last error in ``error_file``, Tune's ``error.txt``; None where it wrote none.

    An exception on the worker is written with its traceback, and so has its type. Ray's own words on a worker that died
    have none, and are told as ``WorkerLost``.
    """
    try:
        text = "" if error_file is None else error_file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    return _cause_in(_ATTEMPT.split(text)[-1])


def cause_of_group_loss(failures: Mapping[int, object]) -> str:
    """Return in one line why a group of workers ended, from what Ray Train says of each, by its number.

    A worker that died says more than the others, which only missed it.
    """
    for sign in (_MEMORY, "is dead", "died", ""):
        for rank, failure in sorted(failures.items()):
            text = str(failure)
            line = next((line.strip() for line in text.splitlines() if sign and sign in line), "")
            if line or not sign:
                return f"worker {rank}: {line or _cause_in(text).removeprefix('WorkerLost: ')}"
    return "Ray Train gives no reason"


def _cause_in(text: str) -> str:
    lines = _COLOUR.sub("", text).strip().splitlines()
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
    return cause.startswith("WorkerLost: ") and _MEMORY in cause
