"""What a run tells while it goes on, and at its end."""

from __future__ import annotations

import dataclasses

from .probes.rows import ProbeRow


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress:
    """The run is alive: sent about once a second between evaluations."""

    step: int
    examples: int
    train_seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """An evaluation: the workload's metrics, and ``train_loss`` (mean since the last one; absent at step 0)."""

    step: int
    examples: int
    train_seconds: float
    values: dict[str, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Probed:
    """A probe: what it measured, and what it cost.

    ``seconds`` count neither as training nor as evaluation. ``equivalent_steps`` are the training steps with as much
    arithmetic, by what was passed through: examples for a gradient, for a Hessian-vector product, for a loss alone.
    """

    step: int
    examples: int
    train_seconds: float
    rows: tuple[ProbeRow, ...]
    seconds: float
    equivalent_steps: float
    gradient_examples: int
    product_examples: int
    loss_examples: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resumed:
    """The run looked for a checkpoint; always the first event, where checkpoints are kept.

    With ``step`` 0 it begins anew. Otherwise it goes on there, and every ``Measured`` and ``Probed`` of before follows
    again, so that the events of this attempt are those of the whole run. ``resumes`` counts how often it went on.
    ``problems`` say, a line each, why newer checkpoints could not be used.
    """

    step: int
    examples: int
    train_seconds: float
    resumes: int
    problems: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kept:
    """A checkpoint was written, or could not be: then ``problem`` says why, and the run goes on without.

    ``seconds`` count neither as training nor as evaluation; ``file_bytes`` are those of this worker.
    """

    step: int
    examples: int
    train_seconds: float
    seconds: float
    file_bytes: int
    problem: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finished:
    """The end of a run, always the last event.

    ``status`` is ``reached``, ``exhausted``, ``diverged``, or ``failed`` where the target was met before the first
    step, so that there is nothing to count; ``value`` is the target's metric at the last
    evaluation; ``steps_to_target`` is interpolated between evaluations and ``None`` when not reached.
    ``probe_seconds`` are in none of the other seconds. ``halvings`` counts how often the micro-batch was halved for
    want of memory, which was found to hold ``micro_batch_at_most`` examples (``None`` where nothing was halved), and
    ``resumes`` how often the run went on from a checkpoint.
    """

    status: str
    message: str
    steps: int
    examples: int
    steps_to_target: float | None
    value: float
    train_seconds: float
    evaluate_seconds: float
    setup_seconds: float
    probe_seconds: float
    world_size: int
    micro_batch_size: int
    accumulation_steps: int
    device_batch_size: int
    dtype: str
    zero_stage: int
    hardware: str
    halvings: int = 0
    micro_batch_at_most: int | None = None
    resumes: int = 0


Event = Progress | Measured | Probed | Resumed | Kept | Finished
