"""The known answer: SGD through the whole trainer against the recursion, and the recursion against brute force."""

import numpy as np
import pytest
import torch

from trainers.loop import Finished, train
from trainers.workloads import load_workload

from .helpers import BareEngine, run_settings


def brute_force_loss(workload, *, learning_rate, batch_size, steps):
    """The recursion of theory section 7.1, step by step, in plain Python."""
    second_moment = [workload.settings.start**2] * workload.settings.dimensions
    for _ in range(steps):
        second_moment = [
            (1 - learning_rate * h) ** 2 * m + learning_rate**2 * s / batch_size
            for m, h, s in zip(second_moment, workload.curvature, workload.noise_variance, strict=True)
        ]
    return 0.5 * sum(h * m for m, h in zip(second_moment, workload.curvature, strict=True))


@pytest.mark.parametrize("learning_rate", [0.0, 0.1, 1.0, 1.9, 2.5])
@pytest.mark.parametrize("noise_shape", ["curvature", "white"])
def test_the_closed_form_equals_the_recursion(learning_rate, noise_shape):
    workload = load_workload("quadratic", {"dimensions": 20, "noise_shape": noise_shape, "noise": 3.0})
    for steps in (0, 1, 2, 17):
        expected = brute_force_loss(workload, learning_rate=learning_rate, batch_size=4, steps=steps)
        assert workload.exact_loss(learning_rate=learning_rate, batch_size=4, steps=steps) == pytest.approx(
            expected, rel=1e-12
        )


def test_the_one_step_law_is_the_minimum_of_the_exact_loss():
    workload = load_workload("quadratic", {"dimensions": 50, "noise": 40.0})
    law = workload.exact_one_step_law()
    rates = np.linspace(1e-3, 2.0, 200_001)
    for batch_size in (1, 8, 64, 512):
        best = rates[np.argmin(workload.exact_loss(learning_rate=rates, batch_size=batch_size, steps=1))]
        assert best == pytest.approx(law["eta_max"] / (1 + law["b_noise"] / batch_size), abs=2e-5)


def test_training_follows_the_recursion_within_its_noise():
    workload = load_workload("quadratic", {"dimensions": 100, "noise": 1.0})
    finals = []
    for seed in range(40):
        settings = run_settings(batch_size=4, learning_rate=0.4, seed=seed, budget={"steps": 30})
        *_, last = train(workload, settings, build_engine=BareEngine)
        finals.append(last.value)
    expected = float(workload.exact_loss(learning_rate=0.4, batch_size=4, steps=30))
    error = np.std(finals, ddof=1) / np.sqrt(len(finals))
    assert abs(np.mean(finals) - expected) < 4 * error
    assert error < 0.05 * expected, "the check must be able to fail"


def test_the_gradient_is_the_true_one_plus_the_mean_noise():
    workload = load_workload("quadratic", {"dimensions": 7})
    model = workload.build_model(seed=0)
    noise = next(workload.train_batches(batch_size=16, seed=3))
    workload.loss(model, noise).backward()
    expected = torch.tensor(workload.curvature, dtype=torch.float32) * model.theta.detach() + noise.mean(dim=0)
    torch.testing.assert_close(model.theta.grad, expected)


def test_a_rate_beyond_stability_is_divergence_not_an_exception():
    workload = load_workload("quadratic", {})
    *_, last = train(workload, run_settings(learning_rate=50.0, budget={"steps": 100}), build_engine=BareEngine)
    assert isinstance(last, Finished)
    assert last.status == "diverged"
    assert last.steps < 100
    assert "passed the limit" in last.message or "inf" in last.message or "nan" in last.message
    assert last.steps_to_target is None
