"""Data sets and tokenisers of the Hugging Face hub by name, for machines that reach it; folders in their format too."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, first_line
from .images import LabelledImages
from .vocabulary import Tokenizer


def quiet_hub() -> None:
    """Let the hub's client say nothing of its retries: where they fail, our own error says it in one line."""
    import huggingface_hub  # noqa: F401 - its import sets the level that is replaced here

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


def load_hub_text(dataset: str, split: str, *, field: str = "text") -> tuple[str, ...]:
    """Return the texts of one split in their order; empty ones and exact copies are left out.

    Args:
        dataset: ``owner/name``, ``owner/name:configuration`` or a local folder of csv, json, text or parquet files.
        split: A split as the data set names it, such as ``train``; ``train[:1%]`` takes a part.
        field: The column of the texts.

    Raises:
        DataError: The ``datasets`` package is missing, the hub can't be reached, or the data set has no such
            configuration, split or column.
    """
    rows = load_hub_rows(dataset, split, (field,))
    return tuple(dict.fromkeys(text for text in (str(value).strip() for value in rows[field] if value) if text))


def load_hub_images(
    dataset: str, split: str, *, image_field: str = "image", label_field: str = "label"
) -> LabelledImages:
    """Return the images of one split, all in memory: for sets of the size of CIFAR, not of ImageNet.

    Grey images have one channel and all others three. The images must be of one size and 8 bits a channel.

    Args:
        dataset: ``owner/name``, ``owner/name:configuration`` or a local folder.
        split: A split as the data set names it.
        image_field: The column of the images.
        label_field: The column of the classes' indices.

    Raises:
        DataError: See ``load_hub_text``; or the images are of another kind.
    """
    rows = load_hub_rows(dataset, split, (image_field, label_field))
    arrays = [_channels_first(image) for image in rows[image_field]]
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) != 1:
        raise DataError(
            f"{dataset}: the images must be of one shape, but there are {len(shapes)}, such as {shapes[:2]}."
        )
    labels = np.array(rows[label_field], dtype=np.int64)
    names = getattr(rows.features[label_field], "names", None) or [str(i) for i in range(int(labels.max()) + 1)]
    return LabelledImages(images=np.stack(arrays), labels=labels, label_names=tuple(names), white=255)


def load_hub_tokenizer(name: str) -> HubTokenizer:
    """Return the tokeniser of a model of the hub, or of a local folder.

    Raises:
        DataError: It can't be had, or has no mask.
    """
    tokenizer = load_tokenizer(name)
    if tokenizer.mask_token_id is None:
        raise DataError(f"the tokeniser {name} must have a mask token, but has none; use one of a masked model.")
    return HubTokenizer(tokenizer)


def load_tokenizer(name: str) -> Any:
    """Return transformers' own tokeniser of a model of the hub, or of a local folder.

    Raises:
        DataError: It can't be had.
    """
    from transformers import AutoTokenizer  # seconds to import

    quiet_hub()
    try:
        return AutoTokenizer.from_pretrained(name)
    except Exception as error:  # the library raises many kinds, all meaning that there is no tokeniser
        raise DataError(
            f"the tokeniser {name} can't be loaded: {first_line(error)}; without the hub, use characters or wordpiece."
        ) from error


def told_without_hub(error: DataError, others: str) -> DataError:
    """Return the error of ``load_tokenizer`` with ``others`` as the way out."""
    return DataError(f"{str(error).partition('; without the hub')[0]}; without the hub, use {others}.")


@final
class HubTokenizer(Tokenizer):
    """A transformers tokeniser."""

    def __init__(self, tokenizer: Any) -> None:
        """Wrap ``tokenizer``."""
        self._tokenizer = tokenizer
        self.size = len(tokenizer)
        self.mask_id = tokenizer.mask_token_id
        separator = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
        self.separator_id = self.mask_id if separator is None else separator
        # RoBERTa and others append the mask at the end; the other special ids come first.
        self.first_ordinary = 1 + max((id_ for id_ in tokenizer.all_special_ids if id_ < self.size // 2), default=-1)

    def encode(self, text: str) -> list[int]:
        """Return the ids of ``text``, of any length."""
        return list(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ``ids``."""
        return str(self._tokenizer.decode(list(ids)))


def load_hub_rows(dataset: str, split: str, fields: tuple[str, ...]) -> Any:
    """Return one split as the library's rows, which have the columns ``fields``.

    Raises:
        DataError: See ``load_hub_text``.
    """
    try:
        from datasets import load_dataset  # optional: only clusters need it
    except ImportError:
        raise DataError(f"{dataset} comes from the Hugging Face hub, which needs: pip install datasets.") from None
    name, _, configuration = dataset.partition(":")
    quiet_hub()
    try:
        rows = load_dataset(name, configuration or None, split=split)
    except Exception as error:  # the library raises many kinds, all meaning that there is no such data here
        raise DataError(
            f"{dataset} ({split}) can't be loaded from the Hugging Face hub: {first_line(error)}"
        ) from error
    if missing := [field for field in fields if field not in rows.column_names]:
        raise DataError(
            f"{dataset} ({split}) must have the columns {', '.join(missing)}, but has {', '.join(rows.column_names)}."
        )
    return rows


def _channels_first(image: Any) -> NDArray[np.uint8]:
    """Return a PIL image as uint8 of shape (channels, height, width)."""
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))[None]
    if image.mode.startswith(("I", "F")):
        raise DataError(f"images must have 8 bits a channel, but PIL reads them in mode {image.mode}.")
    return np.asarray(image.convert("RGB")).transpose(2, 0, 1)
