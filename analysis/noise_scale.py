"""Gradient noise and curvature from probes: |g|², tr Σ, gᵀHg, tr(HΣ), tr H, and the batch sizes that follow from them.

Every number is an average over draws, or a function of such averages (``analysis/mean_draws.py``); no ratio is taken
within a draw. An average that noise may have given the wrong sign is not resolved, and the table says about how many
more draws would tell; nothing is clipped.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping

import numpy as np
import pandas as pd

from .law import Array
from .mean_draws import RESAMPLES, positive_ratio, sample_means, standard_error
from .noise_status import Finding, find_mean, find_ratio
from .probe_rows import ALL, Key, ProbePoint, read_points
from .reference_noise import reference_doubts, spread_reference

CONSTANT_COLUMNS = (
    "trial_id",  # empty where the rows name no run
    "step",
    "examples",
    "scope",  # all, or a parameter tensor's name
    "quantity",  # see QUANTITIES
    "method",  # two_batch | per_example | hutchinson | direct
    "value",
    "low",
    "high",
    "standard_error",  # of an average; NaN for ratios
    "draws",  # the fewest behind any of its averages
    "status",  # ok | not_resolved | not_measured
    "more_draws",  # about how many more would resolve it; NaN where it is resolved or that can't be said
    "reason",
)
QUANTITIES = {
    "grad_sq": "|g|², squared norm of the true gradient",
    "grad_var": "tr Σ, variance of the gradient of one example",
    "b_simple": "tr Σ / |g|², in examples",
    "curvature_grad": "gᵀHg",
    "curvature_noise": "tr(HΣ)",
    "eta_max": "|g|² / gᵀHg, the best rate of SGD without noise",
    "b_noise": "tr(HΣ) / gᵀHg, in examples: the batch size at half of eta_max",
    "hessian_trace": "tr H",
    "grad_l1": "|g|₁ of the reference gradient",
    "curvature_sign": "sᵀHs, s the sign of the reference gradient",
    "noise_to_signal": "κ², mean over coordinates of σ²/g²",
    "b_sign": "π κ² / 2, in examples: the noise scale of the sign",
}
_DIRECT = ("hessian_trace", "grad_l1", "curvature_sign", "noise_to_signal", "update_gradient", "update_curvature")
_RAW = {"grad_l1": "gradient_l1"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Constants:
    """What was measured at one probe point.

    Attributes:
        point: where.
        samples: raw quantities as ``mean_draws.sample_means`` gives them.
        values: constant -> average first and samples of the true value, shape (1 + resamples,). Besides the averages of
            ``QUANTITIES``: ``update_gradient`` and ``update_curvature`` at the largest batch size they were measured
            at, ``update_batch_size``, and ``b_simple``.
        draws: constant -> the fewest draws behind it.
        errors: constant -> standard error of its average; NaN with one draw.
        doubts: constant -> why it is not to be trusted, though measured.
    """

    point: ProbePoint
    samples: Mapping[Key, Array]
    values: Mapping[str, Array]
    draws: Mapping[str, int]
    errors: Mapping[str, float]
    doubts: Mapping[str, str]


def measure_constants(
    rows: pd.DataFrame, *, scope: str | None = ALL, seed: int = 0, resamples: int = RESAMPLES
) -> list[Constants]:
    """Return the constants of every probe point of a scope, or of all scopes if it is None.

    Args:
        rows: raw rows, see ``read_points``.
        scope: ``all`` or a parameter tensor's name.
        seed: decides the samples; each point has its own stream.
        resamples: samples of every mean.
    """
    return [
        constants_at(point, seed=seed, resamples=resamples)
        for point in read_points(rows)
        if scope is None or point.scope == scope
    ]


def noise_scale_table(rows: pd.DataFrame, *, seed: int = 0, resamples: int = RESAMPLES) -> pd.DataFrame:
    """Return every constant and ratio of every step and scope, with ``CONSTANT_COLUMNS``.

    What was not measured has a row for the whole model, and none for single tensors.
    """
    table = []
    for constants in measure_constants(rows, scope=None, seed=seed, resamples=resamples):
        point = constants.point
        where = {"trial_id": point.trial_id, "step": point.step, "examples": point.examples, "scope": point.scope}
        table += [
            where | {"quantity": quantity, "method": method} | dataclasses.asdict(finding)
            for quantity, method, finding in _findings(constants)
            if point.scope == ALL or finding.status != "not_measured"
        ]
    return pd.DataFrame(table, columns=list(CONSTANT_COLUMNS))


class _Measured:
    """Constants of one point while they are put together: samples, fewest draws and standard error by name."""

    def __init__(self, point: ProbePoint, samples: Mapping[Key, Array]) -> None:
        self.point, self.samples = point, samples
        self.values: dict[str, Array] = {}
        self.draws: dict[str, int] = {}
        self.errors: dict[str, float] = {}

    def split(self, small: Key, large: Key, names: tuple[str, str]) -> None:
        """Split E = a + c/b, measured at two batch sizes b, into a and c."""
        series, inverse = self.point.series, 1.0 / small[1] - 1.0 / large[1]
        weights = ((-small[1], large[1]), (1.0 / inverse, -1.0 / inverse))
        for name, scale, (of_small, of_large) in zip(names, (large[1] - small[1], 1.0), weights, strict=True):
            terms = [(of_small / scale, small), (of_large / scale, large)]
            self.values[name] = terms[0][0] * self.samples[small] + terms[1][0] * self.samples[large]
            self.draws[name] = min(len(series[small]), len(series[large]))
            self.errors[name] = standard_error([(weight, series[key]) for weight, key in terms])

    def take(self, name: str, key: Key) -> None:
        """Take an average as it is."""
        self.values[name] = self.samples[key]
        self.draws[name] = len(self.point.series[key])
        self.errors[name] = standard_error([(1.0, self.point.series[key])])

    def choose(self, name: str, source: str) -> None:
        """Give one of several estimates the plain name."""
        self.values[name], self.draws[name] = self.values[source], self.draws[source]
        self.errors[name] = self.errors[source]


def constants_at(point: ProbePoint, *, seed: int = 0, resamples: int = RESAMPLES) -> Constants:
    """Return the constants of one probe point; see ``measure_constants``."""
    stream = [seed, zlib.crc32(point.trial_id.encode()), point.step, zlib.crc32(point.scope.encode())]
    found = _Measured(point, sample_means(point.series, seed=stream, resamples=resamples))
    for raw, names in (
        ("gradient_square", ("grad_sq:two_batch", "grad_var:two_batch")),
        ("curvature_gradient", ("curvature_grad", "curvature_noise")),
    ):
        ladder = [b for b in point.batch_sizes(raw) if b > 0]
        if len(ladder) >= 2:
            found.split((raw, ladder[0], 0.0), (raw, ladder[-1], 0.0), names)
    single, large = point.batch_sizes("example_square")[:1], point.batch_sizes("gradient_square")[-1:]
    if single and large and large[0] > single[0] > 0:
        # A batch of one is the smallest of two batches: the same formula, and the exact variance.
        pair = ("example_square", single[0], 0.0), ("gradient_square", large[0], 0.0)
        found.split(*pair, ("grad_sq:per_example", "grad_var:per_example"))
    method = _chosen_method(found.draws)
    if method:
        found.choose("grad_sq", f"grad_sq:{method}")
        found.choose("grad_var", f"grad_var:{method}")
        found.values["b_simple"] = positive_ratio(found.values["grad_var"], found.values["grad_sq"])
    examples: dict[str, float] = {}
    for name in _DIRECT:
        raw = _RAW.get(name, name)
        for batch_size in point.batch_sizes(raw)[-1:]:
            found.take(name, (raw, batch_size, 0.0))
            if name in ("grad_l1", "curvature_sign", "noise_to_signal"):
                examples[name] = batch_size
            if name == "update_gradient":
                found.values["update_batch_size"] = np.full(resamples + 1, batch_size)
    alone = {name: examples[name] for name in ("grad_l1", "curvature_sign") if found.draws.get(name) == 1}
    spread_reference(found.values, examples=alone, rng=np.random.default_rng([*stream, 1]))
    return Constants(
        point=point,
        samples=found.samples,
        values=found.values,
        draws=found.draws,
        errors=found.errors,
        doubts=reference_doubts(found.values, examples=examples),
    )


def _chosen_method(draws: Mapping[str, int]) -> str:
    """Return the source of |g|² and tr Σ: per-example where it has at least half of the draws of two-batch."""
    single, two = (draws.get(f"grad_sq:{method}", 0) for method in ("per_example", "two_batch"))
    if single >= 2 and 2 * single >= two:
        return "per_example"
    return "two_batch" if two else "per_example" if single else ""


def _findings(constants: Constants) -> list[tuple[str, str, Finding]]:
    """Return quantity, method and what was found, in the order of a table."""
    values, draws, doubts = constants.values, constants.draws, constants.doubts

    def mean(name: str, *, positive: bool = False) -> Finding:
        return find_mean(
            values.get(name),
            draws.get(name, 0),
            standard_error=constants.errors.get(name, np.nan),
            positive=positive,
            doubt=doubts.get(name, ""),
        )

    def ratio(over: str, under: str) -> Finding:
        counts = min(draws.get(over, 0), draws.get(under, 0))
        return find_ratio(values.get(over), values.get(under), counts, under_name=under)

    found: list[tuple[str, str, Finding]] = []
    for method in ("two_batch", "per_example"):
        square, variance = f"grad_sq:{method}", f"grad_var:{method}"
        found += [
            ("grad_sq", method, mean(square, positive=True)),
            ("grad_var", method, mean(variance, positive=True)),
            ("b_simple", method, ratio(variance, square)),
        ]
    found += [(name, "two_batch", mean(name)) for name in ("curvature_grad", "curvature_noise")]
    found += [
        ("eta_max", "two_batch", ratio("grad_sq", "curvature_grad")),
        ("b_noise", "two_batch", ratio("curvature_noise", "curvature_grad")),
        ("hessian_trace", "hutchinson", mean("hessian_trace")),
        ("grad_l1", "direct", mean("grad_l1", positive=True)),
        ("curvature_sign", "direct", mean("curvature_sign")),
        ("noise_to_signal", "direct", mean("noise_to_signal", positive=True)),
    ]
    if "noise_to_signal" in values:
        found.append(("b_sign", "direct", _scaled(found[-1][2], np.pi / 2.0)))
    else:
        found.append(("b_sign", "direct", Finding()))
    return found


def _scaled(finding: Finding, factor: float) -> Finding:
    names = ("value", "low", "high", "standard_error")
    return dataclasses.replace(finding, **{name: factor * getattr(finding, name) for name in names})
