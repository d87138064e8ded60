"""How far made pictures are from real ones: sliced Wasserstein, Fréchet, and the classes that are covered."""

from __future__ import annotations

import torch

_PROJECTIONS = 256


def sliced_wasserstein(first: torch.Tensor, second: torch.Tensor) -> float:
    """Return the sliced 2-Wasserstein distance of two samples (Bonneel et al. 2015).

    The root of the mean, over 256 fixed random directions of length one, of the squared Wasserstein distance of the
    projections: in one dimension that of the sorted values.

    Args:
        first: shape (examples, dimensions).
        second: the same shape.
    """
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(first.shape[1], _PROJECTIONS, generator=generator, dtype=torch.float64)
    directions /= directions.norm(dim=0)
    one, other = ((sample.double() @ directions).sort(dim=0).values for sample in (first, second))
    return float((one - other).square().mean().sqrt())


def frechet(first: torch.Tensor, second: torch.Tensor) -> float:
    """Return the squared Fréchet distance of two normal distributions with the samples' moments (Heusel et al. 2017).

    |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁^½ Σ₂ Σ₁^½)^½). Biased upwards by sampling: compare samples of one size.

    Args:
        first: shape (examples, features).
        second: shape (other examples, features).
    """
    one, other = first.double(), second.double()
    shift = float((one.mean(dim=0) - other.mean(dim=0)).square().sum())
    covariances = [torch.cov(sample.T) for sample in (one, other)]
    root = _root(covariances[0])
    values = torch.linalg.eigvalsh(root @ covariances[1] @ root)
    traces = float(covariances[0].trace() + covariances[1].trace())
    return shift + traces - 2.0 * float(values.clamp_min(0.0).sqrt().sum())  # rounding makes tiny ones negative


def _root(matrix: torch.Tensor) -> torch.Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp_min(0.0).sqrt() @ vectors.T


def class_coverage(labels: torch.Tensor, classes: int) -> float:
    """Return e to the entropy of the classes' shares over the number of classes.

    1 where all are as frequent, 1/classes where there is only one (mode collapse).

    Args:
        labels: int64 in [0, classes), shape (examples,).
        classes: how many there could be.
    """
    shares = torch.bincount(labels, minlength=classes).double() / len(labels)
    entropy = -torch.special.xlogy(shares, shares).sum()
    return float(entropy.exp()) / classes
