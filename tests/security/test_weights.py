"""A model that comes as a pickle is refused by its name, and nothing in it runs."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")


class Payload:
    """What a pickle can do: a command of its maker's, run by whoever reads it."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.witness),)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A tiny BERT whose weights are a file of torch.save."""
    from transformers import BertConfig, BertModel

    folder = tmp_path / "only-bin"
    small = BertConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=11,
        max_position_embeddings=16,
    )  # fmt: skip
    built = BertModel(small)
    small.architectures = ["BertModel"]
    small.save_pretrained(folder)
    torch.save(built.state_dict(), folder / "pytorch_model.bin")
    return folder


def test_weights_in_a_pickle_are_refused(model: Path) -> None:
    from trainers.errors import SettingsError
    from trainers.workloads.pretrained import pretrained_configuration, pretrained_encoder

    configuration = pretrained_configuration(str(model), sequence_length=8, dropout=0.0)
    with pytest.raises(SettingsError, match=r"only-bin.*safetensors"):
        pretrained_encoder(str(model), configuration, attention="eager")


def test_a_pickle_in_place_of_weights_does_not_run(model: Path, tmp_path: Path) -> None:
    from trainers.errors import SettingsError
    from trainers.workloads.pretrained import pretrained_configuration, pretrained_encoder

    witness = tmp_path / "executed"
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(witness)))
    configuration = pretrained_configuration(str(model), sequence_length=8, dropout=0.0)
    with pytest.raises(SettingsError, match="only-bin"):
        pretrained_encoder(str(model), configuration, attention="eager")
    assert not witness.exists()
    pickle.loads((model / "pytorch_model.bin").read_bytes())
    assert witness.is_dir()  # the pickle was armed
