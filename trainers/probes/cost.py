"""What a probe costs, counted in passes over examples and told in training steps."""

from __future__ import annotations

import dataclasses

from ..errors import SettingsError
from .settings import ProbeSettings
from .sizes import ProbeSizes

_LOSS = 1.0 / 3.0
_PRODUCT = 2.25  # measured on small transformers and convolutions: 2.05 to 2.4


@dataclasses.dataclass(kw_only=True)
class ProbeCost:
    """Examples passed through: for a gradient, for a Hessian-vector product, for a loss alone."""

    gradient_examples: int = 0
    product_examples: int = 0
    loss_examples: int = 0

    def equivalent_steps(self, batch_size: int) -> float:
        """Return the training steps of ``batch_size`` examples with as much arithmetic, nearly.

        A loss counts as a third of a gradient (a backward pass is two forward passes), a product as 2.25 gradients.
        """
        examples = self.gradient_examples + _PRODUCT * self.product_examples + _LOSS * self.loss_examples
        return examples / batch_size


def planned_cost(probes: ProbeSettings, sizes: ProbeSizes, *, workers: int = 1) -> ProbeCost:
    """Return what one probe will count over all ``workers``, known before it."""
    cost = ProbeCost()
    vectors = 0
    if probes.asks_for("two_batch", "per_example", "curvature"):
        cost.gradient_examples += probes.draws * sizes.large * (1 if sizes.additive else 2)
    if probes.asks_for("per_example") and sizes.independent:
        cost.gradient_examples += min(probes.per_example_draws, probes.draws) * sizes.large
    if probes.asks_for("curvature", "one_step"):
        cost.gradient_examples += sizes.reference
    if probes.asks_for("curvature"):
        vectors += 2 * probes.draws + 2
    if sizes.ladder:
        drawn = sizes.ladder[-1] if sizes.additive else sum(sizes.ladder)
        cost.gradient_examples += probes.draws * (drawn + probes.warm_steps * sum(sizes.ladder))
    if probes.asks_for("one_step"):
        vectors += probes.draws * len(sizes.ladder)
    if probes.asks_for("line_search"):
        cost.loss_examples = sizes.curvature * (1 + probes.draws * len(sizes.ladder) * len(probes.line_rate_factors))
    if vectors:
        graphs = 1 if sizes.curvature <= sizes.curvature_pass * workers else probes.draws
        cost.gradient_examples += graphs * sizes.curvature
        cost.product_examples = vectors * sizes.curvature
    return cost


def check_cost(probes: ProbeSettings, sizes: ProbeSizes, *, batch_size: int, workers: int = 1) -> None:
    """Check that one probe keeps within ``max_equivalent_steps``.

    Raises:
        SettingsError: It doesn't.
    """
    bound = probes.max_equivalent_steps
    if bound is None:
        return
    steps = planned_cost(probes, sizes, workers=workers).equivalent_steps(batch_size)
    if steps <= bound:
        return
    fitting = [
        draws
        for draws in range(1, probes.draws)
        if planned_cost(probes.model_copy(update={"draws": draws}), sizes, workers=workers).equivalent_steps(batch_size)
        <= bound
    ]
    way_out = f"set draws to {fitting[-1]}" if fitting else "measure less, or on smaller batches"
    raise SettingsError(
        f"a probe must cost at most probes.max_equivalent_steps, but costs {steps:.3g} steps of {batch_size} examples "
        f"with {bound:g} allowed; {way_out}"
    )
