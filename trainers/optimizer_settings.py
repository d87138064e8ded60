"""What can be set of each optimiser, besides its learning rate."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from .reading import Settings

Momentum = Annotated[float, Field(ge=0.0, lt=1.0)]
Betas = Annotated[tuple[Momentum, Momentum], Field(strict=False)]  # JSON has lists only
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]


class Decay(Settings):
    """Settings of every optimiser.

    Attributes:
        weight_decay: Decay of the parameters with two dimensions or more; biases and gains are never decayed. It is
            added to the gradient (L2) by sgd, momentum and ema-momentum, and decoupled (weights shrink by rate ×
            decay) in the others. Zero by default, lest a study of the rate be one of the decay too.
    """

    weight_decay: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)


class WithMomentum(Decay):
    """Settings of optimisers with one momentum.

    Attributes:
        momentum: Fraction of the average that a step keeps.
    """

    momentum: Momentum = 0.9


class SignSettings(Decay):
    """Settings of sign-sgd.

    Attributes:
        momentum: Fraction kept by the average whose sign is taken; 0 takes the gradient's sign.
    """

    momentum: Momentum = 0.0


class LionSettings(Decay):
    """Settings of Lion.

    Attributes:
        betas: Weight of the average in the update, and fraction of the average that a step keeps.
    """

    betas: Betas = (0.9, 0.99)


class AdamSettings(Decay):
    """Settings of Adam's moments.

    Attributes:
        betas: Fractions of the first and second moment that a step keeps; (0.9, 0.999) unless given.
        beta1: The first of them, together with ``beta2_half_life_examples``; 0.9 unless given.
        beta2_half_life_examples: Examples after which a squared gradient's weight has halved. It gives
            β₂ = 2^(−batch_size / half-life), the same memory at every batch size.
        epsilon: Added to the square root of the second moment.
    """

    betas: Betas | None = None
    beta1: Momentum | None = None
    beta2_half_life_examples: Positive | None = None
    epsilon: Positive = 1e-8

    @model_validator(mode="after")
    def _one_way(self) -> AdamSettings:
        if self.betas is not None and (self.beta1 is not None or self.beta2_half_life_examples is not None):
            raise ValueError("betas excludes beta1 and beta2_half_life_examples; give one or the others")
        if self.beta1 is not None and self.beta2_half_life_examples is None:
            raise ValueError("beta1 goes with beta2_half_life_examples; otherwise give betas")
        return self

    def betas_at(self, batch_size: int) -> tuple[float, float]:
        """Return β₁ and β₂ for steps of ``batch_size`` examples."""
        if self.beta2_half_life_examples is None:
            return self.betas or (0.9, 0.999)
        return 0.9 if self.beta1 is None else self.beta1, 2.0 ** (-batch_size / self.beta2_half_life_examples)


class LambSettings(AdamSettings):
    """Settings of LAMB: Adam's, with the larger ε of its paper."""

    epsilon: Positive = 1e-6


class MuonSettings(WithMomentum):
    """Settings of Muon, and of the AdamW that trains what is not a hidden matrix.

    Attributes:
        momentum: Fraction of the average that a step keeps; Nesterov's form.
        adamw_rate_ratio: AdamW's rate as a multiple of the matrices' rate. One is right where the matrices' updates
            are scaled to AdamW's size, as they are here.
        adamw_modules: Names of the modules (last part or parts of the dotted name) whose matrices AdamW trains
            besides all embeddings: the heads.
        betas: AdamW's.
    """

    momentum: Momentum = 0.95
    adamw_rate_ratio: Positive = 1.0
    adamw_modules: Annotated[tuple[str, ...], Field(strict=False)] = (
        "head", "lm_head", "classifier", "predictions.decoder", "fc",
    )  # fmt: skip
    betas: Betas = (0.9, 0.95)
