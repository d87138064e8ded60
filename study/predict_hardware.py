"""The speed and price of a device for a plan: as a user gives them, else as a study's own trials ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import ConfigError
from .place import ResultsPlace

if TYPE_CHECKING:
    from analysis.planner import Hardware


def device_hardware(
    place: ResultsPlace,
    sweep: str,
    examples_per_device: float,
    examples_per_second: float | None,
    seconds_per_step: float | None,
    price: float | None,
    parallel_efficiency: float,
) -> Hardware:
    """Return speed and price of a device: as given, else as the study's own trials ran."""
    from analysis.planner import Hardware

    speed, origin = examples_per_second, ""
    if seconds_per_step is not None:
        if examples_per_second is not None:
            raise ConfigError("--examples-per-second and --seconds-per-step say the same: give one")
        if not seconds_per_step > 0:
            raise ConfigError(f"--seconds-per-step must be above zero, but got {seconds_per_step:g}")
        speed = examples_per_device / seconds_per_step
    if speed is None:
        speed, origin = _measured(place, sweep, examples_per_device)
    if speed is None and price is not None:
        raise ConfigError(
            "a cost needs the speed of a device, and this folder holds none: give --examples-per-second or "
            "--seconds-per-step"
        )
    return Hardware(
        examples_per_second=speed, price_per_hour=price, parallel_efficiency=parallel_efficiency, origin=origin
    )


def _measured(place: ResultsPlace, sweep: str, examples_per_device: float) -> tuple[float | None, str]:
    from analysis.device_speed import measured_speed, speed_words

    from .design import Design
    from .folder import STUDY_FILE, open_folder, study_tables

    if not place.exists(STUDY_FILE):
        return None, ""
    config, store = open_folder(place)
    trials = study_tables(Design(config), store).trials
    speed = measured_speed(trials[trials["sweep"] == sweep], examples_per_device=examples_per_device)
    return (None, "") if speed is None else (speed.examples_per_second, speed_words(speed, examples_per_device))
