"""What a running study remembers of its stored trials: about 200 bytes each, where a whole row takes kilobytes."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from typing import Any

from results import Status

_NUMBERS = ("value", "steps_to_target", "train_seconds", "evaluate_seconds", "setup_seconds", "probe_seconds")
_SHARED = ("workload", "optimizer", "batch_size")
_STATUSES = tuple(Status)
COLUMNS = ("trial_id", "status", "message", "steps", *_NUMBERS, *_SHARED)
"""Those of ``results.TRIAL_COLUMNS`` that an outcome has. The message is kept of failed trials alone."""


class Outcomes(Mapping[str, Mapping[str, Any]]):
    """Rows by trial id, with ``COLUMNS`` alone. A row is made when it is asked for: changing it changes nothing."""

    def __init__(self) -> None:
        """Begin with no trial."""
        self._number: dict[str, int] = {}
        self._values = {name: array("d") for name in _NUMBERS}
        self._steps = array("q")
        self._status = array("b")
        self._group = array("l")
        self._groups: dict[tuple[Any, ...], int] = {}
        self._group_columns: list[dict[str, Any]] = []
        self._messages: dict[int, str] = {}

    @classmethod
    def of(cls, rows: Mapping[str, Mapping[str, Any]]) -> Outcomes:
        """Return the outcomes of ``rows``, which have at least ``COLUMNS``."""
        outcomes = cls()
        for row in rows.values():
            outcomes.add(row)
        return outcomes

    def add(self, row: Mapping[str, Any]) -> None:
        """Remember ``row``; it replaces an earlier one of the same trial."""
        number = self._number.setdefault(row["trial_id"], len(self._number))
        if number == len(self._steps):
            for column in self._values.values():
                column.append(0.0)
            for counts in (self._steps, self._status, self._group):
                counts.append(0)
        for name, column in self._values.items():
            column[number] = row[name]
        self._steps[number] = row["steps"]
        self._status[number] = _STATUSES.index(row["status"])
        self._group[number] = self._group_of(tuple(row[name] for name in _SHARED))
        self._messages.pop(number, None)
        if row["status"] == Status.FAILED:
            self._messages[number] = row["message"]

    def _group_of(self, key: tuple[Any, ...]) -> int:
        if key not in self._groups:
            self._groups[key] = len(self._groups)
            self._group_columns.append(dict(zip(_SHARED, key, strict=True)))
        return self._groups[key]

    def __getitem__(self, trial_id: str) -> Mapping[str, Any]:
        number = self._number[trial_id]
        return {
            "trial_id": trial_id,
            "status": _STATUSES[self._status[number]],
            "message": self._messages.get(number, ""),
            "steps": self._steps[number],
            **{name: column[number] for name, column in self._values.items()},
            **self._group_columns[self._group[number]],
        }

    def __contains__(self, trial_id: object) -> bool:
        return trial_id in self._number

    def __iter__(self) -> Iterator[str]:
        return iter(self._number)

    def __len__(self) -> int:
        return len(self._number)
