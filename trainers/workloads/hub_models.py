"""Architectures of the hub by name: their configuration, never their weights."""

from __future__ import annotations

from typing import Any

from ..data.hub import quiet_hub
from ..errors import SettingsError, first_line

_DROPOUTS = (
    "hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout", "embedding_dropout",
    "mlp_dropout",
)  # fmt: skip
"""What architectures call the fractions that are dropped in their body."""


def hub_configuration(name: str, *, vocabulary_size: int, sequence_length: int, dropout: float, **changes: Any) -> Any:
    """Return the configuration of a masked language model on the hub, or in a folder in its format, for our windows.

    Args:
        name: of the model.
        vocabulary_size: ids are below it.
        sequence_length: tokens of a window.
        dropout: fraction dropped everywhere in the model's body.
        changes: further entries of the configuration.

    Raises:
        SettingsError: there is no such model, it is no masked language model, or its windows are shorter.
    """
    from transformers import MODEL_FOR_MASKED_LM_MAPPING, AutoConfig

    quiet_hub()
    try:
        # The windows hold no padding; an id of the model's own vocabulary would freeze a token of ours at zero.
        configuration = AutoConfig.from_pretrained(name, vocab_size=vocabulary_size, pad_token_id=None, **changes)
    except Exception as error:  # the library raises many kinds, all meaning that there is no such model
        raise SettingsError(
            f"workload_settings.model must be roformer, bert or a model on the hub, but got {name!r} "
            f"({first_line(error)})"
        ) from error
    if type(configuration) not in MODEL_FOR_MASKED_LM_MAPPING:
        raise SettingsError(
            f"workload_settings.model must be a masked language model, but {name!r} is a {configuration.model_type}"
        )
    longest = getattr(configuration, "max_position_embeddings", None)
    if longest is not None and longest < sequence_length:
        raise SettingsError(
            f"workload_settings.sequence_length must be at most {longest} with the model {name!r}, but got "
            f"{sequence_length}"
        )
    set_dropout(configuration, dropout)
    return configuration


def set_dropout(configuration: Any, dropout: float) -> None:
    """Let a configuration drop the fraction ``dropout`` everywhere in the model's body."""
    for key in _DROPOUTS:
        if hasattr(configuration, key):
            setattr(configuration, key, dropout)
