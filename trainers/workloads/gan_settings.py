"""What can be chosen about the two players, their data and their rates."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ..reading import Settings, added
from .gan_features import VERSION
from .gan_objectives import Objective

_PENALTY_WEIGHT = 10.0  # Gulrajani et al. 2017


class GanSettings(Settings):
    """Data, players and rates.

    ``dataset`` is ``digits``, ``fashion-mnist``, ``emoji32`` or a hub data set with labels. ``objective`` brings the
    discriminator's normalisation that it was published with: BatchNorm, none with a gradient penalty, or spectral.
    ``penalty_weight`` is that of the gradient penalty. A player's ``rate_factor`` multiplies the study's rate; a
    ``rate`` replaces it, so that the study's rate is the other player's alone. ``feature_net`` is the version of the
    net in whose features the outcome is measured. ``initial_std`` draws all weights with that standard deviation, 0.02
    in DCGAN, in place of torch's way, which looks at each layer's size.
    """

    dataset: str = "digits"
    image_field: str = "image"
    label_field: str = "label"
    objective: Objective = "non-saturating"
    latent_size: int = Field(default=16, gt=0)
    generator_width: int = Field(default=32, gt=0)
    discriminator_width: int = Field(default=32, gt=0)
    penalty_weight: float = Field(default=_PENALTY_WEIGHT, ge=0)
    generator_rate: float | None = Field(default=None, ge=0)
    generator_rate_factor: float = Field(default=1.0, ge=0)
    discriminator_rate: float | None = Field(default=None, ge=0)
    discriminator_rate_factor: float = Field(default=1.0, ge=0)
    evaluation_images: int = Field(default=1000, ge=100)
    feature_net: Literal[1] = VERSION
    target_frechet: float | None = Field(default=None, gt=0)
    initial_std: float | None = added(None, gt=0)

    @model_validator(mode="after")
    def _one_rate_is_the_studys(self) -> GanSettings:
        if self.generator_rate is not None and self.discriminator_rate is not None:
            raise ValueError(
                "one player at least must follow the study's rate, but generator_rate is "
                f"{self.generator_rate:g} and discriminator_rate {self.discriminator_rate:g}"
            )
        return self

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> GanSettings:
        if self.penalty_weight != _PENALTY_WEIGHT and self.objective != "wgan-gp":
            raise ValueError(
                f"penalty_weight must be left out unless objective is wgan-gp, but is {self.penalty_weight:g} with "
                f"{self.objective}"
            )
        rates = {"generator": self.generator_rate, "discriminator": self.discriminator_rate}
        factors = {"generator": self.generator_rate_factor, "discriminator": self.discriminator_rate_factor}
        for player, rate in rates.items():
            if rate is not None and factors[player] != 1.0:
                raise ValueError(
                    f"{player}_rate_factor must be left out where {player}_rate is given, but they are "
                    f"{factors[player]:g} and {rate:g}"
                )
        return self
