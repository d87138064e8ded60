"""How many examples one device trains on in a second, from the trials that a study has stored."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

NEAR = 1.5
"""A speed at a number of examples per device this close to the wanted one needs no remark."""
SPEED_COLUMNS = ("batch_size", "world_size", "examples", "train_seconds", "status", "hardware")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceSpeed:
    """Examples per second of one device at ``examples_per_device`` a step, over ``trials`` trials."""

    examples_per_second: float
    examples_per_device: float
    trials: int
    hardware: str


def measured_speed(trials: pd.DataFrame, *, examples_per_device: float) -> DeviceSpeed | None:
    """Return the speed at the tried number of examples per device that is nearest, by its ratio, to the wanted one.

    It is a ratio of sums: long trials count for more than short ones, in which start-up weighs.

    Args:
        trials: rows of one sweep with ``SPEED_COLUMNS``; without these columns nothing is known.
        examples_per_device: per step.

    Returns:
        None where no trial has both examples and seconds.
    """
    if not set(SPEED_COLUMNS) <= set(trials.columns):
        return None
    seconds, examples = (trials[name].to_numpy(dtype=float) for name in ("train_seconds", "examples"))
    used = trials[(seconds > 0) & (examples > 0) & np.isfinite(seconds) & (trials["status"] != "failed").to_numpy()]
    if used.empty:
        return None
    per_device = used["batch_size"] / used["world_size"]
    nearest = per_device.iloc[int(np.argmin(np.abs(np.log(per_device / examples_per_device))))]
    used = used[per_device == nearest]
    device_seconds = float((used["train_seconds"] * used["world_size"]).sum())
    return DeviceSpeed(
        examples_per_second=float(used["examples"].sum()) / device_seconds,
        examples_per_device=float(nearest),
        trials=len(used),
        hardware=" / ".join(dict.fromkeys(used["hardware"].astype(str))),
    )


def speed_words(speed: DeviceSpeed, examples_per_device: float) -> str:
    """Return where the speed was measured, as a clause; a batch twice as large or small may run at another one."""
    origin = (
        f"a device's speed, {speed.examples_per_second:.3g} examples/s, is that of {speed.trials} trials with "
        f"{speed.examples_per_device:g} examples a device and step on {speed.hardware}"
    )
    ratio = speed.examples_per_device / examples_per_device
    far = not 1 / NEAR <= ratio <= NEAR
    return f"{origin}, not with {examples_per_device:g}" if far else origin
