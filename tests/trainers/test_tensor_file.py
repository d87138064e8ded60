"""Checkpoint files: what goes in comes out, and nothing in a file is ever executed."""

import io
import math
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from trainers.tensor_file import CheckpointError, read_tensors, write_tensors

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
DTYPES = [
    torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.int32, torch.uint8, torch.bool,
]  # fmt: skip


@st.composite
def tensors(draw):
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    bits = np.frombuffer(draw(st.binary(min_size=8 * math.prod(shape), max_size=8 * math.prod(shape))), np.uint8)
    dtype = draw(st.sampled_from(DTYPES))
    if dtype is torch.bool:
        return torch.tensor(bits[: math.prod(shape)] % 2 == 1).view(shape)
    size = torch.empty((), dtype=dtype).element_size()
    return torch.tensor(bits[: size * math.prod(shape)]).view(dtype).view(shape)


def bits_of(tensor):
    return tensor.dtype, tuple(tensor.shape), tensor.contiguous().flatten().view(torch.uint8).tolist()


@given(given_tensors=st.dictionaries(st.text(min_size=1, max_size=8), tensors(), max_size=4), values=PLAIN)
def test_every_bit_comes_back(given_tensors, values):
    given_tensors.pop("__metadata__", None)
    back, back_values = read_tensors(write_tensors(given_tensors, values))
    assert {name: bits_of(tensor) for name, tensor in back.items()} == {
        name: bits_of(tensor) for name, tensor in given_tensors.items()
    }
    assert repr(back_values) == repr(values)


def test_tensors_that_share_memory_and_strided_ones_are_written():
    whole = torch.arange(6.0)
    parts = {"whole": whole, "again": whole, "odd": whole[1::2], "turned": whole.view(2, 3).T}
    back, _ = read_tensors(write_tensors(parts, {}))
    assert {name: tensor.tolist() for name, tensor in back.items()} == {
        name: tensor.tolist() for name, tensor in parts.items()
    }


def test_what_is_written_stays_when_the_tensor_moves_on():
    weight = torch.zeros(3)
    content = write_tensors({"weight": weight}, None)
    weight += 1
    assert read_tensors(content)[0]["weight"].tolist() == [0, 0, 0]


def test_any_reader_of_safetensors_reads_it(tmp_path):
    path = tmp_path / "file.safetensors"
    path.write_bytes(write_tensors({"weight": torch.ones(2)}, {"step": 3}))
    with safe_open(path, framework="np") as file:
        assert file.get_tensor("weight").tolist() == [1.0, 1.0]
        assert file.metadata() == {"values": '{"step": 3}'}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((1, 2), "no tuple"),
        ({"a": [{1}]}, "no set"),
        ({1: "a"}, "text for keys, but one has 1"),
        ({"a": torch.float32}, "no dtype"),
        ([np.float64(1.0)], "no float64"),
        (torch.ones(1), "no Tensor"),
    ],
)
def test_values_that_json_would_change_are_refused(values, said):
    with pytest.raises(CheckpointError, match=said):
        write_tensors({}, values)


class Trap:
    """Says so when it is unpickled."""

    sprung = False

    def __reduce__(self):
        return setattr, (Trap, "sprung", True)


def archive(content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as z:
        z.writestr("archive/data.pkl", content)
    return file.getvalue()


def saved_by_torch():
    file = io.BytesIO()
    torch.save({"trap": Trap()}, file)
    return file.getvalue()


HEADERLESS = struct.pack("<Q", 2) + b"{}"
DEEP = b'{"__metadata__": {"values": "' + b"[" * 100_000 + b'"}}'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense",
        pickle.dumps(Trap()),
        archive(pickle.dumps(Trap())),
        saved_by_torch(),
        HEADERLESS,
        struct.pack("<Q", 2**60) + b"{}",
        struct.pack("<Q", 20) + b'{"__metadata__":  {}}'[:20],
        struct.pack("<Q", len(DEEP)) + DEEP,
    ],
)
def test_other_files_are_refused_and_not_executed(content):
    with pytest.raises(CheckpointError, match="not a whole safetensors file of a checkpoint"):
        read_tensors(content)
    assert not Trap.sprung
    pickle.loads(pickle.dumps(Trap()))
    assert Trap.sprung, "the trap works"
    Trap.sprung = False


def test_a_file_cut_anywhere_is_refused():
    content = write_tensors({"a": torch.arange(5.0), "b": torch.ones(2, dtype=torch.int64)}, {"step": 1})
    for end in range(len(content)):
        with pytest.raises(CheckpointError):
            read_tensors(content[:end])
