"""Image encoders that end in one vector an image."""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn import functional

from ..data.hub import quiet_hub
from ..errors import SettingsError, first_line


def build_encoder(name: str, *, channels: int, width: int) -> nn.Module:
    """Return an encoder with the attribute ``output_size``.

    Args:
        name: ``conv`` (three strided convolutions of width, 2·width and 4·width channels), ``resnet`` (four stages of
            transformers' ResNet, the last 8·width wide), or a hub model whose ResNet configuration is used with
            fresh weights.
        channels: of the input images.
        width: of the first layer.

    Raises:
        SettingsError: the hub knows no ResNet configuration of this name.
    """
    if name == "conv":
        return _Conv(channels, width)
    return _ResNet(name, channels, width)


class _Conv(nn.Module):
    """Convolution, BatchNorm, ReLU three times, halving the picture twice, then averages over its four quarters.

    The quarters keep where a stroke is: on digits, one average over the whole picture loses to raw pixels.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        widths = [channels, width, 2 * width, 4 * width]
        layers: list[nn.Module] = []
        for number, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
            stride = 1 if number == 0 else 2
            layers += [
                nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers)
        self.output_size = 4 * widths[-1]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        states = self.layers(images)
        if states.shape[-2:] != (2, 2):  # small pictures end there, and the pooling is a quarter of their time
            states = functional.adaptive_avg_pool2d(states, 2)
        return states.flatten(1)


class _ResNet(nn.Module):
    def __init__(self, name: str, channels: int, width: int) -> None:
        super().__init__()
        from transformers import ResNetConfig, ResNetModel

        if name == "resnet":
            configuration = ResNetConfig(
                num_channels=channels,
                embedding_size=width,
                hidden_sizes=[width, 2 * width, 4 * width, 8 * width],
                depths=[2, 2, 2, 2],
                layer_type="basic",
            )
        else:
            quiet_hub()
            try:
                configuration = ResNetConfig.from_pretrained(name, num_channels=channels)
            except (OSError, ValueError) as error:
                raise SettingsError(
                    f"encoder must be conv, resnet or a ResNet on the hub, but got {name!r} ({first_line(error)})"
                ) from error
        self.model = ResNetModel(configuration)
        self.output_size = list(configuration.hidden_sizes or [])[-1]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.model(images).pooler_output.flatten(1)
