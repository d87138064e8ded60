"""Each optimiser against a few lines of NumPy, on gradients that do not depend on the weights."""

import numpy as np
import pytest
import torch
from pytorch_optimizer import Lamb as LibraryLamb
from torch import nn

from trainers.errors import SettingsError
from trainers.optimizers import ELEMENTWISE, OPTIMIZERS, build_optimizer, validate_optimizer

RATE, DECAY, STEPS = 0.05, 0.1, 7


def make_model(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 3)).double()


def make_gradients(model: nn.Module, seed: int = 1) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [{name: rng.normal(size=p.shape) for name, p in model.named_parameters()} for _ in range(STEPS)]


def train(name: str, settings: dict, *, batch_size: int = 1, model: nn.Module | None = None) -> dict[str, np.ndarray]:
    model = model or make_model()
    optimizer = build_optimizer(name, settings, model, learning_rate=RATE, batch_size=batch_size)
    return apply(optimizer, model)


def apply(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, np.ndarray]:
    for gradients in make_gradients(model):
        for key, parameter in model.named_parameters():
            parameter.grad = torch.from_numpy(gradients[key].copy())
        optimizer.step()
    return {key: parameter.detach().numpy() for key, parameter in model.named_parameters()}


def reference(update, *, weight_decay: float = DECAY) -> dict[str, np.ndarray]:
    """Run ``update(w, g, state, step, decay)`` -> w on each tensor by itself; vectors get no decay."""
    model = make_model()
    weights = {name: p.detach().numpy().copy() for name, p in model.named_parameters()}
    states = {name: {"m": np.zeros_like(w), "v": np.zeros_like(w)} for name, w in weights.items()}
    for step, gradients in enumerate(make_gradients(model), start=1):
        for name, w in weights.items():
            decay = weight_decay if w.ndim >= 2 else 0.0
            weights[name] = update(w, gradients[name], states[name], step, decay)
    return weights


def sgd(w, g, _state, _step, decay):
    return w - RATE * (g + decay * w)


def heavy_ball(w, g, state, _step, decay):
    state["m"] = 0.8 * state["m"] + g + decay * w
    return w - RATE * state["m"]


def average(w, g, state, _step, decay):
    state["m"] = 0.8 * state["m"] + 0.2 * (g + decay * w)
    return w - RATE * state["m"]


def adam_direction(g, state, step, beta1, beta2, epsilon):
    state["m"] = beta1 * state["m"] + (1 - beta1) * g
    state["v"] = beta2 * state["v"] + (1 - beta2) * g**2
    return state["m"] / (1 - beta1**step) / (np.sqrt(state["v"] / (1 - beta2**step)) + epsilon)


def adamw(w, g, state, step, decay):
    return w - RATE * decay * w - RATE * adam_direction(g, state, step, 0.8, 0.95, 1e-8)


def sign(w, g, _state, _step, decay):
    return w - RATE * decay * w - RATE * np.sign(g)


def signum(w, g, state, _step, decay):
    state["m"] = 0.8 * state["m"] + 0.2 * g
    return w - RATE * decay * w - RATE * np.sign(state["m"])


def lion(w, g, state, _step, decay):
    direction = np.sign(0.7 * state["m"] + 0.3 * g)
    state["m"] = 0.9 * state["m"] + 0.1 * g
    return w - RATE * decay * w - RATE * direction


def lamb(w, g, state, step, decay):
    update = adam_direction(g, state, step, 0.8, 0.95, 1e-6) + decay * w
    ratio = np.sqrt((w**2).sum() / (update**2).sum()) if w.ndim >= 2 else 1.0
    return w - RATE * ratio * update


@pytest.mark.parametrize(
    ("name", "settings", "update"),
    [
        ("sgd", {}, sgd),
        ("momentum", {"momentum": 0.8}, heavy_ball),
        ("ema-momentum", {"momentum": 0.8}, average),
        ("adamw", {"betas": [0.8, 0.95]}, adamw),
        ("sign-sgd", {}, sign),
        ("sign-sgd", {"momentum": 0.8}, signum),
        ("lion", {"betas": [0.7, 0.9]}, lion),
        ("lamb", {"betas": [0.8, 0.95]}, lamb),
    ],
)
def test_steps_follow_the_formula_and_vectors_do_not_decay(name, settings, update):
    found = train(name, {**settings, "weight_decay": DECAY})
    for key, expected in reference(update).items():
        np.testing.assert_allclose(found[key], expected, rtol=1e-9, atol=1e-12, err_msg=key)


def test_an_average_of_gradients_is_heavy_ball_at_a_smaller_rate():
    averaged = train("ema-momentum", {"momentum": 0.8})
    model = make_model()
    ball = build_optimizer("momentum", {"momentum": 0.8}, model, learning_rate=0.2 * RATE, batch_size=1)
    for key, expected in apply(ball, model).items():
        np.testing.assert_allclose(averaged[key], expected, rtol=1e-10)


def test_lamb_is_that_of_a_library_where_debiasing_cancels():
    """Without decay the trust ratio cancels the debiasing; the library bounds norms by 10 and never debiases."""
    model, other = make_model(), make_model()
    ours = train("lamb", {"epsilon": 1e-12}, model=model)
    library = LibraryLamb(other.parameters(), lr=RATE, betas=(0.9, 0.999), eps=1e-12, adam_debias=True)
    for key, expected in apply(library, other).items():
        if expected.ndim >= 2:
            np.testing.assert_allclose(ours[key], expected, rtol=1e-5)


def make_deep_model() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("embed", nn.Embedding(5, 8))
    model.add_module("tall", nn.Linear(8, 16))
    model.add_module("wide", nn.Linear(16, 8))
    model.add_module("norm", nn.LayerNorm(8))
    model.add_module("head", nn.Linear(8, 5))
    return model.double()


def test_muon_trains_hidden_matrices_as_torch_does_and_the_rest_as_adamw_does():
    model = make_deep_model()
    ours = train("muon", {"weight_decay": DECAY, "adamw_rate_ratio": 0.5}, model=model)
    other = make_deep_model()
    hidden = {"tall.weight", "wide.weight"}
    named = dict(other.named_parameters())
    muon = torch.optim.Muon(
        [named[key] for key in sorted(hidden)],
        lr=RATE,
        weight_decay=DECAY,
        momentum=0.95,
        adjust_lr_fn="match_rms_adamw",
    )
    matrices = [named["embed.weight"], named["head.weight"]]
    vectors = [p for p in named.values() if p.ndim == 1]
    adam = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0.0}],
        lr=0.5 * RATE,
        betas=(0.9, 0.95),
    )
    for gradients in make_gradients(other):
        for key, parameter in named.items():
            parameter.grad = torch.from_numpy(gradients[key].copy())
        muon.step()
        adam.step()
    for key, parameter in named.items():
        # Both orthogonalise in bfloat16, whose unit of rounding is 2⁻⁸; sums may be in another order.
        tolerance = 0.02 * RATE * STEPS if key in hidden else 1e-9
        np.testing.assert_allclose(ours[key], parameter.detach().numpy(), atol=tolerance, rtol=0, err_msg=key)


def test_muons_step_is_nearly_orthogonal_and_of_adamws_size():
    model = make_deep_model()
    before = model.wide.weight.detach().clone()
    optimizer = build_optimizer("muon", {}, model, learning_rate=1.0, batch_size=1)
    for key, parameter in model.named_parameters():
        parameter.grad = torch.from_numpy(make_gradients(model)[0][key])
    optimizer.step()
    moved = torch.linalg.svdvals(before - model.wide.weight.detach()) / (0.2 * 16**0.5)
    # Five steps of the quintic iteration bring singular values between 0.68 and 1.13 (Jordan 2024).
    assert moved.min() > 0.6
    assert moved.max() < 1.25


def test_muon_leaves_tied_embeddings_to_adamw_and_refuses_a_model_without_hidden_matrices():
    model = make_deep_model()
    model.wide = nn.Linear(8, 5).double()
    model.wide.weight = model.embed.weight
    groups = build_optimizer("muon", {}, model, learning_rate=RATE, batch_size=1).param_groups
    hidden = [p for group in groups if group["use_muon"] for p in group["params"]]
    assert [id(p) for p in hidden] == [id(model.tall.weight)]
    settings = {"adamw_modules": ["tall", "head"]}
    with pytest.raises(SettingsError, match="change adamw_modules or use adamw"):
        build_optimizer("muon", settings, model, learning_rate=RATE, batch_size=1)


def test_frozen_parameters_are_left_out():
    for name in OPTIMIZERS:
        model = make_model()
        model[0].weight.requires_grad_(False)
        optimizer = build_optimizer(name, {}, model, learning_rate=RATE, batch_size=1)
        taken = {id(p) for group in optimizer.param_groups for p in group["params"]}
        assert taken == {id(p) for p in model.parameters() if p.requires_grad}


@pytest.mark.parametrize("name", ["adamw", "lamb"])
def test_a_half_life_in_examples_halves_the_weight_of_a_squared_gradient(name):
    settings = {"beta2_half_life_examples": 640.0}
    for batch_size in (1, 32, 640):
        optimizer = build_optimizer(name, settings, make_model(), learning_rate=RATE, batch_size=batch_size)
        beta1, beta2 = optimizer.param_groups[0]["betas"]
        assert beta1 == 0.9
        assert beta2 ** (640 / batch_size) == pytest.approx(0.5)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_the_rate_is_given_unchanged_whatever_the_batch_size(name):
    for batch_size in (1, 4096):
        optimizer = build_optimizer(name, {}, make_model(), learning_rate=RATE, batch_size=batch_size)
        assert {group["lr"] for group in optimizer.param_groups} == {RATE}
        assert {group["weight_decay"] for group in optimizer.param_groups} == {0.0}


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_elementwise_means_that_a_flattened_copy_moves_alike(name):
    """ZeRO flattens tensors: the marked optimisers must not notice, the others must be known to."""

    class Flat(nn.Module):
        def __init__(self, values: torch.Tensor) -> None:
            super().__init__()
            self.hidden = nn.Parameter(values.clone())

    torch.manual_seed(3)
    values, gradients = torch.randn(6, 4, dtype=torch.float64), torch.randn(STEPS, 6, 4, dtype=torch.float64)
    shaped, halves = Flat(values), [Flat(part) for part in (values[:3], values[3:])]
    optimizers = [build_optimizer(name, {}, model, learning_rate=RATE, batch_size=1) for model in (shaped, *halves)]
    for gradient in gradients:
        for model, part in zip((shaped, *halves), (gradient, gradient[:3], gradient[3:]), strict=True):
            model.hidden.grad = part.clone()
        for optimizer in optimizers:
            optimizer.step()
    alike = torch.allclose(shaped.hidden, torch.cat([half.hidden for half in halves]), rtol=1e-12)
    assert alike == (name in ELEMENTWISE)


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("adam", {}, "must be one of sgd, momentum, .*but got 'adam'"),
        ("sgd", {"momentum": 0.9}, r"weight_decay \(0.0\), but got momentum"),
        ("lion", {"beta": 1}, r"betas \(\(0.9, 0.99\)\), but got beta"),
        ("momentum", {"momentum": 1.0}, "less than 1, but got 1.0"),
        ("momentum", {"momentum": "0.9"}, "momentum.*'0.9'"),
        ("adamw", {"betas": [0.9, 1.0]}, "betas.*less than 1, but got 1.0"),
        ("adamw", {"betas": [0.9]}, "betas"),
        ("adamw", {"weight_decay": -0.1}, "greater than or equal to 0, but got -0.1"),
        ("adamw", {"betas": [0.9, 0.99], "beta2_half_life_examples": 10.0}, "betas excludes"),
        ("adamw", {"beta1": 0.9}, "beta1 goes with"),
        ("adamw", {"beta2_half_life_examples": 0.0}, "greater than 0"),
        ("muon", {"adamw_rate_ratio": 0.0}, "greater than 0"),
    ],
)
def test_wrong_settings_are_named_before_anything_is_built(name, settings, said):
    with pytest.raises(SettingsError, match=said):
        validate_optimizer(name, settings)
