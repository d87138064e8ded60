"""A game's parts by themselves: objectives, networks and distances."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn

from trainers.errors import SettingsError
from trainers.workloads.gan_distances import class_coverage, frechet, sliced_wasserstein
from trainers.workloads.gan_networks import Discriminator, Generator
from trainers.workloads.gan_objectives import OBJECTIVES, discriminator_loss, generator_loss, gradient_penalty


def test_the_objectives_are_those_of_the_papers():
    real, fake = np.array([0.3, -1.2, 2.5]), np.array([-0.4, 1.7, -3.0])
    one, other = torch.from_numpy(real), torch.from_numpy(fake)

    def sigma(x):
        return 1.0 / (1.0 + np.exp(-x))

    expected = {
        "non-saturating": (-np.log(sigma(fake)), -np.log(sigma(real)) - np.log(1.0 - sigma(fake))),
        "wgan-gp": (-fake, fake - real),
        "hinge": (-fake, np.maximum(0.0, 1.0 - real) + np.maximum(0.0, 1.0 + fake)),
    }
    assert set(expected) == set(OBJECTIVES)
    for objective, (generator, discriminator) in expected.items():
        assert generator_loss(objective, other).item() == pytest.approx(generator.mean())
        assert discriminator_loss(objective, one, other).item() == pytest.approx(discriminator.mean())


def test_the_penalty_of_a_plane_and_of_a_bowl_are_known():
    generator = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(5, 1, 2, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    share = torch.rand(5, 1, 1, 1, generator=generator, dtype=torch.float64)
    slope = torch.randn(6, generator=generator, dtype=torch.float64)
    found = gradient_penalty(lambda x: x.flatten(1) @ slope, real, fake, share)
    assert found.item() == pytest.approx((np.linalg.norm(slope.numpy()) - 1.0) ** 2, rel=1e-9)
    # D = ½|x|² has the slope x itself, where the two pictures are mixed.
    between = (share * real + (1 - share) * fake).flatten(1).numpy()
    expected = ((np.sqrt((between**2).sum(axis=1)) - 1.0) ** 2).mean()
    found = gradient_penalty(lambda x: 0.5 * x.flatten(1).square().sum(dim=1), real, fake, share)
    assert found.item() == pytest.approx(expected, rel=1e-9)
    with torch.no_grad():
        alone = gradient_penalty(lambda x: 0.5 * x.flatten(1).square().sum(dim=1), real, fake, share)
    assert alone.item() == pytest.approx(expected, rel=1e-9)


def test_the_penalty_can_be_differentiated_twice_and_is_finite_where_the_discriminator_is_flat():
    def penalty(weight):
        net = lambda x: torch.tanh(x.flatten(1) @ weight).sum(dim=1)  # noqa: E731
        return gradient_penalty(net, real, fake, share)

    generator = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(3, 1, 2, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    share = torch.rand(3, 1, 1, 1, generator=generator, dtype=torch.float64)
    weight = torch.randn(4, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(penalty, (weight,))
    assert torch.autograd.gradgradcheck(penalty, (weight,))
    flat = torch.zeros(4, 2, dtype=torch.float64, requires_grad=True)
    value = penalty(flat)
    value.backward()
    assert value.item() == pytest.approx(1.0, abs=1e-5)
    assert torch.isfinite(flat.grad).all()


def test_spectral_normalisation_makes_every_weights_largest_singular_value_one():
    shape = torch.Size((1, 8, 8))
    discriminator = Discriminator(width=4, shape=shape, batch_norm=False, spectral=True)
    with torch.no_grad():
        for _ in range(200):
            discriminator(torch.zeros(1, *shape))
    weights = [layer.weight for layer in discriminator.layers if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert len(weights) == 3
    for weight in weights:
        assert np.linalg.svd(weight.detach().flatten(1).numpy())[1][0] == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32)])
def test_made_pictures_have_the_shape_of_real_ones(shape):
    generator = Generator(latent_size=5, width=4, shape=torch.Size(shape))
    made = generator(torch.randn(2, 5, generator=torch.Generator().manual_seed(0)))
    assert made.shape == (2, *shape)
    assert made.abs().max().item() <= 1.0
    assert Discriminator(width=4, shape=torch.Size(shape), batch_norm=True, spectral=False)(made).shape == (2,)


def test_pictures_of_odd_sides_are_refused():
    with pytest.raises(SettingsError, match=r"multiples of 4, but they are 8 x 10"):
        Generator(latent_size=5, width=4, shape=torch.Size((1, 8, 10)))


def test_the_sliced_wasserstein_distance_of_round_normal_samples():
    """SW₂² of N(μ₁, σ₁² I) and N(μ₂, σ₂² I) in d dimensions is |μ₁ − μ₂|²/d + (σ₁ − σ₂)²."""
    rng = np.random.default_rng(0)
    count, dimensions, shift = 4_000, 16, np.full(16, 0.75)
    first = torch.from_numpy(1.0 * rng.normal(size=(count, dimensions)))
    second = torch.from_numpy(shift + 1.5 * rng.normal(size=(count, dimensions)))
    expected = math.sqrt(shift @ shift / dimensions + 0.5**2)
    # (u·shift)² over directions u has the relative std √(2(d − 1)/(d + 2)) = 1.3, so its mean over 256 of them 0.08. It
    # is 69 % of the sum, and a root halves relative errors: 0.028, of which two are allowed.
    assert sliced_wasserstein(first, second) == pytest.approx(expected, rel=0.06)
    assert sliced_wasserstein(first, first.flip(0)) == 0.0


def test_the_frechet_distance_is_that_of_the_samples_moments():
    rng = np.random.default_rng(0)
    first = rng.normal(size=(300, 6)) @ rng.normal(size=(6, 6)) + rng.normal(size=6)
    second = rng.normal(size=(400, 6)) @ rng.normal(size=(6, 6))
    covariances = [np.cov(x.T) for x in (first, second)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = ((first.mean(axis=0) - second.mean(axis=0)) ** 2).sum()
    expected += np.trace(covariances[0] + covariances[1] - 2.0 * root)
    assert frechet(torch.from_numpy(first), torch.from_numpy(second)) == pytest.approx(expected, rel=1e-6)
    assert frechet(torch.from_numpy(first), torch.from_numpy(first)) == pytest.approx(0.0, abs=1e-8)


def test_the_frechet_distance_of_known_normal_distributions():
    """With diagonal covariances it is |μ₁ − μ₂|² + Σ (σ₁ − σ₂)²."""
    rng = np.random.default_rng(1)
    scales, shift = np.array([[1.0, 2.0, 0.5], [2.0, 0.5, 0.5]]), np.array([1.0, 0.0, -2.0])
    first, second = (torch.from_numpy(s * rng.normal(size=(200_000, 3))) for s in scales)
    expected = 5.0 + ((scales[0] - scales[1]) ** 2).sum()
    assert frechet(first, second + torch.from_numpy(shift)) == pytest.approx(expected, rel=0.02)
    constant = torch.zeros(10, 3)  # no covariance at all
    assert frechet(constant, second) == pytest.approx((scales[1] ** 2).sum(), rel=0.02)


def test_coverage_counts_classes_as_their_entropy_does():
    assert class_coverage(torch.arange(10).repeat(7), 10) == pytest.approx(1.0)
    assert class_coverage(torch.full((50,), 3), 10) == pytest.approx(0.1)
    assert class_coverage(torch.tensor([0, 4]).repeat(9), 10) == pytest.approx(0.2)
