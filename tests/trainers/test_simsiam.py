from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from trainers.errors import SettingsError
from trainers.loop import Measured, train
from trainers.workloads import load_workload
from trainers.workloads.siamese import mutual_prediction

from .helpers import BareEngine, run_settings

SMALL = {"width": 4, "projection_size": 16, "predictor_size": 8}
STORED = Path(__file__).parents[2] / "results" / "reference" / "quick" / "study.yaml"


@pytest.fixture
def workload():
    return load_workload("simsiam", SMALL)


def test_the_loss_is_the_papers_symmetrised_negative_cosine(workload):
    model = workload.build_model(seed=0).eval()
    first, second = next(workload.train_batches(batch_size=7, seed=0))
    z1, z2 = (model.project(x).detach().numpy() for x in (first, second))
    p1, p2 = (model.predictor(model.project(x)).detach().numpy() for x in (first, second))

    def distance(p, z):
        rows = [-(a @ b) / np.sqrt((a @ a) * (b @ b)) for a, b in zip(p.astype(float), z.astype(float), strict=True)]
        return sum(rows) / len(rows)

    expected = distance(p1, z2) / 2 + distance(p2, z1) / 2
    assert workload.loss(model, (first, second)).item() == pytest.approx(expected, rel=1e-5)


def test_the_gradient_stops_at_the_projection():
    batch = next(load_workload("simsiam", SMALL).train_batches(batch_size=7, seed=0))

    def gradient(stop):
        workload = load_workload("simsiam", {**SMALL, "stop_gradient": stop})
        model = workload.build_model(seed=0)
        workload.loss(model, batch).backward()
        return model.projector[0].weight.grad, model.predictor[0].weight.grad

    stopped, free = gradient(True), gradient(False)
    assert not torch.allclose(stopped[0], free[0])
    assert torch.allclose(stopped[1], free[1], atol=1e-7), "the predictor's gradient does not pass through the target"


def test_without_the_stop_gradient_the_loss_is_lower_and_the_representation_worse():
    settings = run_settings(
        batch_size=64, learning_rate=0.2, optimizer="momentum", budget={"steps": 60}, evaluation={"points": 1}
    )

    def last(stop):
        workload = load_workload("simsiam", {**SMALL, "stop_gradient": stop})
        return [e for e in train(workload, settings, build_engine=BareEngine) if isinstance(e, Measured)][-1].values

    stopped, free = last(True), last(False)
    assert free["train_loss"] < stopped["train_loss"]
    assert free["knn_accuracy"] < stopped["knn_accuracy"] - 0.05
    assert free["embedding_spread"] < stopped["embedding_spread"]


def test_training_beats_what_the_same_encoder_knows_untrained():
    """3 points above untrained encoders: of 520 images an accuracy has a standard error of 1.4, and both share them."""
    settings = run_settings(
        batch_size=64,
        learning_rate=0.2,
        optimizer="momentum",
        schedule={"name": "cosine"},
        budget={"steps": 80},
        evaluation={"points": 1},
    )
    workload = load_workload("simsiam", {"width": 8})
    before, after = (e.values for e in train(workload, settings, build_engine=BareEngine) if isinstance(e, Measured))
    assert after["knn_accuracy"] > workload.baselines()["untrained encoder"] + 0.03
    assert after["knn_accuracy"] > before["knn_accuracy"]
    assert after["embedding_spread"] > 0.9


def test_views_differ_from_each_other_and_from_the_image(workload):
    first, second = next(workload.train_batches(batch_size=16, seed=0))
    assert first.shape == second.shape == (16, 1, 8, 8)
    assert not torch.equal(first, second)
    assert float(first.min()) >= 0.0
    assert float(first.max()) <= 1.0


def test_an_encoder_by_name_has_fresh_weights(tmp_path):
    from transformers import ResNetConfig

    ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic").save_pretrained(tmp_path)
    for encoder in ("resnet", str(tmp_path)):
        workload = load_workload("simsiam", {**SMALL, "encoder": encoder, "width": 8})
        loss = workload.loss(workload.build_model(seed=0), next(workload.train_batches(batch_size=4, seed=0)))
        assert torch.isfinite(loss)


def test_one_example_a_forward_pass_is_refused_before_anything_is_trained(workload):
    for changes in ({"batch_size": 1}, {"batch_size": 4, "engine": {"micro_batch_size": 1}}):
        with pytest.raises(SettingsError, match="at least 2 examples where the loss couples them"):
            list(train(workload, run_settings(**changes)))


@pytest.mark.parametrize("stopped", [True, False])
def test_the_scalar_toy_ends_where_its_conserved_quantity_says(stopped):
    """Gradient flow of ½(φθ − θ)² from φ = 0.6, θ = 0.1.

    With the target held, θ² − φ² stays: φ → 1, θ → √0.65. Without, θ² − (φ − 1)² stays: θ → 0, φ → 1 − √0.15.
    """
    weight, factor = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (0.1, 0.6))
    optimizer = torch.optim.SGD([weight, factor], lr=0.05)
    for _ in range(1000):
        loss = mutual_prediction(
            (torch.ones(()), torch.ones(())),
            project=lambda x: weight * x,
            predict=lambda z: factor * z,
            target=None,
            distance=lambda p, z: 0.5 * (p - z) ** 2,
            stop_gradient=stopped,
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    ends = (0.65**0.5, 1.0) if stopped else (0.0, 1.0 - 0.15**0.5)
    assert (weight.item(), factor.item()) == pytest.approx(ends, abs=0.01)


def test_without_stop_gradient_and_output_norm_all_images_collapse_to_a_point():
    settings = run_settings(
        batch_size=64, learning_rate=0.2, optimizer="momentum", budget={"steps": 40}, evaluation={"points": 1}
    )

    def spread(stop):
        workload = load_workload("simsiam", {**SMALL, "projector_output_norm": False, "stop_gradient": stop})
        measured = [e for e in train(workload, settings, build_engine=BareEngine) if isinstance(e, Measured)]
        return measured[-1].values["embedding_spread"]

    assert spread(stop=False) < 0.15
    assert spread(stop=True) > 0.5


def test_the_predictors_rate_is_a_multiple_of_the_studys():
    settings = run_settings(learning_rate=0.05, budget={"steps": 1})

    def moved(factor):
        workload = load_workload("simsiam", {**SMALL, "predictor_rate_factor": factor})
        engine = BareEngine(workload, settings)
        before = {name: p.detach().clone() for name, p in engine.model.named_parameters()}
        engine.step(next(workload.train_batches(batch_size=8, seed=0)), rate_factor=1.0)
        return {name: p.detach() - before[name] for name, p in engine.model.named_parameters()}

    once, thrice, never = moved(1.0), moved(3.0), moved(0.0)
    for name, step in once.items():
        factor = 3.0 if name.startswith("predictor.") else 1.0
        assert torch.allclose(thrice[name], factor * step, rtol=1e-3, atol=1e-6), name
        assert bool((never[name] == 0).all()) == name.startswith("predictor."), name


def test_groups_for_batchnorm_are_what_micro_batches_of_their_size_are():
    grouped = load_workload("simsiam", {**SMALL, "batch_norm_images": 4})
    plain = load_workload("simsiam", SMALL)
    batch = next(plain.train_batches(batch_size=12, seed=0))
    parts = [plain.loss(plain.build_model(seed=0), tuple(v[first : first + 4] for v in batch)) for first in (0, 4, 8)]
    assert grouped.loss(grouped.build_model(seed=0), batch).item() == pytest.approx(sum(parts).item() / 3, rel=1e-5)
    assert grouped.loss(grouped.build_model(seed=0), batch).item() != pytest.approx(
        plain.loss(plain.build_model(seed=0), batch).item(), abs=1e-3
    )

    def values(workload, engine):
        settings = run_settings(batch_size=12, learning_rate=0.1, budget={"steps": 3}, engine=engine)
        return [e.values for e in train(workload, settings) if isinstance(e, Measured)][-1]

    one, other = values(grouped, {}), values(plain, {"micro_batch_size": 4})
    assert one == pytest.approx(other, rel=1e-4)


def test_groups_that_do_not_come_out_even_are_refused():
    workload = load_workload("simsiam", {**SMALL, "batch_norm_images": 8})
    batch = next(workload.train_batches(batch_size=12, seed=0))
    for count in (12, 6):
        with pytest.raises(SettingsError, match=rf"batch_norm_images must divide .* but got 8 with {count}"):
            workload.loss(workload.build_model(seed=0), tuple(v[:count] for v in batch))
    assert torch.isfinite(workload.loss(workload.build_model(seed=0), tuple(v[:8] for v in batch)))


def test_the_stored_studys_settings_are_still_the_defaults():
    """A setting that came later is written only where it is used, so that stored trials keep their ids."""
    (stored,) = [s for s in yaml.safe_load(STORED.read_text(encoding="utf-8"))["sweeps"] if s["workload"] == "simsiam"]
    assert load_workload("simsiam", {}).settings.model_dump(mode="json") == stored["workload_settings"]
    used = load_workload("simsiam", {"predictor_rate_factor": 10.0, "batch_norm_images": 32}).settings
    assert used.model_dump(mode="json") == {
        **stored["workload_settings"],
        "predictor_rate_factor": 10.0,
        "batch_norm_images": 32,
    }
