"""What every workload must learn to count as one that does, and how each is seen to fail. Written before the runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

BEFORE = "before training"
"""The baseline that every run has: the outcome at step 0."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Failure:
    """A run that fails, and the metric in which that is seen.

    Attributes:
        name: What is done to the learning run.
        metric: Where it shows; ``status`` where the run diverges.
        rate_factor: Multiplies the rate.
        settings: Replace the workload's.
    """

    name: str
    metric: str
    rate_factor: float = 1.0
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One workload's trivial baseline, what beating it means, and its failure.

    Attributes:
        baseline: A name among the workload's baselines, or ``BEFORE``.
        margin: By how much the outcome must be better, in its own unit.
        failure: A run that shows how it fails.
    """

    baseline: str
    margin: float
    failure: Failure


CASES: dict[str, Case] = {
    "quadratic": Case(
        baseline=BEFORE,
        margin=0.1,
        failure=Failure(name="30 times the rate", metric="status", rate_factor=30.0),
    ),
    "bert-mlm": Case(
        baseline="token frequencies",
        margin=0.4,
        failure=Failure(name="8 times the rate", metric="validation_loss", rate_factor=8.0),
    ),
    "bert-classify": Case(
        baseline="majority",
        margin=0.08,
        failure=Failure(name="8 times the rate", metric="largest_predicted_share", rate_factor=8.0),
    ),
    "simsiam": Case(
        baseline="untrained encoder",
        margin=0.02,
        failure=Failure(
            name="no stop-gradient, no norm at the projector's end",
            metric="embedding_spread",
            settings={"stop_gradient": False, "projector_output_norm": False},
        ),
    ),
    "cosent": Case(
        baseline="TF-IDF cosine",
        margin=0.02,
        failure=Failure(name="SBERT's cross-entropy on |u − v|", metric="spearman", settings={"objective": "sbert"}),
    ),
    "cross-encoder": Case(
        baseline="TF-IDF cosine",
        margin=0.01,
        failure=Failure(name="30 times the rate", metric="prediction_std", rate_factor=30.0),
    ),
    "gru-am-softmax": Case(
        baseline="TF-IDF cosine",
        margin=0.05,
        failure=Failure(name="30 times the rate", metric="embedding_spread", rate_factor=30.0),
    ),
    "triples": Case(
        baseline="subjects given, likeliest object word",
        margin=0.2,
        failure=Failure(name="8 times the rate", metric="found_per_true", rate_factor=8.0),
    ),
    "byol": Case(
        baseline="untrained encoder",
        margin=0.02,
        failure=Failure(name="no predictor", metric="embedding_spread", settings={"predictor": False}),
    ),
    "gan": Case(
        baseline="normal pixels",
        margin=1.0,
        failure=Failure(name="10 times the rate", metric="class_coverage", rate_factor=10.0),
    ),
}
"""By workload. Margins are about half of what trials at other cells had shown."""
