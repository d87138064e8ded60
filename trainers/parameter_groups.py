"""Which parameters an optimiser treats alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from .errors import SettingsError


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return one group of matrices, which decay, and one of biases and gains, which don't.

    Only parameters that are trained are taken, and no group is empty.

    Args:
        model: The model.
        weight_decay: Of parameters with two dimensions or more.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return _filled(
        {"params": [parameter for parameter in trained if parameter.ndim >= 2], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trained if parameter.ndim < 2], "weight_decay": 0.0},
    )


def hidden_matrix_groups(
    model: nn.Module, *, hidden: dict[str, Any], others: dict[str, Any], head_names: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the groups of Muon: hidden matrices, other matrices, and (without decay) biases and gains.

    A hidden matrix has two dimensions or more (a convolution counts as a matrix of its flattened filters) and belongs
    neither to an embedding (nor is tied to one) nor to a head.

    Args:
        model: The model.
        hidden: Options of the group of hidden matrices.
        others: Options of the two other groups.
        head_names: Names of head modules: the last part or parts of their dotted name.

    Raises:
        SettingsError: There is no hidden matrix.
    """
    heads = tuple(f".{name}" for name in head_names)
    apart = {
        id(parameter)
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) or f".{name}".endswith(heads)
        for parameter in module.parameters(recurse=True)
    }
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in trained if parameter.ndim >= 2]
    if all(id(parameter) in apart for parameter in matrices):
        raise SettingsError(
            f"muon needs a model with hidden matrices, but all {len(matrices)} matrices belong to embeddings or to "
            f"modules named {', '.join(head_names)}; change adamw_modules or use adamw"
        )
    return _filled(
        {"params": [parameter for parameter in matrices if id(parameter) not in apart], **hidden},
        {"params": [parameter for parameter in matrices if id(parameter) in apart], **others},
        {"params": [parameter for parameter in trained if parameter.ndim < 2], **others, "weight_decay": 0.0},
    )


def scale_rates(optimizer: Optimizer, model: nn.Module, factors: Mapping[str, float]) -> None:
    """Multiply the rate of each parameter by its factor: groups are split where factors differ.

    Args:
        optimizer: of the model, without state.
        model: whose parameters ``factors`` names.
        factors: name -> factor, for all trained parameters.
    """
    if all(factor == 1.0 for factor in factors.values()):
        return
    factor_of = {id(parameter): factors[name] for name, parameter in model.named_parameters() if name in factors}
    groups = []
    for group in optimizer.param_groups:
        for factor in dict.fromkeys(factor_of[id(parameter)] for parameter in group["params"]):
            own = [parameter for parameter in group["params"] if factor_of[id(parameter)] == factor]
            groups.append({**group, "params": own, "lr": group["lr"] * factor})
    optimizer.param_groups[:] = groups


def _filled(*groups: dict[str, Any]) -> list[dict[str, Any]]:
    """Leave out empty groups: DeepSpeed can't flatten them."""
    return [group for group in groups if group["params"]]
