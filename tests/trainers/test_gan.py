import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from trainers.batching import chunks, example_order
from trainers.data.fetch import is_cached
from trainers.errors import SettingsError
from trainers.loop import Finished, Measured, Probed, train
from trainers.settings import TrainSettings
from trainers.workloads import gan_features, load_workload
from trainers.workloads.gan_distances import class_coverage
from trainers.workloads.gan_objectives import OBJECTIVES, discriminator_loss, generator_loss, gradient_penalty

from .helpers import BareEngine, run_settings

SMALL = {"latent_size": 4, "generator_width": 4, "discriminator_width": 4}


def gan(**changes):
    return load_workload("gan", {**SMALL, **changes})


def measured(workload, settings):
    events = list(train(workload, settings, build_engine=BareEngine))
    return events[-1], [e.values for e in events if isinstance(e, Measured)]


def adam(learning_rate, **changes):
    """The published optimiser: Adam whose first average is short."""
    return run_settings(
        learning_rate=learning_rate, optimizer="adamw", optimizer_settings={"betas": [0.5, 0.999]}, **changes
    )


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_each_player_has_the_gradient_of_its_own_objective(objective):
    workload = gan(objective=objective)
    batch = images, noise, shares = next(workload.train_batches(batch_size=6, seed=0))
    model = workload.build_model(seed=0)
    begun = copy.deepcopy(model)

    def own(player):
        mine = copy.deepcopy(begun)
        if player == "generator":
            loss = generator_loss(objective, mine.discriminator(mine.generator(noise)))
        else:
            made = mine.generator(noise).detach()
            # Spectral normalisation goes on by one power iteration each time: the generator's loss came first.
            mine.discriminator(made)
            loss = discriminator_loss(objective, mine.discriminator(images), mine.discriminator(made))
            if objective == "wgan-gp":
                loss = loss + 10.0 * gradient_penalty(mine.discriminator, images, made, shares)
        loss.backward()
        return loss.item(), {n: p.grad for n, p in mine.named_parameters() if n.startswith(player)}

    loss = workload.loss(model, batch)
    loss.backward()
    parts = [own(player) for player in ("generator", "discriminator")]
    assert loss.item() == pytest.approx(sum(value for value, _ in parts), rel=1e-5)
    gradients = {name: gradient for _, part in parts for name, gradient in part.items()}
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-4, atol=1e-6)


def feature_net_of_version_1(pictures):
    """The net written out: what its weights, batches and steps are, and so what its features are."""
    rng = np.random.default_rng(1)
    convolutions = [nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.Conv2d(8, 16, 3, stride=2, padding=1)]
    layers = [*convolutions, nn.Linear(16 * 2 * 2, 32), nn.Linear(32, 10)]
    for layer in layers:
        fan_in = math.prod(layer.weight.shape[1:])
        layer.weight = nn.Parameter(torch.from_numpy(rng.normal(size=layer.weight.shape) * (2.0 / fan_in) ** 0.5))
        layer.bias = nn.Parameter(torch.zeros_like(layer.bias, dtype=torch.float64))

    def features(images):
        states = images.double()
        for layer in convolutions:
            states = layer(states).relu()
        return layers[2](states.flatten(1)).relu()

    optimizer = torch.optim.Adam([p for layer in layers for p in layer.parameters()])
    batches = chunks(example_order(len(pictures.train), seed=1), 64)
    for step, rows in zip(range(500), batches, strict=False):
        optimizer.param_groups[0]["lr"] = 3e-3 * (500 - step) / 500
        logits = layers[3](features(pictures.train[rows]))
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits, pictures.train_labels[rows]).backward()
        optimizer.step()
    return lambda images: features(images).detach()


def test_a_changed_feature_net_needs_a_new_version():
    """What is above another version's features must be written out beside this one's."""
    assert gan_features.VERSION == 1
    workload = gan()
    held_out, labels = workload.pictures.test, workload.pictures.test_labels
    features, said = workload._net.describe(held_out)
    assert (said == labels).double().mean() > 0.9
    torch.testing.assert_close(features, feature_net_of_version_1(workload.pictures)(held_out), rtol=1e-5, atol=1e-6)
    assert not any(parameter.requires_grad for parameter in workload._net.parameters())


def frechet_of_moments(means, covariances):
    """By the eigenvalues of Σ₁Σ₂, whose roots' sum is the trace of its root."""
    values = np.linalg.eigvals(covariances[0] @ covariances[1])
    squares = ((means[0] - means[1]) ** 2).sum()
    return squares + np.trace(covariances[0] + covariances[1]) - 2.0 * np.sqrt(np.abs(values)).sum()


def test_the_baselines_are_distances_between_moments_of_features():
    workload = gan(evaluation_images=500)
    found, net = workload.baselines(), workload._net
    real = net.describe(workload.held_out)[0].numpy()
    pixels = workload.pictures.train.flatten(1).double().numpy()
    nothing = np.zeros((real.shape[1], real.shape[1]))

    def distance(made):
        features = net.describe(torch.from_numpy(made).float().reshape(-1, 1, 8, 8))[0].numpy()
        covariances = [np.cov(sample.T) if len(sample) > 1 else nothing for sample in (features, real)]
        return frechet_of_moments((features.mean(axis=0), real.mean(axis=0)), covariances)

    assert found["mean image"] == pytest.approx(distance(pixels.mean(axis=0)), rel=1e-4)
    # Other draws of as many: five of them scatter by a few hundredths.
    draws = np.random.default_rng(1).multivariate_normal(pixels.mean(axis=0), np.cov(pixels.T), size=(5, 500))
    others = [distance(draw.clip(0.0, 1.0)) for draw in draws]
    assert found["normal pixels"] == pytest.approx(np.mean(others), rel=0.15)
    assert found["normal pixels"] < found["mean image"]


def test_both_rates_follow_the_study_or_one_alone():
    def rates(**changes):
        workload = gan(**changes)
        names = [name for name, _ in workload.build_model(seed=0).named_parameters()]
        found = {name.split(".")[0]: set() for name in names}
        for name in names:
            found[name.split(".")[0]].add(workload.peak_rate(name, 0.1))
        return {player: rate for player, (rate,) in found.items()}

    assert rates() == {"generator": 0.1, "discriminator": 0.1}
    assert rates(discriminator_rate_factor=4.0) == pytest.approx({"generator": 0.1, "discriminator": 0.4})
    assert rates(discriminator_rate=0.02) == {"generator": 0.1, "discriminator": 0.02}
    assert rates(generator_rate=0.02, discriminator_rate_factor=0.5) == {"generator": 0.02, "discriminator": 0.05}
    with pytest.raises(SettingsError, match=r"one player at least must follow .* 0.1 and discriminator_rate 0.2"):
        gan(generator_rate=0.1, discriminator_rate=0.2)


def test_against_an_opponent_that_stands_still_the_generator_collapses():
    workload = gan(discriminator_rate=0.0)
    _, values = measured(workload, adam(0.02, batch_size=32, budget={"steps": 150}, evaluation={"points": 1}))
    assert values[-1]["class_coverage"] < 0.2
    assert class_coverage(workload.pictures.test_labels, 10) > 0.95


def test_a_game_that_runs_away_is_divergence():
    settings = run_settings(batch_size=16, learning_rate=30.0, budget={"steps": 60}, evaluation={"points": 3})
    finished, _ = measured(gan(objective="wgan-gp"), settings)
    assert isinstance(finished, Finished)
    assert finished.status == "diverged"


def test_pictures_that_are_not_finite_have_no_distance():
    workload = gan()
    model = workload.build_model(seed=0).eval()
    with torch.no_grad():
        model.generator.start[0].weight.fill_(math.nan)
        assert all(math.isnan(value) for value in workload.evaluate(model).values())


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_probes_measure_two_gradients_side_by_side(objective):
    probes = {
        "steps": [2],
        "quantities": ["two_batch", "curvature", "one_step"],
        "draws": 2,
        "small_batch_size": 8,
        "large_batch_size": 16,
        "curvature_batch_size": 8,
        "reference_batch_size": 16,
        "per_layer": True,
    }
    plain = adam(1e-3, batch_size=8, budget={"steps": 3}, evaluation={"points": 1})
    settings = TrainSettings.from_dict({**plain.model_dump(mode="json"), "probes": probes})
    (probed,) = [e for e in train(gan(objective=objective), settings) if isinstance(e, Probed)]
    assert all(math.isfinite(row.total) for row in probed.rows)
    squares = {row.scope: row.total for row in probed.rows if row.name == "gradient_square" and row.batch_size == 16}
    players = {scope.split(".")[0] for scope, total in squares.items() if total > 0}
    assert {"generator", "discriminator"} <= players


def test_curvature_has_no_terms_between_the_players():
    workload = gan(objective="wgan-gp")
    model = workload.build_model(seed=0)
    batch = next(workload.train_batches(batch_size=8, seed=0))
    names, parameters = zip(*model.named_parameters(), strict=True)
    gradient = torch.autograd.grad(workload.loss(model, batch), parameters, create_graph=True)
    for player in ("generator", "discriminator"):
        part = sum(g.square().sum() for n, g in zip(names, gradient, strict=True) if n.startswith(player))
        products = torch.autograd.grad(part, parameters, retain_graph=True, materialize_grads=True, allow_unused=True)
        moved = {n.split(".")[0] for n, p in zip(names, products, strict=True) if p.abs().max() > 0}
        assert moved == {player}


def test_training_beats_the_mean_image_and_untrained_generators():
    workload = gan(generator_width=16, discriminator_width=16, latent_size=16)
    settings = adam(2e-3, batch_size=32, schedule={"name": "cosine"}, budget={"steps": 300}, evaluation={"points": 1})
    _, (before, after) = measured(workload, settings)
    baselines = workload.baselines()
    assert after["frechet_distance"] < min(baselines["mean image"], baselines["untrained generator"]) / 2
    assert after["class_coverage"] > 0.5 > before["class_coverage"]
    assert after["sliced_wasserstein"] < before["sliced_wasserstein"] / 2


@pytest.mark.skipif(not is_cached("fashion-mnist"), reason="needs fashion-mnist in the data cache")
def test_clothes_are_learned_in_a_short_run(monkeypatch):
    monkeypatch.setattr(gan_features, "_STEPS", 60)  # a feature net for the form of pictures, not for distances
    monkeypatch.setattr("trainers.workloads.gan.feature_net", gan_features.feature_net.__wrapped__)
    workload = gan(dataset="fashion-mnist", evaluation_images=300)
    settings = adam(5e-3, batch_size=32, budget={"steps": 30}, evaluation={"points": 1})
    _, (before, after) = measured(workload, settings)
    assert workload.build_model(seed=0)(torch.zeros(2, 4)).shape == (2, 1, 28, 28)
    assert after["sliced_wasserstein"] < 0.9 * before["sliced_wasserstein"]
    assert math.isfinite(after["frechet_distance"])


@pytest.mark.slow
def test_training_beats_normally_distributed_pixels():
    """Decided before the run: three quarters of the distance of pixels with the data's own mean and covariance."""
    workload = load_workload("gan", {})
    settings = adam(1e-3, batch_size=64, schedule={"name": "cosine"}, budget={"steps": 600}, evaluation={"points": 1})
    _, values = measured(workload, settings)
    baselines = workload.baselines()
    assert values[-1]["frechet_distance"] < 0.75 * baselines["normal pixels"]
    assert baselines["normal pixels"] < baselines["mean image"]
    assert baselines["normal pixels"] < baselines["untrained generator"]
    assert values[-1]["class_coverage"] > 0.8
    assert values[-1]["sliced_wasserstein"] < values[0]["sliced_wasserstein"] / 2
