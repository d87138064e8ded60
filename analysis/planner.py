"""What more devices bring: steps, examples, time and cost to the target, from the hyperbola between steps and examples.

With data parallelism and N examples per device, n devices take steps of n N examples. The steps to the target fall from
S(N) to S(n N), S = S_min (1 + B_crit/B), so the speed-up is

    S(N) / S(n N) = (1 + B_crit/N) / (1 + B_crit/(n N)):

n for N far below B_crit, 1 far above it, and 4/3 for two devices at N = B_crit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from .errors import TableError
from .hyperbola import FEWEST_BATCH_SIZES, Hyperbola, Interval
from .prediction import FAR
from .tradeoff import fit_steps

PlanStatus = Literal["ok", "extrapolated", "not_identified"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hardware:
    """How fast and how dear one device is; None where it is not known.

    ``parallel_efficiency`` is the share of perfect data-parallel speed that several devices keep (1: communication
    costs nothing). ``origin`` says where the speed was measured.
    """

    examples_per_second: float | None = None
    price_per_hour: float | None = None
    parallel_efficiency: float = 1.0
    origin: str = ""

    def __post_init__(self) -> None:
        """Refuse speeds that are not positive, prices below zero and efficiencies outside (0, 1]."""
        speed, price = self.examples_per_second, self.price_per_hour
        if speed is not None and not (np.isfinite(speed) and speed > 0):
            raise TableError(f"examples per second must be positive and finite, but got {speed:g}")
        if price is not None and not (np.isfinite(price) and price >= 0):
            raise TableError(f"the price per device and hour must be zero or more, but got {price:g}")
        if not 0 < self.parallel_efficiency <= 1:
            raise TableError(
                f"the parallel efficiency is a share above 0 and up to 1, but got {self.parallel_efficiency:g}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DevicePlan:
    """The way to the target on some devices.

    ``efficiency`` is speed-up over devices. ``speed_up`` is of time: the gain in steps times the parallel efficiency.
    ``hours`` and ``cost`` are None without a measured speed or a price; every number is None where ``status`` is
    ``not_identified``.
    """

    devices: int
    batch_size: float
    status: PlanStatus
    steps: Interval | None = None
    examples: Interval | None = None
    speed_up: Interval | None = None
    efficiency: Interval | None = None
    hours: Interval | None = None
    cost: Interval | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """Plans for several numbers of devices, at a fixed number of examples per device and step.

    ``reason`` says why there are no numbers, where there are none; ``tested`` are the smallest and largest batch size
    with measured steps.
    """

    sweep: str
    examples_per_device: float
    hardware: Hardware
    plans: tuple[DevicePlan, ...]
    b_crit: Interval | None
    tested: tuple[float, float] | None
    reason: str = ""


def plan_devices(
    fit: Hyperbola | None,
    *,
    sweep: str,
    tested: tuple[float, float] | None,
    examples_per_device: float,
    devices: Sequence[int],
    hardware: Hardware | None = None,
) -> Plan:
    """Plan the way to the target for each number of devices.

    The speed-up depends on B_crit alone and grows with it, so its interval has the ends of B_crit's; an end that is not
    bounded gives 1 or n. Where B_crit is not bounded (all batch sizes far below it, say) the curve is known inside the
    tested batch sizes all the same; outside of them the numbers would be made up, and are left out.

    Args:
        fit: the hyperbola, or None without one.
        sweep: its name.
        tested: smallest and largest batch size with measured steps.
        examples_per_device: N, examples per step on one device.
        devices: how many; each makes a plan at the global batch of N times as many examples.
        hardware: speed and price of a device.

    Raises:
        TableError: for N that is not positive, or devices that are not at least 1.
    """
    if not (np.isfinite(examples_per_device) and examples_per_device > 0):
        raise TableError(f"the batch size must be positive and finite, but got {examples_per_device:g}")
    wrong = [count for count in devices if count < 1]
    if wrong or not devices:
        raise TableError(f"devices must be whole numbers of at least 1, but got {list(wrong or devices)}")
    counts = sorted(set(devices))
    known = fit is not None and fit.status == "ok"
    plans = []
    for n in counts:
        batch_size = n * examples_per_device
        plan = DevicePlan(devices=n, batch_size=batch_size, status="not_identified")
        if fit is not None and fit.status != "failed" and tested is not None:
            status = _status(tested, examples_per_device, batch_size, known=known)
            if status != "not_identified":
                plan = _plan(fit, plan, examples_per_device, status, hardware or Hardware())
        plans.append(plan)
    reason = "" if known else f"steps to the target were measured at fewer than {FEWEST_BATCH_SIZES} batch sizes"
    if fit is not None and fit.status not in ("ok", "failed"):
        reason = f"B_crit is {_bounds(fit.b_crit)}, so that nothing is known outside the tested batch sizes"
    return Plan(
        sweep=sweep,
        examples_per_device=float(examples_per_device),
        hardware=hardware or Hardware(),
        plans=tuple(plans),
        b_crit=fit.b_crit if fit is not None and known else None,
        tested=tested,
        reason=reason,
    )


def plan_sweep(
    steps: pd.DataFrame,
    *,
    sweep: str,
    examples_per_device: float,
    devices: Sequence[int],
    hardware: Hardware | None = None,
) -> Plan:
    """Fit the hyperbola to one sweep's rows with ``tradeoff.STEP_COLUMNS`` and plan; see ``plan_devices``."""
    measured = steps.loc[steps["status"] == "measured", "batch_size"]
    return plan_devices(
        fit_steps(steps),
        sweep=sweep,
        tested=(float(measured.min()), float(measured.max())) if len(measured) else None,
        examples_per_device=examples_per_device,
        devices=devices,
        hardware=hardware,
    )


def speed_up(devices: int, examples_per_device: float, b_crit: float) -> float:
    """Return S(N) / S(n N) for n devices with N examples each: between 1 and n, and n where B_crit is infinite."""
    if np.isinf(b_crit):
        return float(devices)
    ratio = b_crit / examples_per_device
    return (1.0 + ratio) / (1.0 + ratio / devices)


def _status(tested: tuple[float, float], base: float, batch_size: float, *, known: bool) -> PlanStatus:
    reach = max(max(tested[0] / value, value / tested[1]) for value in (base, batch_size))
    if reach <= 1:
        return "ok"
    if not known:
        return "not_identified"
    return "extrapolated" if reach > FAR else "ok"


def _plan(fit: Hyperbola, empty: DevicePlan, base: float, status: PlanStatus, hardware: Hardware) -> DevicePlan:
    n, batch_size = empty.devices, empty.batch_size
    steps_there, steps_here = (_at(fit, value) for value in (batch_size, base))
    low, high = fit.b_crit.low, fit.b_crit.high
    faster = Interval(
        value=steps_here.value / steps_there.value,
        low=speed_up(n, base, 0.0 if np.isnan(low) else low),
        high=speed_up(n, base, np.inf if np.isnan(high) else high),
    )
    kept = hardware.parallel_efficiency if n > 1 else 1.0
    speed, price = hardware.examples_per_second, hardware.price_per_hour
    hours = None if speed is None else _times(steps_there, base / (speed * kept) / 3600.0)
    return dataclasses.replace(
        empty,
        status=status,
        steps=steps_there,
        examples=_times(steps_there, batch_size),
        speed_up=_times(faster, kept),
        efficiency=_times(faster, kept / n),
        hours=hours,
        cost=None if hours is None or price is None else _times(hours, n * price),
    )


def _at(fit: Hyperbola, batch_size: float) -> Interval:
    value, low, high = (float(part[0]) for part in fit.steps_at(batch_size))
    return Interval(value=value, low=low, high=high)


def _times(interval: Interval, factor: float) -> Interval:
    return Interval(value=interval.value * factor, low=interval.low * factor, high=interval.high * factor)


def _bounds(b_crit: Interval) -> str:
    if np.isfinite(b_crit.low):
        return f"at least {b_crit.low:.3g} and not bounded above"
    return f"at most {b_crit.high:.3g} and not bounded below" if np.isfinite(b_crit.high) else "not bounded"
