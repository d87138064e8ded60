"""What a record is, and the only door to stored rows."""

from .schema import CURVE_COLUMNS, PROBE, PROBE_COLUMNS, SWEEP, TRIAL_COLUMNS, Column, Status, TrialSpec, round_rate
from .store import ResultStore, SkippedFile, StoredTables

__all__ = [
    "CURVE_COLUMNS",
    "PROBE",
    "PROBE_COLUMNS",
    "SWEEP",
    "TRIAL_COLUMNS",
    "Column",
    "ResultStore",
    "SkippedFile",
    "Status",
    "StoredTables",
    "TrialSpec",
    "round_rate",
]
