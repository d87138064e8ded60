"""The noise monitor against exact values, against gradients of single examples by autograd, and misuse."""

import copy
import math

import pytest
import torch
from torch import nn

from trainers.errors import SettingsError
from trainers.noise_monitor import NoiseMonitor


class Quadratic(nn.Module):
    """Loss ½|θ − x|² of an example x: gradient θ − x, so g = θ − E x and Σ = Cov x, known exactly."""

    def __init__(self, start):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(start, dtype=torch.float64))

    def forward(self, x):
        return 0.5 * (self.theta - x).square().sum(dim=-1).mean()


def perceptron(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()


def example_gradients(model, loss, examples):
    """One plain backward pass an example, the gradient as one vector a row."""
    rows = []
    for example in examples:
        gradients = torch.autograd.grad(loss(model, example), list(model.parameters()))
        rows.append(torch.cat([gradient.flatten() for gradient in gradients]))
    return torch.stack(rows)


def slow_two_batch(parts, sizes):
    """|g|² and tr Σ from the mean gradients of equal micro-batches by the two-batch formulas of the theory."""
    small, big = sizes[0], sum(sizes)
    small_square = torch.stack(parts).square().sum(dim=1).mean()
    big_square = torch.stack(parts).mean(dim=0).square().sum()
    grad_sq = (big * big_square - small * small_square) / (big - small)
    return float(grad_sq), float((small_square - big_square) / (1 / small - 1 / big))


def run(monitor, model, steps, *, optimizer=None, clip=None):
    for micro_batches in steps:
        for x in micro_batches:
            (model(x) / len(micro_batches)).backward()
            monitor.after_micro_batch(examples=len(x))
        with monitor.step():
            if clip:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            if optimizer:
                optimizer.step()
        model.zero_grad()
    return monitor.estimate()


def test_known_gradient_and_covariance_of_a_quadratic_are_recovered():
    generator = torch.Generator().manual_seed(1)
    mean, scale = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([1.0, 2.0, 3.0])
    model = Quadratic([0.0, 0.0, 0.0])
    monitor = NoiseMonitor(model, every=1)
    draws = (mean + scale * torch.randn(4, 8, 3, generator=generator) for _ in range(1500))
    got = run(monitor, model, (x.double() for x in draws))
    grad_sq, grad_var = float(mean.square().sum()), float(scale.square().sum())  # 5.25 and 14
    assert got.status == "ok"
    assert (got.steps, got.skipped_steps, got.examples_per_step) == (1500, 0, 32.0)
    assert got.grad_sq == pytest.approx(grad_sq, rel=0.05)
    assert got.grad_var == pytest.approx(grad_var, rel=0.05)
    assert got.b_simple == pytest.approx(got.grad_var / got.grad_sq)
    assert got.b_simple_interval[0] < grad_var / grad_sq < got.b_simple_interval[1]
    assert got.grad_sq_interval[0] < grad_sq < got.grad_sq_interval[1]
    assert got.grad_var_interval[0] < grad_var < got.grad_var_interval[1]
    assert got.b_simple_interval[1] / got.b_simple_interval[0] < 1.3


def test_unequal_micro_batches_are_unbiased_where_each_counts_alike():
    """The mean over all orders in which three fixed examples fill micro-batches of one and two is exact."""
    import itertools

    examples = torch.tensor([[1.0, 0.0], [0.0, 3.0], [-2.0, 1.0]], dtype=torch.float64)
    model = Quadratic([0.5, 0.5])
    monitor = NoiseMonitor(model, every=1)
    # All draws with replacement: expectations over independent examples become plain means.
    got = run(monitor, model, ((examples[[i]], examples[[j, k]]) for i, j, k in itertools.product(range(3), repeat=3)))
    gradients = model.theta.detach() - examples
    assert got.grad_sq == pytest.approx(float(gradients.mean(dim=0).square().sum()))
    assert got.grad_var == pytest.approx(float((gradients - gradients.mean(dim=0)).square().sum(dim=1).mean()))


def test_equal_micro_batches_give_the_two_batch_formulas_on_single_example_gradients():
    model = perceptron()
    data = torch.randn(5, 3, 4, 5, dtype=torch.float64)

    def loss(model, x):
        return model(x).square().mean()

    expected = []
    for micro_batches in data:
        parts = [example_gradients(model, loss, x).mean(dim=0) for x in micro_batches]
        expected.append(slow_two_batch(parts, [4, 4, 4]))
    monitor = NoiseMonitor(model, every=1)
    for micro_batches in data:
        for x in micro_batches:
            (loss(model, x) / 3).backward()
            monitor.after_micro_batch(examples=4)
        with monitor.step():
            pass
        model.zero_grad()
    got = monitor.estimate()
    assert got.grad_sq == pytest.approx(sum(e[0] for e in expected) / 5, rel=1e-10)
    assert got.grad_var == pytest.approx(sum(e[1] for e in expected) / 5, rel=1e-10)


def test_a_varying_number_of_terms_is_weighed_as_the_loss_weighs_it():
    """Each example has 0 to 3 terms and the loss is the mean over all terms of the step: the slow sibling builds the
    weighted sums from gradients of single terms, with every term an independent draw from three fixed ones."""
    import itertools

    terms = torch.tensor([[1.0, 2.0], [0.0, -1.0], [4.0, 0.5]], dtype=torch.float64)
    model = Quadratic([0.5, 0.5])
    monitor = NoiseMonitor(model, loss_mean_over="step", every=1)
    for i, j, k, m in itertools.product(range(3), repeat=4):
        for piece, examples in ((terms[[i]], 1), (terms[[j, k, m]], 3)):
            (0.5 * (model.theta - piece).square().sum() / 4).backward()
            monitor.after_micro_batch(examples=examples, terms=torch.tensor(len(piece)))
        with monitor.step():
            pass
        model.zero_grad()
    got = monitor.estimate()
    gradients = model.theta.detach() - terms
    assert got.grad_sq == pytest.approx(float(gradients.mean(dim=0).square().sum()))
    # Four examples with four terms: one term an example, so that its variance is a term's.
    assert got.grad_var == pytest.approx(float((gradients - gradients.mean(dim=0)).square().sum(dim=1).mean()))


def test_equal_weights_would_be_wrong_there():
    weighted, equal = [], []
    for mode, found in (("step", weighted), ("micro_batch", equal)):
        model = Quadratic([3.0])
        monitor = NoiseMonitor(model, loss_mean_over=mode, every=1)
        for x in (torch.ones(1, 1).double(), torch.ones(3, 1).double()):
            (0.5 * (model.theta - x).square().sum() / 4).backward()
            monitor.after_micro_batch(examples=len(x))
        with monitor.step():
            pass
        found.append(monitor.estimate().grad_sq)
    assert weighted == pytest.approx([4.0])  # no noise: |g|² exactly
    assert abs(equal[0] - 4.0) > 0.5


def test_clipping_and_the_optimiser_step_leave_no_trace():
    data = torch.randn(20, 2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    free = run(NoiseMonitor(model := Quadratic([1.0, 2.0, 3.0]), every=1), model, data)
    model = Quadratic([1.0, 2.0, 3.0])
    clipped = run(NoiseMonitor(model, every=1), model, data, clip=1e-3)
    assert (clipped.grad_sq, clipped.grad_var) == (free.grad_sq, free.grad_var)


def test_a_monitored_run_is_the_run_itself():
    data = torch.randn(12, 2, 4, 3, dtype=torch.float64)
    models = [Quadratic([1.0, 2.0, 3.0]) for _ in range(2)]
    for model, every in zip(models, (1, 5), strict=True):
        run(NoiseMonitor(model, every=every), model, data, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    bare, optimizer = Quadratic([1.0, 2.0, 3.0]), None
    optimizer = torch.optim.SGD(bare.parameters(), lr=0.1)
    for micro_batches in data:
        for x in micro_batches:
            (bare(x) / 2).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert torch.equal(models[0].theta, bare.theta)
    assert torch.equal(models[1].theta, bare.theta)


def test_every_measures_one_step_in_so_many():
    data = torch.randn(20, 2, 4, 3, dtype=torch.float64)
    model = Quadratic([1.0, 2.0, 3.0])
    some = run(NoiseMonitor(model, every=5), model, data)
    assert some.steps == 4
    model = Quadratic([1.0, 2.0, 3.0])
    alone = run(NoiseMonitor(model, every=1), model, data[::5])
    assert (some.grad_sq, some.grad_var) == (alone.grad_sq, alone.grad_var)


def test_a_loss_scaler_leaves_no_trace_and_its_skipped_steps_do_not_count():
    data = torch.randn(12, 2, 4, 3, generator=torch.Generator().manual_seed(3))
    plain_model, model = (Quadratic([1.0, 2.0, 3.0]).float() for _ in range(2))
    plain = run(NoiseMonitor(plain_model, every=1), plain_model, data)
    monitor = NoiseMonitor(model, every=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=5)
    bad = torch.full((1, 2, 4, 3), math.inf)
    for micro_batches in torch.cat([data[:6], bad, data[6:]]):
        for x in micro_batches:
            scaler.scale(model(x) / 2).backward()
            monitor.after_micro_batch(examples=4)
        with monitor.step(loss_scale=scaler.get_scale()):
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            scaler.step(optimizer)
            scaler.update()
        model.zero_grad()
    got = monitor.estimate()
    assert (got.steps, got.skipped_steps) == (12, 1)
    assert got.grad_sq == pytest.approx(plain.grad_sq, rel=1e-5)
    assert got.grad_var == pytest.approx(plain.grad_var, rel=1e-5)


def test_bfloat16_norms_are_summed_in_float32():
    torch.manual_seed(0)
    exact = nn.Linear(64, 64, bias=False)
    half = copy.deepcopy(exact).bfloat16()
    data = torch.randn(8, 2, 8, 64)
    results = []
    for model, dtype in ((exact, torch.float32), (half, torch.bfloat16)):
        monitor = NoiseMonitor(model, every=1)
        for micro_batches in data.to(dtype):
            for x in micro_batches:
                (model(x).float().square().mean() / 2).backward()
                monitor.after_micro_batch(examples=8)
            with monitor.step():
                pass
            model.zero_grad()
        results.append(monitor.estimate())
    assert results[1].grad_var == pytest.approx(results[0].grad_var, rel=5e-3)


def test_parameters_without_a_gradient_and_shared_ones_are_as_autograd_sees_them():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.used = nn.Parameter(torch.tensor([2.0, 1.0]))
            self.unused = nn.Parameter(torch.ones(3))
            self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)

        def forward(self, x):
            return ((self.used * x).sum(dim=1) + (self.used * self.frozen * x).sum(dim=1)).mean()

    model = Tied()
    monitor = NoiseMonitor(model, every=1)
    x = torch.tensor([[1.0, 2.0]])
    for _ in range(2):
        (model(x) / 2).backward()
        monitor.after_micro_batch(examples=1)
    with monitor.step():
        pass
    assert monitor.estimate().grad_sq == pytest.approx(4.0 * 5.0)  # the gradient is 2x


class TestMisuse:
    def setup_method(self):
        self.model = Quadratic([1.0, 2.0])
        self.monitor = NoiseMonitor(self.model, every=1)
        self.x = torch.randn(4, 2, dtype=torch.float64)

    def micro_batch(self):
        (self.model(self.x) / 2).backward()
        self.monitor.after_micro_batch(examples=4)

    def test_no_backward(self):
        with pytest.raises(RuntimeError, match="must follow a backward pass"):
            self.monitor.after_micro_batch(examples=4)

    def test_two_backwards_in_one(self):
        self.model(self.x).backward()
        self.model(self.x).backward()
        with pytest.raises(RuntimeError, match="theta received two gradients"):
            self.monitor.after_micro_batch(examples=4)

    def test_backward_after_the_last_call(self):
        self.micro_batch()
        self.model(self.x).backward()
        with pytest.raises(RuntimeError, match="after every backward"), self.monitor.step():
            pass

    def test_step_without_a_micro_batch(self):
        with pytest.raises(RuntimeError, match="at least one after_micro_batch"), self.monitor.step():
            pass

    def test_one_micro_batch_a_step(self):
        self.micro_batch()
        with pytest.raises(SettingsError, match="at least two micro-batches or workers"), self.monitor.step():
            pass

    def test_one_micro_batch_in_a_later_step_is_passed_over(self):
        for count in (2, 1, 2):
            for _ in range(count):
                self.micro_batch()
            with self.monitor.step():
                pass
            self.model.zero_grad()
        got = self.monitor.estimate()
        assert (got.steps, got.skipped_steps) == (2, 1)

    @pytest.mark.parametrize("change", [lambda p: nn.utils.clip_grad_norm_(p, 0.1), lambda p: p[0].grad.mul_(0.5)])
    def test_clipping_before_the_step(self, change):
        self.micro_batch()
        self.micro_batch()
        change(list(self.model.parameters()))
        with pytest.raises(RuntimeError, match="move clipping"), self.monitor.step():
            pass

    def test_gradients_cleared_before_the_step(self):
        self.micro_batch()
        self.micro_batch()
        self.model.zero_grad()
        with pytest.raises(RuntimeError, match="gradients were changed"), self.monitor.step():
            pass

    def test_gradients_never_cleared(self):
        for _ in range(7):
            self.micro_batch()
            self.micro_batch()
            with self.monitor.step():
                pass
        with pytest.raises(RuntimeError, match="clear the gradients after each step"):
            self.monitor.estimate()

    def test_a_step_that_fails_is_forgotten(self):
        self.micro_batch()
        self.micro_batch()
        with pytest.raises(ZeroDivisionError), self.monitor.step():
            raise ZeroDivisionError
        self.model.zero_grad()
        for _ in range(2):
            self.micro_batch()
        with self.monitor.step():
            pass
        assert self.monitor.estimate().examples_per_step == 8

    def test_a_step_given_up_is_forgotten(self):
        self.micro_batch()
        self.model(self.x).backward()
        self.monitor.discard_step()
        self.model.zero_grad()
        for _ in range(2):
            self.micro_batch()
        with self.monitor.step():
            pass
        got = self.monitor.estimate()
        assert (got.steps, got.examples_per_step) == (1, 8)
        gradient = (self.model.theta - self.x.mean(dim=0)).detach()
        assert got.grad_sq == pytest.approx(float(gradient.square().sum()))

    @pytest.mark.parametrize("examples", [0, -1, 2.5, True, None])
    def test_examples_that_are_no_count(self, examples):
        self.model(self.x).backward()
        with pytest.raises(ValueError, match="examples must be a positive number"):
            self.monitor.after_micro_batch(examples)

    def test_bad_settings(self):
        with pytest.raises(SettingsError, match="every must be at least 1"):
            NoiseMonitor(self.model, every=0)
        with pytest.raises(SettingsError, match="loss_mean_over must be"):
            NoiseMonitor(self.model, loss_mean_over="tokens")
        with pytest.raises(SettingsError, match="needs a parameter with requires_grad"):
            NoiseMonitor(nn.ReLU())
        with pytest.raises(SettingsError, match="sparse=True"):
            NoiseMonitor(nn.Embedding(3, 2, sparse=True))
        with pytest.raises(ValueError, match="level must be between"):
            self.monitor.estimate(level=1.0)

    def test_closed_monitors_leave_the_model_alone(self):
        self.monitor.close()
        self.monitor.close()
        self.model(self.x).backward()
        self.monitor.after_micro_batch(examples=4)
        with self.monitor.step():
            pass
        assert self.monitor.estimate().status == "not_resolved"
        assert not self.model.theta._backward_hooks
