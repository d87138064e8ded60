"""Each estimator against the same number by plain autograd, example by example, or by a dense Hessian."""

import copy
import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional

from trainers.batching import cut, map_tensors
from trainers.engine import DeepSpeedEngine
from trainers.probes.curvature import CurvatureRows, add_noise_to_signal, random_signs
from trainers.probes.direction import Direction
from trainers.probes.gradients import HeldLoss
from trainers.probes.hessian import CurvatureBatch
from trainers.probes.per_example import per_example
from trainers.probes.two_batch import TwoBatch, two_batch
from trainers.workload import LossModule
from trainers.workloads import load_workload

from .helpers import run_settings
from .probe_cases import TINY_BERT, held, plain_gradient, probe, sizes_of, square, trained, values, workload_named

INDEPENDENT = ["small-cnn", "bert-mlm", "quadratic"]


@pytest.mark.parametrize("name", INDEPENDENT)
def test_two_batch_and_per_example_equal_plain_autograd(name):
    workload = workload_named(name)
    batch = next(workload.train_batches(batch_size=8, seed=3))
    loss, rows = held(workload)
    drawn = two_batch(loss, batch, sizes_of(), rows, draw=0)
    per_example(loss, batch, sizes_of(), rows, draw=0)
    singles = [plain_gradient(workload, batch, first=k, last=k + 1) for k in range(8)]
    pairs = [plain_gradient(workload, batch, first=k, last=k + 2) for k in range(0, 8, 2)]
    whole = plain_gradient(workload, batch)
    assert values(rows.rows, "example_square", 1) == pytest.approx(np.mean([square(g) for g in singles]), rel=1e-4)
    assert values(rows.rows, "gradient_square", 2) == pytest.approx(np.mean([square(g) for g in pairs]), rel=1e-4)
    assert values(rows.rows, "gradient_square", 8) == pytest.approx(square(whole), rel=1e-4)
    for k, scope in enumerate(loss.names):
        part = float((whole[k] ** 2).sum())
        assert values(rows.rows, "gradient_square", 8, scope=scope) == pytest.approx(part, rel=1e-3, abs=1e-9)
    for got, expected in zip(drawn.mean, whole, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-6)
    # Half the difference of two halves has the noise of their mean.
    for k, got in enumerate(drawn.contrast):
        expected = (pairs[0][k] + pairs[1][k] - pairs[2][k] - pairs[3][k]) / 4
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-6)
    # The variance of the mean of two examples, times two: an unbiased estimate of an example's variance.
    for k, got in enumerate(drawn.variance):
        expected = 2.0 * torch.stack([pair[k] for pair in pairs]).var(dim=0)
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-6)


def test_a_large_batch_of_coupled_examples_is_one_pass_unless_micro_batches_couple_them():
    workload = workload_named("simsiam")
    batch = next(workload.train_batches(batch_size=8, seed=3))
    whole = square(plain_gradient(workload, batch))
    halves = [plain_gradient(workload, batch, first=k, last=k + 4) for k in (0, 4)]
    split = square([(a + b) / 2 for a, b in zip(*halves, strict=True)])
    assert split != pytest.approx(whole, rel=1e-2)
    for additive, unit, expected in ((False, 2, whole), (True, 4, split)):
        loss, rows = held(workload)
        sizes = sizes_of(small=4, independent=False, additive=additive, unit=unit)
        two_batch(loss, batch, sizes, rows, draw=0)
        per_example(loss, batch, sizes, rows, draw=0)
        assert values(rows.rows, "gradient_square", 8) == pytest.approx(expected, rel=1e-4)
        assert values(rows.rows, "gradient_square", 4) == pytest.approx(np.mean([square(g) for g in halves]), rel=1e-4)
        assert {row.name for row in rows.rows} == {"gradient_square"}


def dense_hessian(workload, model, batch):
    """Row by row, from the first gradient."""
    parameters = list(model.parameters())
    first = torch.autograd.grad(workload.loss(model, batch), parameters, create_graph=True)
    flat = torch.cat([g.flatten() for g in first])
    return torch.stack(
        [
            torch.cat([h.flatten() for h in torch.autograd.grad(element, parameters, retain_graph=True)])
            for element in flat
        ]
    )


@pytest.mark.parametrize("name", ["small-cnn", "dense-quadratic"])
@pytest.mark.parametrize("pass_size", [8, 3])
def test_products_equal_the_dense_hessian(name, pass_size):
    workload = workload_named(name)
    batch = next(workload.train_batches(batch_size=8, seed=3))
    loss, _ = held(workload)
    curvature = CurvatureBatch(loss, batch, size=8, pass_size=pass_size, seed=0)
    vectors = [random_signs(loss.parameters, seed=seed) for seed in range(3)]
    dense = dense_hessian(workload, workload.build_model(seed=0), batch)
    for _ in range(2):  # the second time with the graph that was kept
        for vector, product in zip(vectors, curvature.products(vectors), strict=True):
            expected = dense @ torch.cat([v.flatten() for v in vector])
            torch.testing.assert_close(torch.cat([p.flatten() for p in product]), expected, rtol=1e-4, atol=1e-5)


def held_targets(workload, model):
    """SimSiam's loss with its targets at the weights of ``model``, as a stop-gradient means it."""

    def targets(batch):
        with torch.no_grad():
            return [copy.deepcopy(model).project(view) for view in batch]

    def loss(moved, batch):
        z1, z2 = targets(batch)
        p1, p2 = (moved.predictor(moved.project(view)) for view in batch)
        return -0.5 * (functional.cosine_similarity(p1, z2).mean() + functional.cosine_similarity(p2, z1).mean())

    return loss


@pytest.mark.parametrize("name", ["bert-mlm", "simsiam"])
def test_products_equal_central_differences_of_gradients_in_double_precision(name):
    workload = workload_named(name)
    batch = next(workload.train_batches(batch_size=8, seed=3))
    held_loss, _ = held(workload)
    direction = random_signs(held_loss.parameters, seed=1)
    curvature = CurvatureBatch(held_loss, batch, size=8, pass_size=8, seed=0)
    (product,) = curvature.products([direction])

    model = workload.build_model(seed=0).double()
    double = map_tensors(lambda t: t.double() if t.is_floating_point() else t, batch)
    loss = workload.loss if name == "bert-mlm" else held_targets(workload, copy.deepcopy(model))

    def gradient(distance):
        moved = copy.deepcopy(model)
        with torch.no_grad():
            for parameter, part in zip(trained(moved), direction, strict=True):
                parameter.add_(part.double(), alpha=distance)
        found = torch.autograd.grad(loss(moved, double), trained(moved), allow_unused=True)
        return [torch.zeros_like(p) if g is None else g for g, p in zip(found, trained(moved), strict=True)]

    step = 1e-6
    scale = max(float(p.abs().max()) for p in product)
    for got, high, low in zip(product, gradient(step), gradient(-step), strict=True):
        torch.testing.assert_close(got.double(), (high - low) / (2 * step), rtol=2e-3, atol=1e-3 * scale)


def test_the_curvature_of_a_loss_with_dropout_is_one_matrix():
    workload = load_workload("bert-mlm", TINY_BERT | {"dropout": 0.3})
    batch = next(workload.train_batches(batch_size=8, seed=3))
    loss, _ = held(workload)
    curvature = CurvatureBatch(loss, batch, size=8, pass_size=4, seed=5)
    vector, other = (random_signs(loss.parameters, seed=seed) for seed in (0, 1))
    (first,) = curvature.products([vector])
    (again,) = curvature.products([vector])
    (crossed,) = curvature.products([other])
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    forth = sum(float((a * b).sum()) for a, b in zip(other, first, strict=True))
    back = sum(float((a * b).sum()) for a, b in zip(vector, crossed, strict=True))
    assert forth == pytest.approx(back, rel=1e-3)


def curvature_draws(*, count, shift=0.0, reference=None):
    """gᵀHg + tr(HΣ)/b at b = 1 and ``count`` and mᵀHm, for all draws of ``count`` examples out of three with
    replacement, by a dense H; ``shift`` is added to g, and the reference gradient is g unless given."""
    workload = workload_named("dense-quadratic")
    noise = torch.tensor(np.random.default_rng(1).normal(size=(3, workload.dimensions)), dtype=torch.float32) + shift
    gradient = torch.tensor(workload.gradient, dtype=torch.float32) + noise.mean(dim=0)
    sizes = sizes_of(small=1, large=count)
    hessian, lengths = torch.tensor(workload.hessian, dtype=torch.float32), []
    loss, rows = held(workload)
    curvature = CurvatureRows([gradient] if reference is None else reference, sizes, rows)
    for draw, examples in enumerate(itertools.product(range(3), repeat=count)):
        drawn = two_batch(loss, noise[list(examples)], sizes, rows, draw=draw)
        vectors = curvature.vectors(drawn, draw=draw, seed=draw)
        curvature.add(drawn, vectors, [[hessian @ vector[0]] for vector in vectors], draw=draw)
        lengths.append(float(drawn.mean[0] @ hessian @ drawn.mean[0]))
    small, large = (values(rows.rows, "curvature_gradient", size) for size in (1, count))
    met = np.trace(workload.hessian @ np.cov(noise.double().numpy().T, ddof=0))
    along = float(gradient @ hessian @ gradient)
    return (small, along + met), (large, along + met / count), np.array(lengths)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_curvature_along_gradients_has_its_expectation_whatever_the_reference_gradient(count):
    for reference in (None, [torch.full((12,), 3.0)]):
        for found, expected in curvature_draws(count=count, reference=reference)[:2]:
            assert np.mean(found) == pytest.approx(expected, rel=1e-5)


def test_an_exact_reference_gradient_leaves_noise_alone_in_the_curvature_that_noise_meets():
    (small, _), (large, _), lengths = curvature_draws(count=4)
    (small_far, _), (large_far, _), lengths_far = curvature_draws(count=4, shift=-20.0)
    assert np.std(lengths_far) > 3 * np.std(lengths)
    rounding = 1e-6 * np.max(lengths_far)
    assert small_far - large_far == pytest.approx(small - large, abs=10 * rounding)
    assert large_far - lengths_far == pytest.approx(large - lengths, abs=10 * rounding)


def test_parts_of_parameter_tensors_add_up_to_the_whole():
    rows = probe(
        workload_named("small-cnn"),
        {
            "steps": [0],
            "per_layer": True,
            "draws": 2,
            "per_example_draws": 2,
            "quantities": ["two_batch", "per_example", "curvature", "one_step"],
        },
        batch_size=8,
        optimizer="adamw",
    )
    whole = [row for row in rows if row.scope == "all"]
    assert {row.scope for row in rows} == {"all", "0.weight", "0.bias", "3.weight", "3.bias"}
    assert {row.name for row in whole} == {
        "gradient_square", "example_square", "curvature_gradient", "hessian_trace", "gradient_l1", "curvature_sign",
        "noise_to_signal", "update_gradient", "update_curvature", "update_square",
    }  # fmt: skip
    for row in whole:
        parts = [
            part
            for part in rows
            if (part.name, part.batch_size, part.draw) == (row.name, row.batch_size, row.draw) and part.scope != "all"
        ]
        assert len(parts) == 4
        assert sum(part.total for part in parts) == pytest.approx(row.total, rel=1e-9, abs=1e-12)
        if row.name == "noise_to_signal":
            assert sum(part.count for part in parts) == row.count
        else:
            assert {part.count for part in parts} == {row.count}


def test_noise_to_signal_is_debiased_where_it_can_be_and_bounded_where_not():
    _, rows = held(workload_named("quadratic"))
    variance = torch.tensor([4.0, 4.0, 4.0, 0.0] + [0.0] * 6)
    mean = torch.tensor([3.0, 0.5, 0.0, 0.0] + [1.0] * 6)
    drawn = TwoBatch(mean=[mean], contrast=[mean], variance=[variance])
    add_noise_to_signal(drawn, [mean], sizes_of(reference=8), rows, draw=0)
    # 4/(9 − 4/8); then 0.25 − 0.5 < 0.5 and 0 − 0.5 < 0.5, so 4/(4/8) = R twice; the others have no noise.
    assert [(row.total, row.count) for row in rows.rows if row.scope == "all"] == [
        (pytest.approx(4.0 / 8.5 + 8.0 + 8.0), 3)
    ]


@pytest.mark.parametrize("clipping", [0.0, 0.3])
@pytest.mark.parametrize(
    ("optimizer", "own"),
    [
        ("sgd", {}),
        ("momentum", {}),
        ("ema-momentum", {}),
        ("adamw", {}),
        ("sign-sgd", {}),
        ("sign-sgd", {"momentum": 0.9}),
        ("lamb", {}),
        ("muon", {}),
        ("lion", {}),
    ],
)
def test_directions_are_the_steps_that_the_run_then_takes(optimizer, own, clipping):
    workload = workload_named("bert-mlm")
    settings = run_settings(
        optimizer=optimizer, optimizer_settings=own, learning_rate=0.01, engine={"gradient_clipping": clipping}
    )
    engine = DeepSpeedEngine(workload, settings)
    batches = workload.train_batches(batch_size=8, seed=0)
    for _ in range(3):
        engine.step(next(batches), rate_factor=1.0)
    batch = next(batches)
    module = LossModule(workload, copy.deepcopy(engine.model))
    loss = HeldLoss(workload, engine.model, held(workload)[0].cost)
    direction = Direction(module, settings, batch_size=8)
    found = []
    for _ in range(2):  # from the run's state each time
        direction.begin_at(engine.optimizer, loss.parameters)
        found.append(direction.of(loss.gradient(batch, size=8, pass_size=8)))
    before = [p.detach().clone() for p in trained(engine.model)]
    engine.step(batch, rate_factor=1.0)
    scale = max(float(part.abs().max()) for part in found[0])
    for start, parameter, first, second in zip(before, trained(engine.model), *found, strict=True):
        assert torch.equal(first, second)
        taken = (start - parameter.detach()) / 0.01
        rounding = 1e-7 * float(start.abs().max()) / 0.01  # of the run's own step
        torch.testing.assert_close(first, taken, rtol=1e-3, atol=1e-4 * scale + rounding)


def test_weight_decay_is_no_part_of_a_direction():
    workload = workload_named("small-cnn")
    found = {}
    for decay in (0.0, 0.5):
        settings = run_settings(optimizer="adamw", optimizer_settings={"weight_decay": decay})
        module = LossModule(workload, workload.build_model(seed=0))
        direction = Direction(module, settings, batch_size=8)
        batch = next(workload.train_batches(batch_size=8, seed=0))
        direction.begin()
        found[decay] = direction.of(plain_gradient(workload, batch))
    assert all(torch.equal(a, b) for a, b in zip(found[0.0], found[0.5], strict=True))


def test_a_half_life_in_examples_is_that_of_the_directions_batch_size():
    workload = workload_named("small-cnn")
    own = {"beta1": 0.0, "beta2_half_life_examples": 64.0, "epsilon": 1e-12}
    settings = run_settings(optimizer="adamw", optimizer_settings=own)
    module = LossModule(workload, workload.build_model(seed=0))
    direction = Direction(module, settings, batch_size=64)  # β₂ = 1/2
    ones = [torch.ones_like(p) for p in module.parameters()]
    direction.begin()
    direction.of([3.0 * x for x in ones])
    # v̂ = (½·½·9 + ½·1)/(1 − ¼)
    for part in direction.of(ones):
        torch.testing.assert_close(part, torch.full_like(part, ((9 / 4 + 1 / 2) / (3 / 4)) ** -0.5))


def test_draws_of_the_ladder_contain_each_other_and_lines_are_the_held_out_loss():
    workload = workload_named("small-cnn")
    rows = probe(
        workload,
        {
            "steps": [0],
            "draws": 2,
            "quantities": ["two_batch", "one_step", "line_search"],
            "ladder": [2, 8],
            "line_rate_factors": [1.0, 2.0],
            "curvature_batch_size": 16,
            "reference_batch_size": 16,
        },
        batch_size=8,
        learning_rate=0.01,
    )
    # SGD's direction at the large batch is the gradient whose square the two-batch rows hold.
    assert values(rows, "update_square", 8) == pytest.approx(values(rows, "gradient_square", 8), rel=1e-4)
    start = values(rows, "line_loss", 8, rate=0.0)
    assert start[0] == start[1]
    first_order = values(rows, "update_gradient", 8)
    second_order = values(rows, "update_curvature", 8)
    for rate in (0.01, 0.02):
        third_order = 50.0 * rate**3
        assert max(0.5 * rate**2 * second_order) > 2 * third_order
        expected = -rate * first_order + 0.5 * rate**2 * second_order
        assert values(rows, "line_loss", 8, rate=rate) - start == pytest.approx(expected, abs=third_order)


def test_passes_of_unequal_sizes_are_weighed_by_their_examples():
    workload = workload_named("small-cnn")
    batch = next(workload.train_batches(batch_size=8, seed=3))
    loss, _ = held(workload)
    for got, expected in zip(loss.gradient(batch, size=8, pass_size=3), plain_gradient(workload, batch), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-7)
    model = workload.build_model(seed=0)
    assert loss.value(batch, size=7, pass_size=3) == pytest.approx(workload.loss(model, cut(batch, 0, 7)).item())
