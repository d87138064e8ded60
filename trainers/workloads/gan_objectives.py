"""What generator and discriminator each minimise, given the discriminator's answers to real and made pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch.nn import functional

Objective = Literal["non-saturating", "wgan-gp", "hinge"]
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)
_TINY = 1e-12


def generator_loss(objective: Objective, fake: torch.Tensor) -> torch.Tensor:
    """Return the generator's mean loss.

    −log σ(D) (Goodfellow et al. 2014, its non-saturating form), else −D (Gulrajani et al. 2017, Miyato et al. 2018).

    Args:
        objective: whose.
        fake: the discriminator's answers to made pictures, shape (examples,).
    """
    return functional.softplus(-fake).mean() if objective == "non-saturating" else -fake.mean()


def discriminator_loss(objective: Objective, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Return the discriminator's mean loss, without the penalty.

    −log σ(D(x)) − log(1 − σ(D(x̃))); D(x̃) − D(x); or max(0, 1 − D(x)) + max(0, 1 + D(x̃)).

    Args:
        objective: whose.
        real: the discriminator's answers to real pictures, shape (examples,).
        fake: those to made ones.
    """
    if objective == "non-saturating":
        return functional.softplus(-real).mean() + functional.softplus(fake).mean()
    if objective == "wgan-gp":
        return fake.mean() - real.mean()
    return functional.relu(1.0 - real).mean() + functional.relu(1.0 + fake).mean()


def gradient_penalty(
    discriminator: Callable[[torch.Tensor], torch.Tensor],
    real: torch.Tensor,
    fake: torch.Tensor,
    share: torch.Tensor,
) -> torch.Tensor:
    """Return the mean of (‖∇D(x̂)‖ − 1)² at x̂ = share·real + (1 − share)·fake (Gulrajani et al. 2017, equation 3).

    Works under ``no_grad`` too. The root is of the square plus 1e-12, so that it has derivatives where D is flat.

    Args:
        discriminator: answers each picture by itself.
        real: pictures.
        fake: as many made ones.
        share: in [0, 1], shape (examples, 1, 1, 1).
    """
    between = (share * real + (1.0 - share) * fake).detach().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(discriminator(between).sum(), between, create_graph=True)
    norm = (slope.flatten(1).square().sum(dim=1) + _TINY).sqrt()
    return (norm - 1.0).square().mean()
