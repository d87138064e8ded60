"""Models of the workloads on text: what is drawn, what is trained, which part is a head, and padding."""

import csv
import itertools
import json
import math
from types import SimpleNamespace

import pytest
import torch
import transformers
from torch import nn

from trainers.engine import DeepSpeedEngine
from trainers.loop import Probed, train
from trainers.optimizer_settings import MuonSettings
from trainers.parameter_groups import hidden_matrix_groups
from trainers.probes.isolation import plain_recurrent_layers
from trainers.workloads import load_workload
from trainers.workloads.pointer_tagging import PointerTagger, tagging_loss
from trainers.workloads.sentence_encoders import SentenceSettings, build_sentence_encoder, masked_mean

from .helpers import run_settings

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "cat", "dog", "sat"]
SMALL = {"hidden_size": 16, "layers": 1, "heads": 2}


@pytest.fixture
def local(tmp_path):
    """Folders that stand for the hub: a data set for each workload, and a model with its tokeniser."""
    tables = {
        "cosent": [("sentence1", "sentence2", "score"), ("a cat sat", "a dog sat", 3.0), ("a b", "b cat", 1.0)],
        "gru-am-softmax": [("text", "label"), ("a cat", 0), ("cat b", 0), ("dog a", 1), ("b dog", 1)],
    }
    tables |= {"cross-encoder": tables["cosent"], "bert-classify": tables["gru-am-softmax"]}
    for name, rows in tables.items():
        (tmp_path / name).mkdir()
        for split in ("train", "validation"):
            with (tmp_path / name / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows(rows)
    (tmp_path / "triples").mkdir()
    rows = [{"text": f"a {x} sat", "triples": [[x, "did", "sat"]]} for x in ("cat", "dog")]
    for split in ("train", "validation"):
        (tmp_path / "triples" / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    vocabulary = {word: id_ for id_, word in enumerate(WORDS)}
    transformers.BertTokenizerFast(vocab=vocabulary).save_pretrained(tmp_path / "model")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    transformers.BertModel(transformers.BertConfig(vocab_size=len(WORDS), **sizes)).save_pretrained(tmp_path / "model")
    return tmp_path


def built(name, local, **given):
    workload = load_workload(name, {"dataset": str(local / name), "sequence_length": 12, **given})
    return workload, workload.build_model(seed=0)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        *itertools.product(("bert-classify", "cross-encoder", "triples"), (False, True)),
        ("cosent", True),
        ("gru-am-softmax", True),
    ],
)
def test_everything_that_is_trained_takes_part(name, published, local):
    """BERT's layer behind the first token's state, which no loss here sees, is not among the trained weights."""
    given = {"model": str(local / "model")} if published else {"model": "bert", **SMALL}
    workload, model = built(name, local, **given)
    workload.loss(model, next(workload.train_batches(batch_size=2, seed=0))).backward()
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.mark.parametrize("name", ["bert-classify", "cross-encoder", "triples"])
def test_the_truncated_distribution_is_the_encoders_alone(name, local):
    std = 0.01
    given = {**SMALL, "hidden_size": 64, "initial_std": std, "initial_distribution": "truncated_normal"}
    _, model = built(name, local, **given)
    encoder = model.encoder if name == "triples" else model.body
    matrices = {id(m.weight): m for m in model.modules() if isinstance(m, nn.Linear | nn.Embedding)}
    inside = {id(m.weight) for m in encoder.modules() if isinstance(m, nn.Linear)}
    # The normal distribution that it is cut from at two stds has 1.1368 times the std that is left.
    assert inside
    assert max(matrices[key].weight.abs().max().item() for key in inside) <= 2 * 1.1369 * std
    if name == "triples":
        assert not model.condition.gain.weight.any(), "zero, so that the subject is without effect at first"
        assert not model.condition.bias.weight.any()
        # torch's own for linear layers: uniform to 1/√inputs.
        for tagger in model.head.values():
            assert tagger.weight.abs().max().item() == pytest.approx(1 / math.sqrt(64), rel=0.1)


@pytest.mark.parametrize(
    ("name", "given", "hidden"),
    [
        ("gru-am-softmax", {"width": 8}, {"encoder.gru.weight_ih_l0", "encoder.gru.weight_hh_l0"}),
        ("triples", SMALL, {"condition.gain.weight", "condition.bias.weight"}),
        ("cross-encoder", SMALL, set()),
        ("bert-classify", SMALL, set()),
    ],
)
def test_muon_takes_heads_for_heads(name, given, hidden, local):
    _, model = built(name, local, **given)
    groups = hidden_matrix_groups(
        model, hidden={"muon": True}, others={"muon": False}, head_names=MuonSettings().adamw_modules
    )
    taken = {id(p) for group in groups if group["muon"] for p in group["params"]}
    names = {name for name, p in model.named_parameters() if id(p) in taken}
    assert {name for name in names if ".layer." not in name} == hidden
    assert names


def test_the_vectors_of_classes_begin_as_random_directions_of_length_one(local):
    """Normal coordinates of variance 1/width: the mean of a vector's square is 1, with variance 2/width."""
    workload = load_workload("gru-am-softmax", {"classes": 300, "width": 64})
    weight = workload.build_model(seed=0).head.weight
    assert weight.shape == (300, 64)
    assert weight.square().sum(dim=1).mean().item() == pytest.approx(1.0, abs=4 * math.sqrt(2 / 64 / 300))


# ---- recurrent layers, on which cuDNN has one derivative


def seen_by(module, inputs):
    """Return whether cuDNN is on while ``module`` runs."""
    seen = []
    hook = module.register_forward_pre_hook(lambda *_: seen.append(torch.backends.cudnn.enabled))
    module(*inputs)
    hook.remove()
    return seen


def test_training_leaves_a_gru_to_cudnn_and_probes_do_not():
    encoder = build_sentence_encoder(SentenceSettings(model="gru", width=4), vocabulary_size=9)
    tokens, lengths = torch.ones(2, 3, dtype=torch.long), torch.tensor([3, 2])
    seen = []
    encoder.gru.register_forward_pre_hook(lambda *_: seen.append(torch.backends.cudnn.enabled))
    encoder(tokens, lengths)
    with plain_recurrent_layers():
        encoder(tokens, lengths)
        assert torch.backends.cudnn.enabled, "only while the layer runs"
        assert seen_by(nn.Conv1d(1, 1, 1), [torch.ones(1, 1, 3)]) == [True], "convolutions have two derivatives"
        with pytest.raises(RuntimeError):
            encoder.gru(torch.ones(1, 1, 99))
        assert torch.backends.cudnn.enabled, "also behind an error"
    encoder(tokens, lengths)
    assert seen == [True, False, False, True]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
def test_probes_differentiate_a_gru_twice_where_training_runs_on_cudnn():
    curvature_probed("cuda")


def curvature_probed(device):
    probes = {"steps": [1], "quantities": ["curvature"], "draws": 1, "small_batch_size": 2, "large_batch_size": 8}
    probes |= {"curvature_batch_size": 8, "reference_batch_size": 8}
    settings = run_settings(batch_size=8, budget={"steps": 2}, evaluation={"points": 1}, probes=probes)
    engines = []

    def build(*args):
        engines.append(DeepSpeedEngine(*args))
        return engines[0]

    workload = load_workload("gru-am-softmax", {"width": 16, "classes": 30, "sequence_length": 12})
    (probed,) = [event for event in train(workload, settings, build_engine=build) if isinstance(event, Probed)]
    assert engines[0].device.type == device
    assert {"curvature_gradient", "hessian_trace"} <= {row.name for row in probed.rows}
    assert all(math.isfinite(row.total) for row in probed.rows)


def test_probes_differentiate_a_gru_twice_on_a_processor():
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    curvature_probed("cpu")


# ---- lengths


def test_a_mean_of_more_tokens_than_bfloat16_counts_is_right():
    states = torch.full((1, 300, 2), 3.0, dtype=torch.bfloat16)
    mask = torch.arange(300)[None] < 257
    assert masked_mean(states, mask).tolist() == [[3.0, 3.0]]
    assert masked_mean(states, mask).dtype == torch.bfloat16
    bag = build_sentence_encoder(SentenceSettings(width=2, sequence_length=300), vocabulary_size=4).bfloat16()
    nn.init.constant_(bag.embedding.weight, 3.0)
    found = bag(torch.ones(1, 300, dtype=torch.long), torch.tensor([257]))
    assert found.tolist() == [[3.0, 3.0]]
    assert found.dtype == torch.bfloat16


def test_a_bag_gives_the_same_by_picking_tokens_and_by_masking():
    bag = build_sentence_encoder(SentenceSettings(width=8), vocabulary_size=30)
    tokens, lengths = torch.randint(0, 30, (5, 9)), torch.tensor([9, 1, 4, 2, 7])
    masked = masked_mean(bag.embedding(tokens), torch.arange(9) < lengths[:, None])
    assert torch.allclose(bag(tokens, lengths), masked, atol=1e-6)


@pytest.mark.parametrize("model", ["bag", "gru"])
def test_no_sentence_encoder_asks_an_accelerator_for_numbers(model):
    """On torch's device without numbers, whatever would wait for one is an error."""
    encoder = build_sentence_encoder(SentenceSettings(model=model, width=4), vocabulary_size=9).to("meta")
    tokens, lengths = (torch.ones(size, dtype=torch.long, device="meta") for size in ((2, 5), (2,)))
    assert encoder(tokens, lengths).shape == (2, 4)


class Lookup(nn.Embedding):
    """An encoder of the least kind, which asks for nothing itself."""

    config = SimpleNamespace(hidden_size=8)

    def forward(self, input_ids, attention_mask):
        return SimpleNamespace(last_hidden_state=super().forward(input_ids))


def test_the_taggers_loss_asks_an_accelerator_for_no_number(local):
    workload, _ = built("triples", local, **SMALL)
    batch = next(workload.train_batches(batch_size=2, seed=0))
    assert batch["mask"].shape[1] == 12 > batch["mask"].sum(dim=1).max()
    model = PointerTagger(Lookup(workload.texts.vocabulary_size, 8), predicates=len(workload.texts.predicates))
    assert tagging_loss(model, batch).isfinite()
    placed = {name: tensor.to("meta") for name, tensor in batch.items()}
    assert tagging_loss(model.to("meta"), placed).shape == ()
