"""The optimisers by name: what each is, what can be set, and how it is built.

Each is one ``torch.optim.Optimizer``, ready for ``deepspeed.initialize(optimizer=…)``. The learning rate given is the
peak rate and is never rescaled by the batch size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from .errors import SettingsError
from .lamb import Lamb
from .optimizer_settings import (
    AdamSettings,
    Decay,
    LambSettings,
    LionSettings,
    MuonSettings,
    SignSettings,
    WithMomentum,
)
from .parameter_groups import decay_groups, hidden_matrix_groups, scale_rates
from .reading import read_settings

Build = Callable[[Any, nn.Module, float, int], Optimizer]
"""Settings, model, peak rate and batch size to optimiser."""


@dataclass(frozen=True, kw_only=True)
class OptimizerSpec:
    """One optimiser.

    Attributes:
        summary: Its update, in one line (g gradient, m average, w weights, η rate).
        settings: The class of what can be set.
        build: Makes it.
        elementwise: Whether the update of an element depends on that element alone. Only then may ZeRO or DeepSpeed's
            own half-precision wrapper flatten tensors without changing the algorithm.
    """

    summary: str
    settings: type[Decay]
    build: Build
    elementwise: bool = True


def build_optimizer(
    name: str,
    settings: Mapping[str, Any],
    model: nn.Module,
    *,
    learning_rate: float,
    batch_size: int,
    rate_factors: Mapping[str, float] | None = None,
) -> Optimizer:
    """Return the optimiser called ``name`` for the trained parameters of ``model``.

    Args:
        name: A key of ``OPTIMIZERS``.
        settings: Plain JSON values of the optimiser's settings; what is left out has its default.
        model: The model, on the device where it is trained.
        learning_rate: The peak rate.
        batch_size: Global examples a step; used for settings counted in examples.
        rate_factors: What each trained parameter's rate is multiplied by, by its name in ``model``.

    Raises:
        SettingsError: See ``validate_optimizer``; or the model has nothing that the optimiser is for.
    """
    optimizer = OPTIMIZERS[name].build(validate_optimizer(name, settings), model, learning_rate, batch_size)
    scale_rates(optimizer, model, rate_factors or {})
    return optimizer


def validate_optimizer(name: str, settings: Mapping[str, Any]) -> Decay:
    """Return the settings of the optimiser called ``name``, with the defaults filled in.

    Raises:
        SettingsError: The name or a key is unknown, or a value is of a wrong type or out of range.
    """
    if name not in OPTIMIZERS:
        raise SettingsError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, but got {name!r}")
    cls = OPTIMIZERS[name].settings
    unknown = [key for key in settings if key not in cls.model_fields]
    if unknown:
        allowed = ", ".join(f"{key} ({field.default})" for key, field in cls.model_fields.items())
        raise SettingsError(
            f"optimizer_settings of {name} must be among (with their defaults) {allowed}, but got {', '.join(unknown)}"
        )
    return read_settings(cls, settings, where="optimizer_settings")


def _sgd(settings: Decay, model: nn.Module, rate: float, _: int) -> Optimizer:
    return SGD(decay_groups(model, settings.weight_decay), lr=rate)


def _momentum(settings: WithMomentum, model: nn.Module, rate: float, _: int) -> Optimizer:
    return SGD(decay_groups(model, settings.weight_decay), lr=rate, momentum=settings.momentum)


def _ema_momentum(settings: WithMomentum, model: nn.Module, rate: float, _: int) -> Optimizer:
    """Build torch's SGD with dampening equal to its momentum, and an average that starts at zero.

    torch would start the average at the whole first gradient, which then outweighs each later one 1/(1 − μ) times.
    From zero, m = (1 − μ) Σ μᵏ g₋ₖ holds from the first step on, and the optimiser is heavy-ball momentum at rate
    (1 − μ) η, exactly.
    """
    optimizer = SGD(
        decay_groups(model, settings.weight_decay),
        lr=rate,
        momentum=settings.momentum,
        dampening=settings.momentum,
    )
    # At the step and not here: DeepSpeed exchanges the tensors of the groups after the optimiser is built.
    optimizer.register_step_pre_hook(_start_averages_at_zero)
    return optimizer


def _start_averages_at_zero(optimizer: Optimizer, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None and optimizer.state[parameter].get("momentum_buffer") is None:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter.grad)


def _adamw(settings: AdamSettings, model: nn.Module, rate: float, batch_size: int) -> Optimizer:
    groups = decay_groups(model, settings.weight_decay)
    # One kernel for all tensors: a quarter of the time of the loop over them on small models.
    return AdamW(groups, lr=rate, betas=settings.betas_at(batch_size), eps=settings.epsilon, fused=True)


def _sign_sgd(settings: SignSettings, model: nn.Module, rate: float, _: int) -> Optimizer:
    from pytorch_optimizer import SignSGD  # seconds to import, like the two below

    return SignSGD(decay_groups(model, settings.weight_decay), lr=rate, momentum=settings.momentum)


def _lion(settings: LionSettings, model: nn.Module, rate: float, _: int) -> Optimizer:
    from pytorch_optimizer import Lion

    return Lion(decay_groups(model, settings.weight_decay), lr=rate, betas=settings.betas)


def _lamb(settings: LambSettings, model: nn.Module, rate: float, batch_size: int) -> Optimizer:
    """Build LAMB; biases and gains, which start at zero or one, get neither decay nor the trust ratio."""
    groups = decay_groups(model, settings.weight_decay)
    for group in groups:
        group["adapt"] = group["params"][0].ndim >= 2
    return Lamb(groups, lr=rate, betas=settings.betas_at(batch_size), eps=settings.epsilon)


def _muon(settings: MuonSettings, model: nn.Module, rate: float, _: int) -> Optimizer:
    """Build Muon for hidden matrices and AdamW for the rest, in one optimiser.

    An orthogonal update of an n×m matrix is scaled by 0.2 √max(n, m), which gives it the size of an AdamW update
    (Liu et al. 2025, "Muon is Scalable for LLM Training", eq. 4).
    """
    from pytorch_optimizer import Muon

    groups = hidden_matrix_groups(
        model,
        hidden={
            "use_muon": True,
            "lr": rate,
            "momentum": settings.momentum,
            "weight_decay": settings.weight_decay,
            "use_adjusted_lr": True,
        },
        others={
            "use_muon": False,
            "lr": rate * settings.adamw_rate_ratio,
            "betas": settings.betas,
            "eps": 1e-8,
            "weight_decay": settings.weight_decay,
        },
        head_names=settings.adamw_modules,
    )
    return Muon(groups, lr=rate)


OPTIMIZERS: dict[str, OptimizerSpec] = {
    "sgd": OptimizerSpec(summary="w −= η g", settings=Decay, build=_sgd),
    "momentum": OptimizerSpec(summary="heavy ball: m = μ m + g; w −= η m", settings=WithMomentum, build=_momentum),
    "ema-momentum": OptimizerSpec(
        summary="m = μ m + (1 − μ) g from m = 0; w −= η m", settings=WithMomentum, build=_ema_momentum
    ),
    "adamw": OptimizerSpec(summary="w −= η m̂ / (√v̂ + ε), decoupled decay", settings=AdamSettings, build=_adamw),
    "sign-sgd": OptimizerSpec(
        summary="w −= η sign(m), m = g unless momentum is set", settings=SignSettings, build=_sign_sgd
    ),
    "lamb": OptimizerSpec(
        summary="u = m̂ / (√v̂ + ε) + λ w; w −= η u ‖w‖ / ‖u‖ for each tensor",
        settings=LambSettings,
        build=_lamb,
        elementwise=False,
    ),
    "muon": OptimizerSpec(
        summary="w −= η orthogonal(m) for hidden matrices, AdamW for the rest",
        settings=MuonSettings,
        build=_muon,
        elementwise=False,
    ),
    "lion": OptimizerSpec(
        summary="w −= η sign(β₁ m + (1 − β₁) g); m = β₂ m + (1 − β₂) g", settings=LionSettings, build=_lion
    ),
}

ELEMENTWISE = frozenset(name for name, spec in OPTIMIZERS.items() if spec.elementwise)
