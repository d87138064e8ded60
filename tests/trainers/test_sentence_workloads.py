"""Workloads on sentences: they learn, they collapse where they must, and they load what is published."""

import csv
import math

import numpy as np
import pytest
import torch
import transformers
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.metrics import accuracy_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import normalize
from torch import nn

from trainers.errors import DataError, SettingsError
from trainers.loop import Measured, Probed, train
from trainers.workloads import load_workload
from trainers.workloads.siamese_outcome import spread

from .helpers import BareEngine, prepared, run_settings

COSINE = {"name": "cosine"}
INTERACTION = {"hidden_size": 32}
PAIRS = [("a cat sat", "the cat sat", 4.0), ("one two", "two three", 2.0), ("four", "a dog", 0.0), ("a b", "b a", 5.0)]


def run(workload, **changes):
    settings = {"optimizer": "adamw", "evaluation": {"points": 1}, **changes}
    *events, last = train(workload, run_settings(**settings), build_engine=BareEngine)
    return [event.values for event in events if isinstance(event, Measured)], last


@pytest.fixture
def local(tmp_path):
    """Folders that stand for the hub: pairs, classes and a model with its tokeniser."""
    for name in ("pairs", "classes"):
        (tmp_path / name).mkdir()
    for split in ("train", "validation"):
        with (tmp_path / "pairs" / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("sentence1", "sentence2", "score"), *PAIRS])
    texts = [(f"{word} {tail}", label) for label, word in enumerate(("cat", "dog", "four")) for tail in ("a", "b")]
    for split in ("train", "validation"):
        with (tmp_path / "classes" / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("text", "label"), *texts])
    model = tmp_path / "model"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "cat", "dog", "sat", "one", "two"]
    transformers.BertTokenizer(vocab={word: id_ for id_, word in enumerate(words)}).save_pretrained(model)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    configuration = transformers.BertConfig(vocab_size=len(words), **sizes, initializer_range=0.3)
    transformers.BertModel(configuration).save_pretrained(model)
    return tmp_path


@pytest.mark.parametrize("name", ["cosent", "cross-encoder", "gru-am-softmax"])
def test_a_published_model_is_loaded_with_its_weights_and_its_tokens(name, local):
    folder = str(local / ("classes" if name == "gru-am-softmax" else "pairs"))
    workload = load_workload(name, {"model": str(local / "model"), "dataset": folder, "sequence_length": 12})
    workload.prepare()
    model = workload.build_model(seed=0)
    body = model.body if name == "cross-encoder" else model.encoder.body
    published = transformers.BertModel.from_pretrained(local / "model").eval()
    assert torch.equal(body.embeddings.word_embeddings.weight, published.embeddings.word_embeddings.weight)
    # The mean of its states over a text, one text at a time and so without padding.
    tokenizer = transformers.AutoTokenizer.from_pretrained(local / "model")
    with torch.no_grad():
        if name == "cross-encoder":
            both = tokenizer(*PAIRS[0][:2], return_tensors="pt")
            expected = model.head(published(**both).last_hidden_state.mean(dim=1))[0]
            tensors = workload.data.train.tensors
            found = model.eval()(tensors["tokens"], tensors["types"], tensors["lengths"])[:1]
        else:
            text = PAIRS[0][0] if name == "cosent" else "cat a"
            expected = published(**tokenizer(text, return_tensors="pt")).last_hidden_state.mean(dim=1)[0]
            rows = workload.data.train
            tokens, lengths = (
                (rows.tensors["first"], rows.tensors["first_lengths"])
                if name == "cosent"
                else (rows.tokens, rows.lengths)
            )
            found = model.encoder.eval()(tokens, lengths)[0]
    assert found.tolist() == pytest.approx(expected.tolist(), abs=1e-5)
    measured, last = run(workload, batch_size=4, learning_rate=1e-3, budget={"steps": 2})
    assert last.status == "exhausted"
    assert measured[-1].keys() >= set(workload.metrics)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("cosent", {"model": "{model}", "width": 8}, "width must be left out where the model .* brings its own"),
        ("cosent", {"model": "{model}", "tokens": "words"}, "tokens must have at most the 12 ids that the model"),
        ("cross-encoder", {"model": "{model}", "tokens": "words"}, "tokens must have at most the 12 ids"),
        ("cross-encoder", {"model": "{model}", "initial_std": 0.1}, "initial_std must be left out"),
        ("cross-encoder", {"class_cuts": [3.0, 2.0]}, "class_cuts must increase, above 0 and below .* 5, but are 3, 2"),
        ("cross-encoder", {"class_cuts": [5.0]}, "class_cuts must increase"),
        ("cross-encoder", {"class_cuts": []}, "class_cuts"),
        ("cross-encoder", {"class_cuts": [2.0, 3.0], "objective": "binary"}, "must be one with the objective binary"),
        ("gru-am-softmax", {"loss": "softmaxx"}, "loss: .*'am_softmax', 'a_softmax' or 'softmax', but got 'softmaxx'"),
        ("gru-am-softmax", {"model": "{folder}", "tokens": "words"}, "model must be .* on the hub, but got"),
    ],
)
def test_settings_that_do_not_fit_are_one_line(name, settings, message, local):
    dataset = str(local / ("classes" if name == "gru-am-softmax" else "pairs"))
    places = {"{model}": str(local / "model"), "{folder}": str(local)}
    given = {key: places.get(value, value) if isinstance(value, str) else value for key, value in settings.items()}
    with pytest.raises(SettingsError, match=message) as error:
        load_workload(name, {"dataset": dataset, "sequence_length": 12, **given}).prepare()
    assert "\n" not in str(error.value)


def test_a_tokeniser_that_is_not_there_names_the_ways_out(local):
    with pytest.raises(
        DataError, match=r"the tokeniser .* can't be loaded: .*; without the hub, use words, grams or minilm"
    ):
        load_workload("cosent", {"dataset": str(local / "pairs"), "model": str(local)}).prepare()


@pytest.mark.parametrize("name", ["cosent", "cross-encoder", "gru-am-softmax"])
def test_settings_written_out_read_back_as_they_were(name):
    for given in ({}, {"model": "minilm"}, {"tokens": "words"}):
        settings = load_workload(name, given).settings
        assert load_workload(name, settings.model_dump(mode="json")).settings == settings
    assert load_workload(name, {"model": "minilm"}).settings.tokens == "minilm"


@pytest.fixture
def pairs(local):
    return {"dataset": str(local / "pairs"), "sequence_length": 12, "tokens": "words"}


def test_cosents_objective_sees_the_cosines_of_all_pairs_of_the_batch(pairs):
    workload = load_workload("cosent", {**pairs, "width": 6, "scale": 3.0})
    model, batch = workload.build_model(seed=0), next(workload.train_batches(batch_size=4, seed=0))
    assert not workload.examples_are_independent

    def vector(tokens, length):
        return np.mean([model.encoder.embedding.weight[t].tolist() for t in tokens[:length].tolist()], axis=0)

    cosines = []
    for row in range(4):
        u, v = (vector(batch[name][row], batch[f"{name}_lengths"][row]) for name in ("first", "second"))
        cosines.append(u @ v / np.sqrt((u @ u) * (v @ v)))
    total = 1.0
    for i in range(4):
        for k in range(4):
            if batch["scores"][i] > batch["scores"][k]:
                total += math.exp(3.0 * (cosines[k] - cosines[i]))
    assert workload.loss(model, batch).item() == pytest.approx(math.log(total), rel=1e-5)


@pytest.mark.parametrize(("features", "count"), [("difference", 1), ("all", 3)])
def test_sberts_objective_is_a_softmax_on_what_it_says(pairs, features, count):
    given = {**pairs, "objective": "sbert", "sbert_features": features, "width": 6}
    workload = load_workload("cosent", given)
    assert workload.examples_are_independent
    model, batch = workload.build_model(seed=0), next(workload.train_batches(batch_size=4, seed=0))
    weight, bias = (p.detach().double().numpy() for p in model.head.parameters())
    assert weight.shape == (6, 6 * count)
    total = 0.0
    for row in range(4):
        u, v = (
            model.encoder(batch[n][row : row + 1], batch[f"{n}_lengths"][row : row + 1])[0].detach().double().numpy()
            for n in ("first", "second")
        )
        logits = weight @ np.concatenate([u, v, abs(u - v)][-count:]) + bias
        label = round(float(batch["scores"][row]) * 5)
        total += math.log(np.exp(logits).sum()) - logits[label]
    assert workload.loss(model, batch).item() == pytest.approx(total / 4, rel=1e-5)


def test_a_grus_vector_is_the_mean_of_its_states_over_the_text_alone(local):
    workload = load_workload("gru-am-softmax", {"dataset": str(local / "classes"), "width": 6})
    encoder, rows = workload.build_model(seed=0).encoder, workload.data.train
    together = encoder(rows.tokens, rows.lengths)
    for row, length in enumerate(rows.lengths.tolist()):
        states, _ = encoder.gru(encoder.embedding(rows.tokens[row : row + 1, :length]))
        assert together[row].tolist() == pytest.approx(states[0].mean(dim=0).tolist(), abs=1e-6)


def test_a_bags_vector_is_the_mean_of_its_embeddings(pairs):
    workload = load_workload("cosent", {**pairs, "width": 6})
    encoder, tensors = workload.build_model(seed=0).encoder, workload.data.train.tensors
    together = encoder(tensors["first"], tensors["first_lengths"])
    for row, length in enumerate(tensors["first_lengths"].tolist()):
        embedded = encoder.embedding(tensors["first"][row, :length])
        assert together[row].tolist() == pytest.approx(embedded.mean(dim=0).tolist(), abs=1e-6)


@pytest.mark.parametrize("loss", ["am_softmax", "a_softmax", "softmax"])
def test_the_class_losses_see_angles_or_plain_products(local, loss):
    given = {"dataset": str(local / "classes"), "width": 6, "loss": loss, "scale": 4.0}
    workload = load_workload("gru-am-softmax", given)
    model, batch = workload.build_model(seed=0), next(workload.train_batches(batch_size=6, seed=0))
    vectors = model.encoder(batch["tokens"], batch["lengths"]).detach().double().numpy()
    classes, total = model.head.weight.detach().double().numpy(), 0.0
    for vector, label in zip(vectors, batch["labels"].tolist(), strict=True):
        products = classes @ vector
        if loss != "softmax":
            cosine = products / np.linalg.norm(classes, axis=1) / np.linalg.norm(vector)
            own = cosine[label]
            cosine[label] = own - 0.35 if loss == "am_softmax" else min(math.cos(4 * math.acos(own)), own)
            products = 4.0 * cosine
        total += math.log(np.exp(products).sum()) - products[label]
    assert workload.loss(model, batch).item() == pytest.approx(total / 6, rel=1e-5)


def test_retrieval_equals_scikit_learns_nearest_neighbours():
    workload = prepared("gru-am-softmax", {"classes": 40, "width": 8})
    model = workload.build_model(seed=0).eval()
    data = workload.data
    with torch.no_grad():
        known, asked = (model.encoder(rows.tokens, rows.lengths).numpy() for rows in (data.train, data.held_out))
        found = workload.evaluate(model)
    nearest = KNeighborsClassifier(10, metric="cosine", algorithm="brute").fit(known, data.train.labels)
    labels = data.train.labels.numpy()[nearest.kneighbors(asked, return_distance=False)]
    truth = data.held_out.labels.numpy()
    assert found["top_1"] == pytest.approx(accuracy_score(truth, labels[:, 0]), abs=1e-6)
    for k in (5, 10):
        assert found[f"top_{k}"] == pytest.approx(np.mean([y in row[:k] for y, row in zip(truth, labels, strict=True)]))
    assert workload.baselines()["chance"] == pytest.approx(1 / 40, rel=0.01)


@pytest.mark.parametrize("objective", ["regression", "binary"])
def test_the_cross_encoders_loss_and_outcomes_are_those_of_its_predictions(pairs, objective):
    workload = load_workload("cross-encoder", {**pairs, "hidden_size": 16, "objective": objective, "class_cuts": [2.5]})
    model, batch = workload.build_model(seed=0).eval(), next(workload.train_batches(batch_size=4, seed=0))
    with torch.no_grad():
        said = model(batch["tokens"], batch["types"], batch["lengths"]).double().numpy()
        loss = workload.loss(model, batch).item()
    truth = batch["scores"].double().numpy()
    if objective == "regression":
        expected = np.mean((said - truth) ** 2)
    else:
        chances = np.where(truth * 5 > 2.5, 1 / (1 + np.exp(-said)), 1 / (1 + np.exp(said)))
        expected = -np.mean(np.log(chances))
    assert loss == pytest.approx(expected, rel=1e-5)
    assert workload._classes.tolist() == [1, 0, 0, 1]


def test_shared_words_are_told_to_our_models_only(local, pairs):
    types = {}
    for name, given in {
        "told": {},
        "not told": {"shared_words": False},
        "published": {"model": str(local / "model"), "tokens": str(local / "model")},
    }.items():
        types[name] = load_workload("cross-encoder", {**pairs, **given}).data.train.tensors["types"].unique().tolist()
    assert types == {"told": [0, 1, 2, 3], "not told": [0, 1], "published": [0, 1]}


def test_the_spread_is_one_on_the_sphere_and_zero_at_a_point():
    vectors = torch.randn(4000, 64, generator=torch.Generator().manual_seed(0))
    assert spread(vectors) == pytest.approx(1.0, abs=0.02)
    assert spread(torch.ones(9, 4) * torch.arange(1.0, 10.0)[:, None]) == pytest.approx(0.0, abs=1e-6)


def test_vectors_that_collapse_end_the_run_as_diverged_with_the_reason(pairs):
    workload = load_workload("cosent", {**pairs, "width": 4})
    model = workload.build_model(seed=0)
    nn.init.ones_(model.encoder.embedding.weight)
    with torch.no_grad():
        found = workload.evaluate(model.eval())
    assert found["embedding_spread"] == pytest.approx(0.0, abs=1e-6)
    assert math.isnan(found["spearman"])
    workload.build_model = lambda *, seed: model
    _, last = run(workload, batch_size=4, learning_rate=1e-3, budget={"steps": 2})
    assert (last.status, last.message) == ("diverged", "spearman is nan after 0 steps")


def test_a_constant_prediction_ranks_nothing(pairs):
    workload = load_workload("cross-encoder", {**pairs, "hidden_size": 16})
    model = workload.build_model(seed=0).eval()
    nn.init.zeros_(model.head.weight)
    with torch.no_grad():
        found = workload.evaluate(model)
    assert math.isnan(found["spearman"])
    assert found["prediction_std"] == 0.0


PROBES = {"steps": [1], "draws": 2, "per_example_draws": 1, "small_batch_size": 2, "large_batch_size": 8}


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("cosent", {"width": 6, "objective": "sbert"}),
        ("cosent", {"width": 6, "model": "gru"}),
        ("cross-encoder", {"hidden_size": 8, "objective": "binary"}),
        ("gru-am-softmax", {"width": 6, "loss": "a_softmax"}),
    ],
)
def test_probes_measure_gradients_and_curvature(name, given, local):
    dataset = str(local / ("classes" if name == "gru-am-softmax" else "pairs"))
    workload = load_workload(name, {"dataset": dataset, "sequence_length": 12, "tokens": "words", **given})
    quantities = ["two_batch", "per_example", "curvature", "one_step"]
    if not workload.examples_are_independent:
        quantities.remove("per_example")
    probes = {**PROBES, "quantities": quantities, "curvature_batch_size": 8, "reference_batch_size": 8}
    settings = run_settings(batch_size=8, budget={"steps": 2}, evaluation={"points": 1}, probes=probes)
    (probed,) = [event for event in train(workload, settings) if isinstance(event, Probed)]
    assert all(math.isfinite(row.total) for row in probed.rows)
    names = {row.name for row in probed.rows}
    assert {"gradient_square", "curvature_gradient"} <= names
    assert ("example_square" in names) == workload.examples_are_independent


def weighted_cosine(a, b, rarity):
    """The cosine of two texts' counts of words, each times its rarity, by loops."""
    one, other = ({word: text.split().count(word) * rarity[word] for word in text.split()} for text in (a, b))
    squares = [sum(value**2 for value in vector.values()) for vector in (one, other)]
    return sum(one[word] * other.get(word, 0.0) for word in one) / math.sqrt(squares[0] * squares[1])


def rarities(texts):
    """scikit-learn's: log((1 + texts)/(1 + texts with the word)) + 1."""
    words = {word for text in texts for word in text.split()}
    return {word: math.log((1 + len(texts)) / (1 + sum(word in t.split() for t in texts))) + 1 for word in words}


def test_the_baselines_of_retrieval_are_those_of_loops(tmp_path):
    texts = {
        "train": [("the the", 0), ("fox ran", 1), ("the apple", 1), ("the house", 2)],
        # The first has two words, of which by counts the more frequent would decide. The last two find another class.
        "validation": [("the fox", 1), ("apple", 1), ("the the house", 0), ("ran", 2)],
    }
    for split, rows in texts.items():
        with (tmp_path / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("text", "label"), *rows])
    workload = load_workload("gru-am-softmax", {"dataset": str(tmp_path), "width": 6, "sequence_length": 12})
    found = workload.baselines()
    train, rarity = texts["train"], rarities([text for text, _ in texts["train"]])
    nearest = [
        max(train, key=lambda row, asked=asked: weighted_cosine(asked, row[0], rarity))[1]
        for asked, _ in texts["validation"]
    ]
    assert nearest == [1, 1, 2, 1]
    assert found["TF-IDF cosine"] == pytest.approx(2 / 4)
    assert found["chance"] == pytest.approx((2 / 4 + 2 / 4 + 1 / 4 + 1 / 4) / 4)
    with torch.no_grad():
        untrained = [workload.evaluate(workload.build_model(seed=seed).eval())["top_1"] for seed in range(3)]
    assert found["untrained encoder"] == pytest.approx(np.mean(untrained))


def test_the_class_baselines_of_pairs_are_the_majoritys_and_those_of_the_best_cut_of_the_known_half():
    workload = load_workload("cross-encoder", INTERACTION)
    held_out, known = workload.data.held_out.pairs, workload._known_half
    classes = held_out.scores > 3.0
    found = workload.class_baselines()
    majority = classes[known].mean() > 0.5
    assert found["majority"] == pytest.approx(np.mean(classes[~known] == majority))
    train = workload.data.train.pairs
    for name, vectorizer, texts in (
        ("bag-of-words cosine", CountVectorizer(token_pattern=r"\w+"), (*held_out.first, *held_out.second)),
        ("TF-IDF cosine", TfidfVectorizer(token_pattern=r"\w+"), (*train.first, *train.second)),
    ):
        vectorizer.fit(texts)
        a, b = (normalize(vectorizer.transform(texts)) for texts in (held_out.first, held_out.second))
        cosines = np.asarray(a.multiply(b).sum(axis=1)).ravel()
        cuts = np.unique(cosines[known])
        right = [np.mean((cosines[known] > cut) == classes[known]) for cut in cuts]
        best = [np.mean((cosines[~known] > cut) == classes[~known]) for cut in cuts[np.array(right) >= max(right)]]
        assert min(best) - 0.003 <= found[name] <= max(best) + 0.003, "the cut lies between the values of a gap"


# Of 1,494 pairs a rank correlation of 0.7 has a standard error of 0.014, so the difference of two, 0.02 where they are
# independent: margins of 0.04 are two of them. That the preset's whole budget also beats TF-IDF, `make learned` shows.
MARGIN = 0.04


def test_ranking_by_cosine_is_learned():
    workload = load_workload("cosent", {})
    measured, last = run(workload, batch_size=64, learning_rate=2e-3, budget={"steps": 220})
    baselines = workload.baselines()
    assert last.value > baselines["untrained encoder"] + MARGIN
    assert last.value > baselines["bag-of-words cosine"] + MARGIN
    assert baselines["TF-IDF cosine"] > baselines["bag-of-words cosine"] + MARGIN
    assert baselines["untrained encoder"] == pytest.approx(measured[0]["spearman"], abs=0.03)


def test_vectors_at_too_high_a_rate_rank_worse_than_before_training():
    workload = load_workload("cosent", {})
    measured, last = run(workload, batch_size=64, learning_rate=5.0, budget={"steps": 20})
    assert last.status == "exhausted"
    assert last.value < measured[0]["spearman"] - MARGIN
    assert measured[-1]["embedding_spread"] < measured[0]["embedding_spread"] - 0.1


def test_similarity_is_learned_by_interaction_and_thresholds_make_classes_of_it():
    """Of half the pairs an accuracy of 0.8 has a standard error of 0.015: the margin is three of a difference's."""
    workload = load_workload("cross-encoder", INTERACTION)
    measured, last = run(workload, batch_size=32, learning_rate=4e-3, budget={"steps": 100}, schedule=COSINE)
    assert last.value > workload.baselines()["bag-of-words cosine"] + MARGIN
    assert measured[-1]["accuracy"] > workload.class_baselines()["majority"] + 0.08
    assert measured[-1]["validation_loss"] < 0.75 * float(workload.data.held_out.tensors["scores"].var())
    assert measured[-1]["prediction_std"] > 0.1


def test_interaction_at_too_high_a_rate_predicts_one_number_or_diverges():
    workload = load_workload("cross-encoder", INTERACTION)
    measured, last = run(workload, batch_size=32, learning_rate=0.2, budget={"steps": 20})
    assert last.status == "exhausted"
    assert measured[0]["prediction_std"] > 0.05
    assert measured[-1]["prediction_std"] < 0.01
    assert last.value < workload.baselines()["bag-of-words cosine"] - MARGIN
    assert measured[-1]["accuracy"] == pytest.approx(workload.class_baselines()["majority"], abs=0.03)
    # One number's squared error is the scores' variance, and its distance from their mean.
    assert measured[-1]["validation_loss"] > 0.99 * float(workload.data.held_out.tensors["scores"].var())
    _, last = run(workload, batch_size=32, learning_rate=2.0, budget={"steps": 8})
    assert last.status == "diverged"


def test_retrieval_of_classes_is_learned_and_lost_at_too_high_a_rate():
    """Of 300 texts a difference of 0.1 in top-1, where a fifth decide, has a standard error of 0.026: two are asked."""
    workload = prepared("gru-am-softmax", {})
    measured, last = run(workload, batch_size=64, learning_rate=5e-3, budget={"steps": 100})
    baselines = workload.baselines()
    assert last.value > baselines["TF-IDF cosine"] + 0.052
    assert last.value > baselines["untrained encoder"] + 0.1
    assert measured[-1]["top_1"] <= measured[-1]["top_5"] <= measured[-1]["top_10"]
    assert measured[-1]["embedding_spread"] > 0.9
    measured, last = run(workload, batch_size=64, learning_rate=0.1, budget={"steps": 20})
    assert last.status == "exhausted"
    assert last.value < baselines["untrained encoder"] - 0.03
    assert measured[-1]["embedding_spread"] < 0.8
