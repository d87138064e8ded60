"""The report call of a training script of yours. It needs Python alone: copy the file where batchlaw isn't installed.

    from trainers.reporting import batchlaw_report
    batchlaw_report(step=step, loss=loss)

Run by hand, the script runs as ever and the call does nothing.
"""

from __future__ import annotations

import json
import os
from typing import SupportsFloat

REPORT_FILE = "BATCHLAW_REPORT"
"""Environment variable with the path of the file that a study reads."""


def batchlaw_report(*, step: int, **metrics: SupportsFloat) -> None:
    """Tell the study that runs this script how far it is.

    With several processes the one of rank 0 (environment variable RANK) is heard.

    Args:
        step: Optimiser steps taken so far; 0 before the first. Each call's is later than the last one's, and the
            budget's last step must be among them.
        metrics: Numbers by name, such as ``loss=0.3``: all that Python's ``float`` takes. One
            that the study names and that is not finite is divergence.
    """
    path = os.environ.get(REPORT_FILE)
    if not path or os.environ.get("RANK", "0") != "0":
        return
    line = json.dumps({"step": int(step), "metrics": {name: float(value) for name, value in metrics.items()}})
    with open(path, "a", encoding="utf-8") as file:
        file.write(line + "\n")
