"""How large a micro-batch memory has been found to hold, by the shape of a trial, kept beside the rows.

So only the first trial of a shape pays for finding out. It changes no batch size, and so no trial's id.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ValidationError

from results import ResultStore, TrialSpec
from results.schema import canonical_json

from .errors import first_line
from .model import Count, Model, Section

MEMORY_FILE = "memory.json"


class _Limit(Model):
    workload: str
    workload_settings: Section
    optimizer: str
    dtype: str
    zero_stage: int
    workers: Count
    hardware: str
    micro_batch_at_most: Count


class _Limits(Model):
    format: Literal[1]
    limits: list[_Limit]


class Fits:
    """The limits by shape: workload with its settings, optimiser, type, ZeRO stage, workers, and hardware."""

    def __init__(self, store: ResultStore | None = None) -> None:
        """Begin with what is kept in ``store``; without one, nothing is kept."""
        self._store = store
        self._limits: dict[str, dict[str, int]] = {}
        self.problem = ""
        """Why what was kept is not used, in one line."""
        if store is not None:
            self._read(store)

    def limits(self, spec: TrialSpec) -> dict[str, int]:
        """Return the largest micro-batch for a trial, by name of the hardware; none where all of it fits."""
        return dict(self._limits.get(canonical_json(_shape(spec)), {}))

    def remember(self, spec: TrialSpec, *, hardware: str, micro_batch_at_most: int) -> None:
        """Remember that a larger micro-batch of such a trial does not fit into the memory of ``hardware``."""
        limits = self._limits.setdefault(canonical_json(_shape(spec)), {})
        if micro_batch_at_most < limits.get(hardware, micro_batch_at_most + 1):
            limits[hardware] = micro_batch_at_most
            self._write()

    def _read(self, store: ResultStore) -> None:
        try:
            found = _Limits.model_validate(json.loads(store.storage.read(MEMORY_FILE)))
        except FileNotFoundError:
            return
        except Exception as error:  # each kind of storage has errors of its own
            said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else first_line(error)
            place = store.storage.where(MEMORY_FILE)
            self.problem = f"{place}: not used, and written anew when memory is short: {said}"
            return
        for limit in found.limits:
            known = limit.model_dump()
            hardware, at_most = known.pop("hardware"), known.pop("micro_batch_at_most")
            self._limits.setdefault(canonical_json(known), {})[hardware] = at_most

    def _write(self) -> None:
        if self._store is None:
            return
        limits = [
            {**json.loads(shape), "hardware": hardware, "micro_batch_at_most": at_most}
            for shape, by_hardware in self._limits.items()
            for hardware, at_most in by_hardware.items()
        ]
        with contextlib.suppress(OSError):  # it saves time alone; rows tell that the storage refuses
            self._store.write_text(MEMORY_FILE, json.dumps({"format": 1, "limits": limits}, indent=1) + "\n")


def planned_micro_batch(spec: TrialSpec) -> int:
    """Return the examples of a forward pass, where memory holds them; of a script, which cuts its batch itself, one."""
    if spec.workload.endswith(".py"):
        return 1
    share = max(1, spec.batch_size // spec.engine.get("workers", 1))
    return min(spec.engine.get("micro_batch_size") or share, share)


def _shape(spec: TrialSpec) -> Mapping[str, Any]:
    return {
        "workload": spec.workload,
        "workload_settings": spec.workload_settings,
        "optimizer": spec.optimizer,
        "dtype": spec.engine["dtype"],
        "zero_stage": spec.engine["zero_stage"],
        "workers": spec.engine.get("workers", 1),
    }
