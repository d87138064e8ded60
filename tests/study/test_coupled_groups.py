"""Cells that would cut what a loss couples, or take apart what it needs whole, are refused at planning."""

from __future__ import annotations

from typing import Any

import pytest

from study.errors import ConfigError
from study.loading import load_study
from study.resolve import resolve

from .studies import Study

SIAMESE: dict[str, Any] = {
    "workload": "simsiam",
    "workload_settings": {"batch_norm_images": 32},
    "outcome": "value_at_budget",
    "batch_sizes": [64],
}
EVERYTHING = ["two_batch", "curvature", "one_step", "line_search"]


@pytest.mark.parametrize(
    ("sweep", "said"),
    [
        ({"batch_sizes": [64, 72]}, ["batch_sizes", "groups of the 32 examples", "gives 72", "nearest batch_size: 64"]),
        ({"batch_sizes": [16, 64]}, ["batch_sizes", "gives 16", "nearest batch_size: 32"]),
        ({"engine": {"micro_batch_size": 16}}, ["engine", "batch_size 64 gives 16", "set micro_batch_size to a multi"]),
        ({"workload": "byol", "batch_sizes": [48]}, ["batch_sizes", "gives 48", "nearest batch_size: 32 or 64"]),
        (
            {"probes": {"fractions": [0.5], "small_batch_size": 16}},
            ["probes", "at batch size 64", "small_batch_size", "a multiple of the groups", "16 with 32; nearest: 32"],
        ),
        (
            {"workload": "gan", "workload_settings": {}, "engine": {"zero_stage": 3}},
            ["engine", "zero_stage must be at most 2 for gan", "got 3"],
        ),
    ],
)
def test_a_cell_that_the_loss_does_not_fit_is_refused(study: Study, sweep: dict[str, Any], said: list[str]) -> None:
    path = study.write(**{**SIAMESE, **sweep})
    with pytest.raises(ConfigError) as caught:
        resolve(load_study(path))
    message = str(caught.value)
    assert "\n" not in message
    assert f"sweeps[0].{said[0]}" in message
    for part in said[1:]:
        assert part in message


def test_cells_of_whole_groups_are_planned_with_probes(study: Study) -> None:
    probes = {"fractions": [0.5], "quantities": EVERYTHING, "draws": 2}
    resolved = resolve(load_study(study.write(**{**SIAMESE, "batch_sizes": [64, 96, 128], "probes": probes})))
    costs = [resolved.arithmetic["bowl", size].probe_steps for size in (64, 96, 128)]
    assert all(cost is not None and cost > 0 for cost in costs)
