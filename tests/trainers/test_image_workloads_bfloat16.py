"""Image workloads in bfloat16: DeepSpeed casts weights and leaves buffers in float32."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from trainers.loop import Measured, train
from trainers.workloads import load_workload
from trainers.workloads.batch_norm import float32_batch_norm
from trainers.workloads.gan_networks import Discriminator
from trainers.workloads.simsiam import negative_cosine

from .helpers import run_settings

SMALL_GAN = {"latent_size": 4, "generator_width": 4, "discriminator_width": 4}
SHAPE = torch.Size((1, 8, 8))


def cast_as_deepspeed_does(module):
    for parameter in module.parameters():
        parameter.data = parameter.data.bfloat16()
    return module


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("gan", {**SMALL_GAN, "objective": "non-saturating"}),
        ("gan", {**SMALL_GAN, "objective": "wgan-gp"}),
        ("gan", {**SMALL_GAN, "objective": "hinge"}),
        ("simsiam", {"width": 4, "projection_size": 8, "predictor_size": 4}),
        ("simsiam", {"width": 4, "projection_size": 8, "predictor_size": 4, "projector_output_norm": False}),
        ("byol", {"width": 4, "hidden_size": 8, "projection_size": 8}),
    ],
)
def test_a_run_in_bfloat16_is_nearly_that_in_float32(name, settings):
    def losses(dtype):
        wanted = run_settings(budget={"steps": 2}, evaluation={"points": 2}, engine={"dtype": dtype})
        events = [e.values for e in train(load_workload(name, settings), wanted) if isinstance(e, Measured)]
        return [values["train_loss"] for values in events[1:]]

    # Eight bits of a loss of one or two, through a few layers.
    assert losses("bfloat16") == pytest.approx(losses("float32"), abs=0.1)


def test_spectral_normalisation_in_bfloat16_follows_the_largest_singular_value_in_float32():
    torch.manual_seed(0)
    net = Discriminator(width=4, shape=SHAPE, batch_norm=False, spectral=True)
    net = cast_as_deepspeed_does(net).bfloat16()
    vectors = [buffer.clone() for buffer in net.buffers()]
    assert {buffer.dtype for buffer in vectors} == {torch.float32}
    for _ in range(100):
        net(torch.zeros(1, *SHAPE, dtype=torch.bfloat16))
    assert any(not torch.equal(a, b) for a, b in zip(vectors, net.buffers(), strict=True))
    net.eval()
    for layer in net.layers:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            assert layer.weight.dtype == torch.bfloat16
            largest = torch.linalg.matrix_norm(layer.weight.detach().float().flatten(1), ord=2)
            assert largest.item() == pytest.approx(1.0, abs=2e-2)


@pytest.mark.parametrize(("layer", "shape"), [(nn.BatchNorm1d, (16, 3)), (nn.BatchNorm2d, (4, 3, 2, 2))])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_batchnorm_of_bfloat16_weights_computes_and_averages_in_float32(layer, shape, momentum):
    torch.manual_seed(0)
    plain, mixed = layer(3, momentum=momentum), float32_batch_norm(nn.Sequential(layer(3, momentum=momentum)))
    with torch.no_grad():
        for norm in (plain, mixed[0]):  # numbers that bfloat16 holds
            norm.weight.copy_(torch.tensor([0.5, 1.0, 2.0]))
            norm.bias.copy_(torch.tensor([0.25, 0.0, -1.0]))
    cast_as_deepspeed_does(mixed)
    for _ in range(3):
        states = torch.randn(shape).bfloat16()
        torch.testing.assert_close(mixed(states).float(), plain(states.float()), rtol=2e-2, atol=2e-2)
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(getattr(mixed[0], name), getattr(plain, name))
    assert mixed[0].num_batches_tracked == plain.num_batches_tracked == 3
    mixed.eval(), plain.eval()
    torch.testing.assert_close(mixed(states).float(), plain(states.float()), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("affine", [True, False])
def test_in_float32_such_a_batchnorm_is_torchs_own_to_the_bit(affine):
    torch.manual_seed(0)
    plain, mixed = nn.BatchNorm2d(3, affine=affine), float32_batch_norm(nn.BatchNorm2d(3, affine=affine))
    for _ in range(2):
        states = torch.randn(4, 3, 5, 5)
        one, other = plain(states), mixed(states)
        assert torch.equal(one, other)
    assert torch.equal(plain.running_var, mixed.running_var)
    assert isinstance(mixed, nn.BatchNorm2d)


def test_the_cosine_of_bfloat16_vectors_is_taken_in_float32():
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(64, 32, generator=generator).bfloat16() for _ in range(2))
    expected = -functional.cosine_similarity(one.double(), other.double()).mean()
    found = negative_cosine(one, other)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected.item(), abs=1e-6)
