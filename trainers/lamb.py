"""LAMB: Adam's step, rescaled for each tensor to a fraction of the tensor's own norm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer


class Lamb(Optimizer):
    """Algorithm 2 of You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 Minutes" (2020).

    The moments are debiased before the norms are taken. Libraries that debias afterwards take first steps 1/(1 − β₁)
    times too long, and those that never do give a decay that counts for less at first, which is the region that a
    study of warm-up looks at. φ is the identity without bounds.

    Each group needs ``adapt``: whether its tensors get the trust ratio ‖w‖ / ‖update‖. Where either norm is zero the
    ratio is one.
    """

    def __init__(
        self, params: Any, *, lr: float, betas: tuple[float, float], eps: float, weight_decay: float = 0.0
    ) -> None:
        """Take tensors or groups; the options are group options of the usual names."""
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "adapt": True})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step; ``closure``, if given, computes the loss and its gradients first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step_tensor(parameter, parameter.grad, group)
        return loss

    def _step_tensor(self, parameter: torch.Tensor, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = 0
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        beta1, beta2 = group["betas"]
        first = state["exp_avg"].lerp_(gradient, 1.0 - beta1)
        second = state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1.0 - beta2)
        scale = (second / (1.0 - beta2 ** state["step"])).sqrt_().add_(group["eps"])
        update = (first / (1.0 - beta1 ** state["step"])).div_(scale).add_(parameter, alpha=group["weight_decay"])
        if group["adapt"]:
            weight_norm, update_norm = torch.linalg.vector_norm(parameter), torch.linalg.vector_norm(update)
            ratio = torch.where((weight_norm > 0) & (update_norm > 0), weight_norm / update_norm, 1.0)
            update.mul_(ratio)
        parameter.add_(update, alpha=-group["lr"])
