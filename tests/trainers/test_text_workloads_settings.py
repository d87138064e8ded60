"""Settings of the workloads on text: what goes together, and what is said of what does not."""

import json

import pytest
import torch
import transformers
from torch import nn

from trainers.errors import DataError, SettingsError
from trainers.workloads import load_workload
from trainers.workloads.layer_decay import layer_depths

PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ada", "bo", "founded", "acme", "zig", "is", "a")
SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
ON_ENCODERS = ["bert-mlm", "bert-classify", "cross-encoder", "triples"]


@pytest.fixture
def relations(tmp_path):
    """A folder that stands for a data set of the hub."""
    rows = [
        {"text": f"{person} founded {firm}", "triples": [[person, "founded", firm]]}
        for person, firm in (("Ada", "Acme"), ("Bo", "Zig"))
    ]
    folder = tmp_path / "relations"
    folder.mkdir()
    for split in ("train", "validation"):
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return str(folder)


def publish(folder, **changes):
    """Write a model with its tokeniser in the hub's format and return its name."""
    torch.manual_seed(0)
    configuration = transformers.BertConfig(**{**SIZES, "vocab_size": len(PIECES), **changes})
    transformers.BertModel(configuration).save_pretrained(folder)
    transformers.BertTokenizerFast(vocab={piece: id_ for id_, piece in enumerate(PIECES)}).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("given", [{}, {"model": "bert"}, {"model": "roformer"}])
def test_our_cross_encoders_read_words_whichever_is_named(given):
    assert load_workload("cross-encoder", given).settings.tokens == "words"
    assert load_workload("cross-encoder", {**given, "tokens": "grams"}).settings.tokens == "grams"


def test_a_published_cross_encoder_has_its_own_tokens():
    assert load_workload("cross-encoder", {"model": "minilm"}).settings.tokens == "minilm"
    assert load_workload("cross-encoder", {"model": "owner/name", "tokens": "words"}).settings.tokens == "words"


@pytest.mark.parametrize("name", ON_ENCODERS)
def test_attention_that_roformer_has_not_is_refused_with_the_ways_out(name):
    with pytest.raises(SettingsError, match="attention must be eager with the model roformer, but is sdpa") as error:
        load_workload(name, {"attention": "sdpa"})
    assert str(error.value).endswith("; use it, or the model bert")
    assert load_workload(name, {"attention": "sdpa", "model": "bert"}).settings.attention == "sdpa"


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("cosent", "bag, gru"),
        ("gru-am-softmax", "bag, gru"),
        ("bert-classify", "roformer, bert"),
        ("cross-encoder", "roformer, bert"),
    ],
)
def test_a_model_that_is_not_there_names_those_that_are(name, own, tmp_path):
    tokens = "characters" if name == "bert-classify" else "words"
    workload = load_workload(name, {"model": str(tmp_path), "tokens": tokens})
    with pytest.raises(SettingsError, match=f"model must be {own}, minilm or a model on the hub, but got"):
        workload.prepare()


# ---- published encoders under triples


def test_dropout_reaches_a_published_encoder_of_triples(relations, tmp_path):
    given = {"dataset": relations, "model": publish(tmp_path / "model"), "sequence_length": 12, "dropout": 0.3}
    model = load_workload("triples", given).build_model(seed=0)
    assert {module.p for module in model.modules() if isinstance(module, nn.Dropout)} == {0.3}


@pytest.mark.parametrize(
    ("published", "given", "message"),
    [
        ({"max_position_embeddings": 19}, {"sequence_length": 20}, "sequence_length must be at most 19 with the model"),
        ({"vocab_size": 9}, {}, "model must know all ids of its tokens, but .* knows 9 of 12; use another model"),
    ],
)
def test_a_published_encoder_that_cannot_serve_triples_is_told_when_data_are_read(
    relations, tmp_path, published, given, message
):
    name = publish(tmp_path / "model", **published)
    with pytest.raises(SettingsError, match=message) as error:
        load_workload("triples", {"dataset": relations, "model": name, "sequence_length": 12, **given}).prepare()
    assert "\n" not in str(error.value)


def test_triples_refuse_an_initial_std_where_weights_are_published():
    with pytest.raises(SettingsError, match="initial_std must be left out where training starts from the weights of"):
        load_workload("triples", {"model": "minilm", "initial_std": 0.1})


def test_triples_begin_from_minilm_with_its_tokens(relations):
    workload = load_workload("triples", {"dataset": relations, "model": "minilm", "sequence_length": 12})
    try:
        workload.prepare()
    except DataError as error:
        if "can't be downloaded" not in str(error):
            raise
        pytest.skip(str(error))
    published = transformers.BertConfig.from_dict({"hidden_size": 384, "num_hidden_layers": 6, "vocab_size": 30522})
    model = workload.build_model(seed=0)
    assert model.encoder.embeddings.word_embeddings.weight.shape == (published.vocab_size, published.hidden_size)
    assert len(model.encoder.encoder.layer) == published.num_hidden_layers
    tokens, mask = workload.texts.train.tokens, workload.texts.train.mask
    # BERT's own ids: 101 begins a text and 102 ends it.
    assert (tokens[:, 0] == 101).all()
    assert (tokens.gather(1, mask.sum(dim=1, keepdim=True) - 1) == 102).all()
    assert {workload.texts.train.words(0, *span) for span in workload.texts.train.subjects[0]} == {"ada"}


def test_texts_of_validation_without_a_triple_in_the_window_are_refused(relations):
    workload = load_workload("triples", {"dataset": relations, "sequence_length": 12})
    workload.prepare()
    late = {"text": "one two three four five Ada founded Acme", "triples": [["Ada", "founded", "Acme"]]}
    with open(f"{relations}/validation.jsonl", "w", encoding="utf-8") as file:
        file.write(json.dumps(late))
    with pytest.raises(
        DataError, match=r"\(validation\): the texts must name .* in their first 5 tokens, but none of 1"
    ):
        load_workload("triples", {"dataset": relations, "sequence_length": 5}).prepare()


# ---- rates by layer


def test_rates_by_layer_need_layers_and_embeddings():
    with pytest.raises(SettingsError, match=r"layer_decay needs .*, but no layers are among body.embeddings.weight"):
        layer_depths(["body.embeddings.weight", "body.dense.weight", "head.weight"], head="head.")
    with pytest.raises(SettingsError, match=r"layer_decay needs .*, but no embeddings are among body.wte, body.h.0.w"):
        layer_depths(["body.wte", "body.h.0.w", "head.embedded.weight"], head="head.")


def test_a_model_without_names_of_layers_is_refused_when_data_are_read(tmp_path):
    configuration = transformers.GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=64)
    transformers.GPT2Model(configuration).save_pretrained(tmp_path)
    given = {"model": str(tmp_path), "tokens": "characters", "sequence_length": 12}
    load_workload("bert-classify", given).prepare()
    with pytest.raises(SettingsError, match=r"layer_decay needs .* but no embeddings are among body.wte.weight"):
        load_workload("bert-classify", {**given, "layer_decay": 0.5}).prepare()


@pytest.mark.parametrize(("placement", "last"), [("post", 0.5), ("pre", 1.0)])
def test_the_norm_that_ends_a_pre_norm_stack_lies_above_its_layers(placement, last):
    given = {"layers": 2, "norm_placement": placement, "layer_decay": 0.5, "tokens": "characters"}
    workload = load_workload("bert-classify", given)
    names = [name for name, _ in workload.build_model(seed=0).named_parameters() if ".layer.1." in name]
    ends = {f"body.encoder.layer.1.output.LayerNorm.{part}" for part in ("weight", "bias")}
    assert ends < set(names)
    assert {name: workload.peak_rate(name, 1.0) for name in names} == {
        name: last if name in ends else 0.5 for name in names
    }
