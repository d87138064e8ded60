"""How many examples stand behind each measured quantity."""

from __future__ import annotations

import dataclasses

from ..batching import largest_divisor
from ..errors import SettingsError
from .settings import ProbeSettings

_SHARDS = 8
_COUPLED_SHARDS = 4  # each shard couples fewer examples than the run does, so they are kept larger


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProbeSizes:
    """Examples of each batch of a probe.

    Attributes:
        small: Of the small batch.
        large: Of the large batch.
        curvature: Of the curvature batch.
        reference: Of the reference batch.
        ladder: Of the optimiser's batches; empty where no direction is measured.
        unit: What all are multiples of: what the loss couples, a group of its own or the run's micro-batch, else 1.
        independent: Whether the loss is a mean over examples.
        additive: Whether a batch's gradient is the mean of its parts': where examples are independent, and where groups
            or the run's micro-batches are all that couples them.
        coupled_pass: The most that a pass over the reference batch holds where a pass couples its examples: what the
            run couples.
        free_pass: The most that any pass holds where it doesn't.
        grouped: Whether the loss couples groups of ``unit`` examples by itself, so that a pass may hold several.
    """

    small: int
    large: int
    curvature: int
    reference: int
    ladder: tuple[int, ...]
    unit: int
    independent: bool
    additive: bool
    coupled_pass: int
    free_pass: int
    grouped: bool = False

    @property
    def _divisible(self) -> bool:
        """Whether any multiple of ``unit`` may be a pass, since passes don't decide what is coupled."""
        return self.independent or self.grouped

    @property
    def draw(self) -> int:
        """Examples of one draw; its batches are the beginnings of these."""
        return max(self.large, *self.ladder) if self.ladder else self.large

    def drawn_pass(self, batch_size: int) -> int:
        """Return the examples of one pass over a drawn batch."""
        if self._divisible:
            return min(batch_size, self.free_pass)
        return self.unit if self.additive else batch_size

    @property
    def reference_pass(self) -> int:
        """Examples of one pass over the reference batch."""
        return min(self.curvature, self.free_pass) if self._divisible else min(self.reference, self.coupled_pass)

    @property
    def curvature_pass(self) -> int:
        """Examples of one pass over the curvature batch."""
        return min(self.curvature, self.free_pass if self._divisible else self.coupled_pass)


def resolve_sizes(
    probes: ProbeSettings,
    *,
    batch_size: int,
    micro_batch_size: int | None,
    free_pass: int,
    independent: bool,
    coupled_examples: int | None = None,
) -> ProbeSizes:
    """Fill in what ``probes`` leaves open.

    The large batch is the run's; the small one its eighth (a quarter where the loss couples examples); the curvature
    batch its quarter, which keeps a probe of two batch sizes and the curvature below 40 training steps; the reference
    batch its double; the ladder doubles from the small batch to the large one.

    Args:
        probes: The settings.
        batch_size: Of the run.
        micro_batch_size: The run's setting; where examples are coupled it is part of the loss, so that all sizes must
            be multiples of it. Without it a batch is coupled as a whole, and batches of two sizes have two losses:
            their difference is then in every estimate that compares sizes.
        free_pass: The most examples that a pass may hold where it doesn't couple them.
        independent: Whether the loss is a mean over examples.
        coupled_examples: The size of the groups that the loss couples by itself (``Workload.coupled_examples``): all
            sizes must be multiples of it, and the micro-batch is no part of the loss.

    Raises:
        SettingsError: The sizes don't fit together.
    """
    grouped = not independent and coupled_examples is not None
    unit = 1 if independent else coupled_examples or micro_batch_size or 1
    large = probes.large_batch_size or batch_size
    shards = _SHARDS if independent else _COUPLED_SHARDS
    parts = largest_divisor(max(1, large // unit), at_most=max(1, large // unit // shards))
    small = probes.small_batch_size or unit * parts
    curvature = probes.curvature_batch_size or max(unit, large // 4 // unit * unit)
    coupled_pass = micro_batch_size or batch_size
    reference = max(2 * large, curvature)
    parts = curvature if independent else unit if grouped else min(reference, coupled_pass)
    reference = probes.reference_batch_size or reference // parts * parts
    ladder: tuple[int, ...] = ()
    if probes.asks_for("one_step", "line_search"):
        ladder = probes.ladder or tuple(small * 2**k for k in range((large // small).bit_length()))
    sizes = ProbeSizes(
        small=small,
        large=large,
        curvature=curvature,
        reference=reference,
        ladder=ladder,
        unit=unit,
        independent=independent,
        additive=independent or grouped or micro_batch_size is not None,
        coupled_pass=coupled_pass,
        free_pass=probes.micro_batch_size or free_pass,
        grouped=grouped,
    )
    _check(sizes)
    return sizes


def _check(sizes: ProbeSizes) -> None:
    if sizes.large % sizes.small or sizes.large < 2 * sizes.small:
        raise SettingsError(
            "probes.large_batch_size must be a multiple of small_batch_size and larger, but got "
            f"{sizes.large} with {sizes.small}; nearest: {max(2, round(sizes.large / sizes.small)) * sizes.small}"
        )
    if sizes.curvature > sizes.reference:
        raise SettingsError(
            "probes.reference_batch_size must be at least curvature_batch_size, but got "
            f"{sizes.reference} with {sizes.curvature}; leave one out"
        )
    if sizes.independent:
        return
    named = [
        ("small_batch_size", sizes.small),
        ("curvature_batch_size", sizes.curvature),
        ("reference_batch_size", sizes.reference),
        *(("ladder", size) for size in sizes.ladder),
        *([("micro_batch_size", sizes.free_pass)] if sizes.grouped else []),
    ]
    unit = "groups" if sizes.grouped else "run's micro_batch_size"
    for name, size in named:
        if size % sizes.unit or size < 2:
            raise SettingsError(
                f"probes.{name} must be at least 2, and a multiple of the {unit}, where the loss couples examples, but "
                f"got {size} with {sizes.unit}; nearest: {max(2, sizes.unit, size // sizes.unit * sizes.unit)}"
            )
    if sizes.grouped:
        return
    for (name, size), held in zip(named[1:3], (sizes.curvature_pass, sizes.reference_pass), strict=True):
        if size % held:
            raise SettingsError(
                f"probes.{name} must be a multiple of the {held} examples that a pass couples, but got "
                f"{size}; nearest: {(size // held + 1) * held}"
            )
