"""A workload of your own: a plain PyTorch model on a Hugging Face data set.

The text classifier of Joulin et al. (2016), one averaged embedding and a linear layer, on any data set with texts and
labels. Copy the file, put your model, data and loss in, and name it in a study as own_workload.py:TextClassification.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from trainers.batching import chunks, example_order
from trainers.errors import DataError, first_line
from trainers.reading import Settings
from trainers.workload import Batch, Target, Workload


class TextClassificationSettings(Settings):
    """What a study may set.

    ``dataset`` is a name on the hub, a folder that ``save_to_disk`` wrote, or one with train.csv and validation.csv.
    """

    dataset: str = "cornell-movie-review-data/rotten_tomatoes"
    buckets: int = Field(default=20_000, gt=0)
    width: int = Field(default=32, gt=0)
    words_per_text: int = Field(default=64, gt=0)


class Model(nn.Module):
    """Plain PyTorch; nothing in it knows of the study."""

    def __init__(self, buckets: int, width: int, classes: int) -> None:
        """Build embedding and output layer."""
        super().__init__()
        self.words = nn.EmbeddingBag(buckets, width, mode="mean", padding_idx=0)
        self.output = nn.Linear(width, classes)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the classes' logits for texts as rows of tokens, 0 where a text has ended."""
        return self.output(self.words(tokens))


class TextClassification(Workload):
    """What the study needs to know: the model, the batches, the loss and how good a model is."""

    name = "text-classification"
    summary = "averaged word embeddings and a linear layer"
    Settings = TextClassificationSettings
    metrics = ("validation_loss", "accuracy")
    example_unit = "texts"

    def __init__(self, settings: TextClassificationSettings) -> None:
        """Keep the settings. This must be quick: data are loaded on first use."""
        self.settings = settings
        self.target = Target(metric="validation_loss", mode="min", value=0.55)

    @cached_property
    def rows(self) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """Tokens (texts, words) and labels (texts,) of the splits train and validation."""
        import datasets

        name = self.settings.dataset
        try:
            saved = (Path(name) / "dataset_dict.json").is_file()
            loaded: Any = datasets.load_from_disk(name) if saved else datasets.load_dataset(name)
            return {split: self._encode(loaded[split]) for split in ("train", "validation")}
        except Exception as error:  # one line for a user in place of a traceback
            why = f"{type(error).__name__}: {first_line(error)}"
            raise DataError(f"the data set {name} can't be loaded: {why}") from error

    def _encode(self, split: Any) -> tuple[torch.Tensor, torch.Tensor]:
        s = self.settings
        tokens = np.zeros((len(split), s.words_per_text), dtype=np.int64)
        for row, text in enumerate(split["text"]):
            for place, word in enumerate(text.lower().split()[: s.words_per_text]):
                tokens[row, place] = 1 + zlib.crc32(word.encode()) % (s.buckets - 1)
        return torch.from_numpy(tokens), torch.tensor(split["label"])

    def prepare(self) -> None:
        """Load the data before the study begins, so that what is wrong with them shows at once."""
        _ = self.rows

    def build_model(self, *, seed: int) -> nn.Module:
        """Return a fresh model; the same seed gives the same weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Model(self.settings.buckets, self.settings.width, classes=int(self.rows["train"][1].max()) + 1)

    def train_batches(self, *, batch_size: int, seed: int) -> Iterator[Batch]:
        """Yield batches of exactly ``batch_size`` texts for ever; the seed alone decides their order."""
        tokens, labels = self.rows["train"]
        for chosen in chunks(example_order(len(labels), seed=seed), batch_size):
            yield tokens[chosen], labels[chosen]

    def loss(self, model: Any, batch: Any) -> torch.Tensor:
        """Return the mean over the batch's texts."""
        tokens, labels = batch
        return functional.cross_entropy(model(tokens), labels)

    def evaluate(self, model: Any) -> dict[str, float]:
        """Return the metrics on the validation split."""
        device = next(model.parameters()).device
        tokens, labels = (part.to(device) for part in self.rows["validation"])
        logits = model(tokens).float()
        return {
            "validation_loss": float(functional.cross_entropy(logits, labels)),
            "accuracy": float((logits.argmax(dim=1) == labels).float().mean()),
        }

    def baselines(self) -> dict[str, float]:
        """Return what the target's metric is without training: here, the training labels' frequencies as a guess."""
        frequencies = torch.bincount(self.rows["train"][1]).double()
        log_probability = (frequencies / frequencies.sum()).log()
        return {"label frequencies": -float(log_probability[self.rows["validation"][1]].mean())}
