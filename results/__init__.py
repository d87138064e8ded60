"""What a record is, and the only door to stored rows."""

from .schema import CURVE_COLUMNS, TRIAL_COLUMNS, Column, Status, TrialSpec, round_rate
from .store import ResultStore, SkippedFile

__all__ = [
    "CURVE_COLUMNS",
    "TRIAL_COLUMNS",
    "Column",
    "ResultStore",
    "SkippedFile",
    "Status",
    "TrialSpec",
    "round_rate",
]
