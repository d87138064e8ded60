"""What a record is, and the only door to stored rows."""

from .schema import CURVE_COLUMNS, PROBE, PROBE_COLUMNS, SWEEP, TRIAL_COLUMNS, Column, Status, TrialSpec, round_rate
from .storage import Storage, StorageError, StorageFailure, open_storage
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
    "Storage",
    "StorageError",
    "StorageFailure",
    "StoredTables",
    "TrialSpec",
    "open_storage",
    "round_rate",
]
