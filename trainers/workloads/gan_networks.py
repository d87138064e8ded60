"""A small DCGAN: generator and discriminator of two strided convolutions each (Radford et al. 2015)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from ..errors import SettingsError
from .float32_buffers import Float32Buffers

SHRINK = 4
"""Two strides of two: the sides of a picture must be multiples of this."""
_SLOPE = 0.2


class Generator(nn.Module):
    """Noise to a picture in [−1, 1]: a linear layer, two transposed convolutions, BatchNorm and ReLU between them."""

    def __init__(self, *, latent_size: int, width: int, shape: torch.Size, initial_std: float | None = None) -> None:
        """Build it.

        Args:
            latent_size: of a noise vector.
            width: channels before the last layer, twice that before.
            shape: (channels, height, width) of a picture.
            initial_std: of all weights, which are drawn around zero, with biases of zero; None is torch's own way.

        Raises:
            SettingsError: the sides are no multiples of ``SHRINK``.
        """
        super().__init__()
        channels, height, breadth = check_shape(shape)
        self.start = nn.Sequential(
            nn.Linear(latent_size, 2 * width * (height // SHRINK) * (breadth // SHRINK), bias=False),
            nn.Unflatten(1, (2 * width, height // SHRINK, breadth // SHRINK)),
        )
        self.layers = nn.Sequential(
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1),
            nn.Tanh(),
        )
        _draw(self, initial_std)

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        """Return a picture for each row of ``noise``, shape (examples, channels, height, width)."""
        return self.layers(self.start(noise))


class Discriminator(nn.Module):
    """A picture to one number, high for real ones: two strided convolutions, LeakyReLU and a linear layer."""

    def __init__(
        self, *, width: int, shape: torch.Size, batch_norm: bool, spectral: bool, initial_std: float | None = None
    ) -> None:
        """Build it.

        Args:
            width: channels after the first layer, twice that after the second.
            shape: (channels, height, width) of a picture.
            batch_norm: whether BatchNorm follows the second convolution, as in DCGAN.
            spectral: whether each weight is divided by its largest singular value (Miyato et al. 2018), which torch
                follows by one power iteration a forward pass in training.
            initial_std: as the generator's.
        """
        super().__init__()
        channels, height, breadth = check_shape(shape)
        layers = [
            nn.Conv2d(channels, width, 4, stride=2, padding=1),
            nn.LeakyReLU(_SLOPE),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1, bias=not batch_norm),
            *([nn.BatchNorm2d(2 * width)] if batch_norm else []),
            nn.LeakyReLU(_SLOPE),
            nn.Flatten(),
            nn.Linear(2 * width * (height // SHRINK) * (breadth // SHRINK), 1),
        ]
        _draw(nn.ModuleList(layers), initial_std)
        if spectral:
            layers = [_spectral(x) if isinstance(x, nn.Conv2d | nn.Linear) else x for x in layers]
        self.layers = nn.Sequential(*layers)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return one number a picture, shape (examples,)."""
        return self.layers(pictures).squeeze(1)


def _draw(module: nn.Module, std: float | None) -> None:
    if std is None:
        return
    for name, parameter in module.named_parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=std)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)


def _spectral(layer: nn.Module) -> nn.Module:
    layer = spectral_norm(layer)
    norms: Any = layer.parametrizations["weight"]  # type: ignore[index]
    norms[0] = _InFloat32(norms[0])
    return layer


class _InFloat32(Float32Buffers):
    """A weight's normalisation, whose vectors change by less than a digit of bfloat16 once they have settled."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return self.norm(weight.float()).to(weight.dtype)


def check_shape(shape: torch.Size) -> tuple[int, int, int]:
    """Return (channels, height, width) of pictures that the networks can make.

    Raises:
        SettingsError: the sides are no multiples of ``SHRINK``.
    """
    channels, height, breadth = shape
    if height % SHRINK or breadth % SHRINK:
        raise SettingsError(
            f"workload_settings.dataset must have pictures whose sides are multiples of {SHRINK}, but they are "
            f"{height} x {breadth}"
        )
    return channels, height, breadth
