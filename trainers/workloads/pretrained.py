"""Encoders with published weights: all-MiniLM-L6-v2 out of its package, and models of the hub by name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from ..data.hub import quiet_hub
from ..data.minilm import minilm
from ..errors import SettingsError, first_line
from .bert_encoders import OUR_MODELS, drop_pooler
from .hub_models import set_dropout


def pretrained_configuration(
    name: str, *, sequence_length: int, dropout: float, own: Sequence[str] = OUR_MODELS
) -> Any:
    """Return the configuration of ``minilm``, or of an encoder of the hub or in a folder in its format.

    Args:
        name: of the model.
        sequence_length: the most tokens of a text.
        dropout: fraction dropped everywhere in the model's body.
        own: names of the models that a workload has besides, for the error.

    Raises:
        DataError: minilm can't be had.
        SettingsError: the hub has no such model, it is no encoder, or its texts are shorter.
    """
    from transformers import AutoConfig, BertConfig

    if name == "minilm":
        configuration: Any = BertConfig(**minilm().configuration)
    else:
        quiet_hub()
        try:
            configuration = AutoConfig.from_pretrained(name)
        except Exception as error:  # the library raises many kinds, all meaning that there is no such model
            raise SettingsError(
                f"workload_settings.model must be {', '.join(own)}, minilm or a model on the hub, but got {name!r} "
                f"({first_line(error)})"
            ) from error
    if not hasattr(configuration, "vocab_size") or getattr(configuration, "is_encoder_decoder", False):
        raise SettingsError(
            f"workload_settings.model must be an encoder of text, but {name!r} is a {configuration.model_type}"
        )
    longest = getattr(configuration, "max_position_embeddings", None)
    if longest is not None and longest < sequence_length:
        raise SettingsError(
            f"workload_settings.sequence_length must be at most {longest} with the model {name!r}, but got "
            f"{sequence_length}"
        )
    set_dropout(configuration, dropout)
    return configuration


def check_vocabulary(configuration: Any, name: str, *, vocabulary_size: int, tokens: str) -> None:
    """Check that a published model has an embedding for each id.

    Args:
        configuration: from ``pretrained_configuration``.
        name: of the model.
        vocabulary_size: ids are below it.
        tokens: what they are called: the model's name where they are its own.

    Raises:
        SettingsError: it has fewer.
    """
    known = configuration.vocab_size
    if known >= vocabulary_size:
        return
    if tokens == name:
        raise SettingsError(
            f"workload_settings.model must know all ids of its tokens, but {name} knows {known} of {vocabulary_size}; "
            "use another model"
        )
    raise SettingsError(
        f"workload_settings.tokens must have at most the {known} ids that the model {name} knows, but {tokens} has "
        f"{vocabulary_size}; leave tokens out to take the model's own"
    )


def pretrained_encoder(name: str, configuration: Any, *, attention: str) -> nn.Module:
    """Return the model with its published weights, without a pooler; it gives one state a token.

    Args:
        name: as in ``pretrained_configuration``.
        configuration: from there.
        attention: its implementation, ``eager`` or ``sdpa``.

    Raises:
        DataError: minilm can't be had.
        SettingsError: the hub has no weights of this architecture under the name.
    """
    from transformers import AutoModel, BertModel

    if name == "minilm":
        configuration._attn_implementation = attention
        model: nn.Module = BertModel(configuration, add_pooling_layer=False)
        model.load_state_dict({key: torch.from_numpy(value) for key, value in minilm().weights.items()})
        return model
    quiet_hub()
    try:
        with _quiet_loading():
            return drop_pooler(
                AutoModel.from_pretrained(
                    name, config=configuration, attn_implementation=attention, use_safetensors=True
                )
            )
    except Exception as error:  # the library raises many kinds, all meaning that there are no such weights
        raise SettingsError(
            f"workload_settings.model: the weights of {name!r} can't be loaded ({first_line(error)})"
        ) from error


@contextlib.contextmanager
def _quiet_loading() -> Iterator[None]:
    """Show no progress bar and no list of the head's weights, which are not used."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
