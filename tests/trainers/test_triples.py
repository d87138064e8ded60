"""Relation extraction: the loss and the reading of answers done again in plain loops, and the texts it learns from."""

from __future__ import annotations

import contextlib
import itertools
import json
import math

import datasets
import numpy as np
import pytest
import scipy.stats
import torch
import transformers
from tokenizers import BertWordPieceTokenizer
from torch import nn
from torch.nn import functional

from trainers.data.relations import RelationFields, RelationText, find_words, load_hub_relations, wordnet_relations
from trainers.data.span_tokens import WordSpanTokenizer, token_span
from trainers.data.splits import SPLITS
from trainers.data.tagged import tag_batch, tag_texts
from trainers.data.wordnet import PREDICATES
from trainers.errors import DataError, SettingsError
from trainers.loop import Measured, train
from trainers.workloads import load_workload
from trainers.workloads.averaging import WeightAverage
from trainers.workloads.pointer_tagging import ConditionalLayerNorm, power_cross_entropy, spans_above
from trainers.workloads.triple_scores import extract, score

from .helpers import BareEngine, data_or_skip, run_settings

TEXTS = [
    ("Ada founded Acme in Rome.", [("Ada", "founded", "Acme"), ("Acme", "based in", "Rome")]),
    ("Bo founded Zig in New York.", [("Bo", "founded", "Zig"), ("Zig", "based in", "New York")]),
    ("In Oslo, Cy founded Ford Motors.", [("Cy", "founded", "Ford Motors"), ("Ford Motors", "based in", "Oslo")]),
    ("Di lives in Rome.", [("Di", "lives in", "Rome")]),
]


def write_texts(folder, **splits) -> None:
    """Make ``folder`` stand for a data set of the hub: the same call loads either."""
    for split, texts in splits.items():
        rows = [(text, [dict(zip("spo", spo, strict=True)) for spo in triples]) for text, triples in texts]
        lines = [json.dumps({"text": text, "spo_list": triples}) for text, triples in rows]
        (folder / f"{split}.jsonl").write_text("\n".join(lines))


@pytest.fixture
def local(tmp_path) -> str:
    nothing = [("Nothing.", [])]
    write_texts(tmp_path, train=TEXTS * 5 + nothing, validation=TEXTS + nothing)
    return str(tmp_path)


FIELDS = {"triples": "spo_list", "subject": "s", "predicate": "p", "object": "o"}


@pytest.fixture
def workload(local):
    settings = {"dataset": local, "fields": FIELDS, "hidden_size": 16, "layers": 1, "heads": 2, "sequence_length": 12}
    return load_workload("triples", settings)


def test_a_data_set_of_ones_own_is_read_by_the_names_of_its_fields(local, workload) -> None:
    found = load_hub_relations(local, "validation", RelationFields(**FIELDS))
    assert found == tuple(RelationText(text=text, triples=tuple(triples)) for text, triples in TEXTS)
    assert len(load_hub_relations(local, "train", RelationFields(**FIELDS))) == 4, "copies count once"
    assert workload.texts.predicates == ("based in", "founded", "lives in")


def test_triples_may_be_lists_of_three_texts(tmp_path) -> None:
    (tmp_path / "train.jsonl").write_text(json.dumps({"sentence": "a b", "found": [["a", "is", "b"]]}))
    found = load_hub_relations(str(tmp_path), "train", RelationFields(text="sentence", triples="found"))
    assert found == (RelationText(text="a b", triples=(("a", "is", "b"),)),)


@pytest.mark.parametrize(
    "triple", [{"s": "a", "p": "is"}, {"s": "a", "p": "is", "o": ""}, {"s": "a", "p": 1, "o": "b"}]
)
def test_triples_of_another_form_are_named(tmp_path, triple) -> None:
    (tmp_path / "train.jsonl").write_text(json.dumps({"text": "a b", "spo_list": [triple]}))
    with pytest.raises(DataError, match=r"spo_list must hold mappings with the texts s, p, o, or lists of three texts"):
        load_hub_relations(str(tmp_path), "train", RelationFields(**FIELDS))


def slow_loss(model, batch) -> float:
    """The same number by loops over texts, tokens and predicates, from the model's parts in double precision."""
    total = 0.0
    for row in range(len(batch["tokens"])):
        length = int(batch["mask"][row].sum())
        tokens = batch["tokens"][row : row + 1, :length]
        states = model.encoder(input_ids=tokens).last_hidden_state.detach()[0].double()
        weights = {name: p.detach().double() for name, p in model.named_parameters()}
        first, last = batch["subject"][row].tolist()
        told = torch.cat([states[first], states[last]])
        for place, state in enumerate(states):
            tag = weights["head.subjects.weight"] @ state + weights["head.subjects.bias"]
            for end in (0, 1):
                p = (1.0 / (1.0 + math.exp(-tag[end]))) ** 2
                total -= math.log(p if batch["subjects"][row, place, end] else 1 - p) / 2 / length
            normal = (state - state.mean()) / (state.var(unbiased=False) + 1e-5).sqrt()
            gain = weights["condition.norm.weight"] + weights["condition.gain.weight"] @ told
            bias = weights["condition.norm.bias"] + weights["condition.bias.weight"] @ told
            tags = weights["head.objects.weight"] @ (normal * gain + bias) + weights["head.objects.bias"]
            for predicate in range(batch["objects"].shape[2]):
                for end in (0, 1):
                    p = (1.0 / (1.0 + math.exp(-tags[2 * predicate + end]))) ** 4
                    total -= math.log(p if batch["objects"][row, place, predicate, end] else 1 - p) / 2 / length
    return total / len(batch["tokens"])


def test_the_loss_is_the_cross_entropy_of_powered_sigmoids(workload) -> None:
    model = workload.build_model(seed=0).eval()
    torch.manual_seed(0)
    for weights in (model.condition.gain.weight, model.condition.bias.weight):
        nn.init.normal_(weights, std=0.1)  # zero at first, when the subject would be without effect
    batch = next(workload.train_batches(batch_size=5, seed=0))
    with torch.no_grad():
        assert float(workload.loss(model, batch)) == pytest.approx(slow_loss(model, batch), rel=1e-5)
        other = {**batch, "subject": batch["subject"].flip(0)}
        assert float(workload.loss(model, other)) != pytest.approx(slow_loss(model, batch), rel=1e-3)


@pytest.mark.parametrize("power", [1, 2, 4])
def test_the_powered_cross_entropy_is_right_where_float32_would_end(power) -> None:
    logits = torch.tensor([-60.0, -3.0, 0.0, 2.0, 30.0], requires_grad=True)
    for label in (True, False):
        loss = power_cross_entropy(logits, torch.full((5,), label), power=power)
        # In double precision with 1 − σ = 1/(1 + e^x) written out: 1 − σ^n = (1 − σ)(1 + σ + … + σ^(n−1)).
        x = logits.detach().double()
        s = 1 / (1 + torch.exp(-x))
        rest = sum(s**k for k in range(power)) / (1 + torch.exp(x))
        expected = -power * torch.log(s) if label else -torch.log(rest)
        assert loss.detach().double().numpy() == pytest.approx(expected.numpy(), rel=1e-5, abs=1e-7)
        (gradient,) = torch.autograd.grad(loss.sum(), logits)
        assert gradient.isfinite().all()
    with_torch = functional.binary_cross_entropy_with_logits(logits, torch.ones(5), reduction="none")
    assert power_cross_entropy(logits, torch.ones(5, dtype=torch.bool), power=1).tolist() == pytest.approx(
        with_torch.tolist()
    )


def test_a_conditional_norm_is_a_layer_norm_until_it_learns_and_then_each_texts_own() -> None:
    norm = ConditionalLayerNorm(6, 4)
    states, condition = torch.randn(3, 5, 6), torch.randn(3, 4)
    assert torch.equal(norm(states, condition), nn.LayerNorm(6)(states))
    nn.init.normal_(norm.gain.weight)
    nn.init.normal_(norm.bias.weight)
    whole = norm(states, condition)
    for row in range(3):
        one = nn.LayerNorm(6)
        one.weight.data, one.bias.data = 1 + norm.gain(condition[row]), norm.bias(condition[row])
        assert torch.allclose(whole[row], one(states[row]), atol=1e-5)


def test_one_subject_a_text_is_shown_with_its_own_objects_and_the_seed_draws_it(workload) -> None:
    def shown(seed, count=400):
        batch = next(workload.train_batches(batch_size=count, seed=seed))
        found = []
        for row in range(count):
            (text,) = [
                n for n, tokens in enumerate(workload.texts.train.tokens) if torch.equal(tokens, batch["tokens"][row])
            ]
            span = tuple(batch["subject"][row].tolist())
            stated = workload.texts.train.subjects[text]
            assert span in stated
            starts = {tuple(place) for place in batch["objects"][row, :, :, 0].nonzero().tolist()}
            ends = {tuple(place) for place in batch["objects"][row, :, :, 1].nonzero().tolist()}
            assert starts == {(first, predicate) for predicate, (first, _) in stated[span]}
            assert ends == {(last, predicate) for predicate, (_, last) in stated[span]}
            assert batch["subjects"][row, :, 0].nonzero().flatten().tolist() == sorted(first for first, _ in stated)
            assert batch["subjects"][row, :, 1].nonzero().flatten().tolist() == sorted(last for _, last in stated)
            found.append((text, span))
        return found

    assert shown(0) == shown(0) != shown(1)
    times = [[span for text, span in shown(0) if text == number] for number in range(4)]
    # 100 times a text with two subjects: half of them each, within four standard errors.
    assert all(abs(spans.count(spans[0]) - 50) < 20 for spans in times[:3])


def test_tokens_know_their_place_and_rare_ones_share_what_they_end_with() -> None:
    tokenizer = WordSpanTokenizer(["the cat's 3.5 mats, the cats"] * 2 + ["rare"], least=2)
    text = "The cat's mats, 象牙 plurping Gulping"
    ids, places = tokenizer.encode(text)
    words = [text[first:last] for first, last in places]
    assert words == ["The", "cat's", "mats", ",", "象", "牙", "plurping", "Gulping"]
    assert ids[0] == tokenizer.encode("the")[0][0] > 512
    assert 0 < ids[6] <= 512, "seen too rarely for an id of its own"
    assert ids[6] == tokenizer.encode("sloping")[0][0] != ids[7], "not in one word with a capital"
    assert max(ids) < tokenizer.size
    assert 0 not in ids


@pytest.mark.parametrize(
    ("text", "words", "start"),
    [
        ("a cart, a car", "car", 10),
        ("a CAR", "car", 2),
        ("cars", "car", None),
        ("scar", "car", None),
        ("(car)", "car", 1),
        ("in New York now", "new york", 3),
        ("大象牙", "象", 1),
        ("", "car", None),
    ],
)
def test_words_are_found_whole(text, words, start) -> None:
    assert find_words(text, words) == start


def test_characters_become_the_tokens_that_hold_them() -> None:
    spans = [(0, 0), (0, 3), (4, 7), (7, 9), (0, 0)]
    assert token_span(spans, 4, 9) == (2, 3)
    assert token_span(spans, 1, 5) == (1, 2)
    assert token_span(spans, 9, 12) is None


def test_a_start_goes_with_the_nearest_end_that_is_not_before_it() -> None:
    rng = np.random.default_rng(0)
    starts, ends = (torch.from_numpy(rng.random((50, 3, 9)) < 0.3) for _ in range(2))
    expected = [
        [a, b, first, last]
        for a in range(50)
        for b in range(3)
        for first in range(9)
        if starts[a, b, first]
        for last in [next((k for k in range(first, 9) if ends[a, b, k]), None)]
        if last is not None
    ]
    assert spans_above(starts, ends).tolist() == expected


class Oracle(nn.Module):
    """A tagger that is certain of what ``tagged`` says, or of everything."""

    def __init__(self, tagged, predicates, *, everything=False):
        super().__init__()
        self.tagged, self.predicates, self.everything = tagged, predicates, everything
        self.place = nn.Parameter(torch.zeros(()))

    def encode(self, tokens, mask):
        rows = [int((self.tagged.tokens[:, : tokens.shape[1]] == t).all(dim=1).nonzero()[0]) for t in tokens]
        return torch.tensor(rows)[:, None, None].expand(-1, tokens.shape[1], 1).float()

    def _sure(self, flags):
        return torch.where(flags | self.everything, 50.0, -50.0)

    def subject_logits(self, states):
        flags = torch.zeros(*states.shape[:2], 2, dtype=torch.bool)
        for number, row in enumerate(states[:, 0, 0].int().tolist()):
            for first, last in self.tagged.subjects[row]:
                flags[number, first, 0] = flags[number, last, 1] = True
        return self._sure(flags)

    def object_logits(self, states, spans):
        flags = torch.zeros(*states.shape[:2], self.predicates, 2, dtype=torch.bool)
        for number, (row, span) in enumerate(zip(states[:, 0, 0].int().tolist(), spans.tolist(), strict=True)):
            for predicate, (first, last) in self.tagged.subjects[row].get(tuple(span), ()):
                flags[number, first, predicate, 0] = flags[number, last, predicate, 1] = True
        return self._sure(flags)


def test_a_tagger_that_knows_gets_every_triple_and_one_in_ruins_is_bounded(workload) -> None:
    texts, predicates = workload.texts.validation, workload.texts.predicates
    thresholds = {"subject_threshold": 0.5, "object_threshold": 0.5}
    found = extract(Oracle(texts, len(predicates)), texts, predicates, **thresholds)
    assert found == [{tuple(part.casefold() for part in triple) for triple in triples} for _, triples in TEXTS]
    assert score(found, texts.triples) == {"f1": 1.0, "precision": 1.0, "recall": 1.0, "found_per_true": 1.0}
    ruins = extract(Oracle(texts, len(predicates), everything=True), texts, predicates, **thresholds)
    assert all(0 < len(triples) <= 32 for triples in ruins)


def test_the_scores_are_those_of_counting() -> None:
    found = [{("a", "p", "b"), ("a", "p", "c")}, set(), {("a", "q", "b")}]
    true = [{("a", "p", "b")}, {("x", "p", "y"), ("x", "p", "z")}, {("a", "p", "b")}]
    assert score(found, true) == {
        "f1": pytest.approx(2 * (1 / 3) * (1 / 4) / (1 / 3 + 1 / 4)),
        "precision": pytest.approx(1 / 3),
        "recall": pytest.approx(1 / 4),
        "found_per_true": pytest.approx(3 / 4),
    }
    assert score([set()], [{("a", "p", "b")}])["precision"] == 0.0


def test_what_the_window_cuts_off_is_not_trained_on_and_counts_as_missed() -> None:
    examples = [RelationText(text=text, triples=tuple(triples)) for text, triples in TEXTS]
    tokenizer = WordSpanTokenizer((e.text for e in examples), least=1)
    tagged = tag_texts(examples, tokenizer, ["based in", "founded"], length=4)
    assert tagged.tokens.shape == (4, 4)
    assert [len(subjects) for subjects in tagged.subjects] == [1, 1, 0, 0]  # "Rome", "Oslo, Cy" … and "lives in"
    assert [len(triples) for triples in tagged.triples] == [2, 2, 2, 1]
    batch = tag_batch(tagged, np.array([1]), np.array([0.9]), predicates=2)
    assert batch["subject"].tolist() == [[0, 0]]


def test_packaged_texts_name_both_ends_and_no_definition_straddles_splits() -> None:
    with data_or_skip():
        parts = {split: wordnet_relations(split) for split in SPLITS}
    for texts in parts.values():
        for example in texts[:300]:
            for subject, predicate, object_ in example.triples:
                assert subject in example.text
                assert object_ in example.text
                assert predicate in PREDICATES.values()
    everything = [example for texts in parts.values() for example in texts]
    assert len({example.text.casefold() for example in everything}) == len(everything)
    sizes = [len(parts[split]) / len(everything) for split in SPLITS]
    assert sizes == pytest.approx([0.8, 0.1, 0.1], abs=0.01)
    counted = [predicate for example in everything for _, predicate, _ in example.triples]
    # Shared knowledge: without the cap 63 % of 75,750 triples.
    assert 0.2 < counted.count("is_a") / len(counted) < 0.3
    assert len(set(counted)) == 16
    pairs = wordnet_relations("test", sentences_per_text=2)
    first, second = parts["test"][:2]
    assert pairs[0].text == f"{first.text}; {second.text}"
    assert pairs[0].triples == first.triples + second.triples
    assert len(pairs) == len(parts["test"]) // 2


PEOPLE = ("Ada", "Bo", "Cy", "Di", "Eve", "Flo")
FIRMS = ("Acme", "Zig", "Ford Motors", "Umbra", "Volta")
TOWNS = ("Rome", "New York", "Oslo", "Lima", "Turin")


def stated(number, person, firm, town):
    """One of three ways to write of a person, a firm and a town, with what it says."""
    founded = [(person, "founded", firm), (firm, "based in", town)]
    return [
        (f"{person} founded {firm} in {town}.", founded),
        (f"In {town}, {person} founded {firm}.", founded),
        (f"{person} left {firm} and lives in {town}.", [(person, "lives in", town)]),
    ][number % 3]


@pytest.fixture
def combinations(tmp_path):
    """Texts of validation say of known words what no text of training says."""
    rows = [stated(number, *names) for number, names in enumerate(itertools.product(PEOPLE, FIRMS, TOWNS))]
    order = np.random.default_rng(0).permutation(len(rows))
    write_texts(tmp_path, train=[rows[i] for i in order[:100]], validation=[rows[i] for i in order[100:]])
    settings = {"dataset": str(tmp_path), "fields": FIELDS, "hidden_size": 16, "layers": 1, "heads": 2}
    return load_workload("triples", {**settings, "sequence_length": 12})


def tagger_run(workload, rate: float) -> tuple[list[dict[str, float]], str]:
    settings = run_settings(
        batch_size=16, learning_rate=rate, optimizer="adamw", budget={"steps": 75}, evaluation={"points": 1}
    )
    events = list(train(workload, settings, build_engine=BareEngine))
    return [event.values for event in events if isinstance(event, Measured)], events[-1].status


def test_a_small_tagger_finds_what_new_combinations_say_and_beats_every_guess(combinations) -> None:
    (first, last), _ = tagger_run(combinations, 0.01)
    assert first["f1"] == first["found_per_true"] == 0.0
    assert last["f1"] > 0.8
    assert last["validation_loss"] < 0.2 * loss_of_constant_tags(combinations)
    baselines = combinations.baselines()
    assert set(baselines) == {"none found", "subjects given, next word", "subjects given, likeliest object word"}
    assert max(baselines.values()) < 0.5


def loss_of_constant_tags(workload) -> float:
    """What the best answer costs that is the same at every token: each tag's entropy."""
    batch, mask = workload._validation, workload._validation["mask"].double()
    of_tokens = mask / mask.sum(dim=1, keepdim=True) / len(mask)
    subjects = torch.einsum("tl,tle->e", of_tokens, batch["subjects"].double())
    objects = torch.einsum("tl,tlpe->pe", of_tokens, batch["objects"].double())
    shares = torch.cat([subjects, objects.flatten()]).numpy()
    return float(scipy.stats.bernoulli(shares).entropy().sum()) / 2


def test_a_tagger_that_collapses_finds_none_which_the_metrics_say(combinations) -> None:
    """At a rate too high for Adam the states become one constant: the loss is that of constant tags, none is likely."""
    (first, last), status = tagger_run(combinations, 0.1)
    assert status == "exhausted"
    assert last["found_per_true"] == last["f1"] == 0.0
    constant = loss_of_constant_tags(combinations)
    assert first["validation_loss"] > 1.1 * constant, "it has learned how frequent tags are, and nothing else"
    assert last["validation_loss"] == pytest.approx(constant, rel=0.05)
    (*_, last), status = tagger_run(combinations, 3.0)
    assert status == "diverged"


def test_the_guesses_are_those_of_counting_by_hand(tmp_path) -> None:
    train_rows = [
        ("ada met bo gladly", [("ada", "met", "bo")]),
        ("cy met bo sadly", [("cy", "met", "bo")]),
        ("bo left town and cy", [("bo", "left", "town")]),
    ]
    # "met" is the most frequent predicate. As a share of the texts that have it, and one more, "bo" is the object twice
    # of 3 + 1 times, "town" once of 1 + 1, and no other word ever.
    judged = [
        ("ada met cy near bo", [("ada", "met", "cy")]),  # next word: met, wrong; likeliest: bo, wrong
        ("ada bo met", [("ada", "met", "bo")]),  # next word: bo, right; likeliest: bo, right
        ("cy saw town met", [("cy", "met", "town"), ("town", "met", "saw")]),  # saw, met: wrong; town: right, wrong
    ]
    write_texts(tmp_path, train=train_rows, validation=judged)
    workload = load_workload("triples", {"dataset": str(tmp_path), "fields": FIELDS, "sequence_length": 8})
    # Four guesses each, four triples stated.
    assert workload.baselines() == {
        "none found": 0.0,
        "subjects given, next word": pytest.approx(2 * 1 / (4 + 4)),
        "subjects given, likeliest object word": pytest.approx(2 * 2 / (4 + 4)),
    }


@pytest.mark.parametrize("decay", [0.5, 0.99])  # one below, one above (1 + step)/(10 + step) in these steps
def test_the_average_is_the_sum_of_what_was_and_is_judged_in_its_place(decay: float) -> None:
    model = nn.Linear(2, 1, bias=False)
    model.average = WeightAverage(model)
    weights = [model.weight.detach().clone()]
    for step in range(1, 30):
        with torch.no_grad():
            model.weight.add_(torch.randn(1, 2))
        weights.append(model.weight.detach().clone())
        model.average.update(model, decay=decay, step=step)
    average = weights[0].double()
    for step, value in enumerate(weights[1:], start=1):
        kept = min(decay, (1 + step) / (10 + step))
        average = kept * average + (1 - kept) * value.double()
    own = model.weight.detach().clone()
    with contextlib.suppress(KeyError), model.average.in_place(model):
        assert torch.allclose(model.weight.double(), average, atol=1e-6)
        raise KeyError
    assert torch.equal(model.weight, own)
    assert "average.average0" in model.state_dict()
    assert [name for name, _ in model.named_parameters()] == ["weight"]


def test_evaluation_judges_the_average(local) -> None:
    settings = {"dataset": local, "fields": FIELDS, "hidden_size": 16, "layers": 1, "heads": 2}
    on, off = (load_workload("triples", {**settings, "average_decay": decay}) for decay in (0.9, 0.0))
    models = [workload.build_model(seed=0).eval() for workload in (on, off)]
    assert not hasattr(models[1], "average")
    with torch.no_grad():
        before = [workload.evaluate(model) for workload, model in zip((on, off), models, strict=True)]
        for model in models:
            model.head["subjects"].bias.add_(1.0)
        after = [workload.evaluate(model) for workload, model in zip((on, off), models, strict=True)]
    assert before[0] == before[1] == after[0] != after[1]
    on.after_step(models[0], step=10**6)
    with torch.no_grad():
        moved = on.evaluate(models[0])["validation_loss"]
    assert moved != after[0]["validation_loss"]


@pytest.fixture
def published(tmp_path) -> str:
    """A published encoder with its weights and tokeniser, as a folder in the hub's format."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "acme", "rome", "ad", "##a", "founded", "in", "."]
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(pieces))
    tokenizer = BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=True)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer._tokenizer, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    sizes = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
    torch.manual_seed(0)
    transformers.BertModel(transformers.BertConfig(vocab_size=len(pieces), **sizes)).save_pretrained(folder)
    return str(folder)


def test_a_published_encoder_comes_with_its_weights_and_tokens(local, published) -> None:
    workload = load_workload("triples", {"dataset": local, "fields": FIELDS, "model": published})
    workload.prepare()
    model = workload.build_model(seed=0)
    original = transformers.AutoModel.from_pretrained(published)
    assert torch.equal(model.encoder.embeddings.word_embeddings.weight, original.embeddings.word_embeddings.weight)
    train_texts = workload.texts.train
    # [CLS] ad ##a founded acme in rome . [SEP]
    assert train_texts.tokens[0, :9].tolist() == [2, 7, 8, 9, 5, 10, 6, 11, 3]
    assert train_texts.subjects[0] == {(1, 2): ((1, (4, 4)),), (4, 4): ((0, (6, 6)),)}
    assert train_texts.words(0, 1, 2) == "ada"
    loss = workload.loss(model, next(workload.train_batches(batch_size=4, seed=0)))
    loss.backward()
    assert model.encoder.embeddings.word_embeddings.weight.grad.abs().sum() > 0


def test_an_encoder_that_is_not_there_is_one_line(local, tmp_path) -> None:
    workload = load_workload("triples", {"dataset": local, "fields": FIELDS, "model": str(tmp_path / "nowhere")})
    with pytest.raises((DataError, SettingsError), match="nowhere") as error:
        workload.prepare()
    assert len(str(error.value).splitlines()) == 1


def test_texts_without_a_triple_in_the_window_are_refused(local) -> None:
    workload = load_workload("triples", {"dataset": local, "fields": FIELDS, "sequence_length": 2})
    with pytest.raises(DataError, match="name subject and object of a triple in their first 2 tokens, but none of 4"):
        workload.prepare()


def test_the_hub_library_is_what_reads_the_folder(local) -> None:
    assert datasets.load_dataset(local, split="train").num_rows == 21
