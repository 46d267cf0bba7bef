"""Small convolutional networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from strategies.networks.network import Network
from strategies.networks.unit import Unit


@dataclass(frozen=True, kw_only=True)
class ConvConfig:
    """Options of `conv`.

    Attributes:
        channels: channels of each 3x3 convolution; each is followed by 2x2 max pooling.
        norm: batch norm after each convolution, or none.
    """

    channels: tuple[int, ...] = (32, 64, 128)
    norm: Literal["none", "batch"] = "batch"


class Conv(Network):
    """Convolutions of 3x3 with ReLU and pooling, flattened into the head."""

    Config = ConvConfig
    channels_last = True

    @classmethod
    def build(cls, config: ConvConfig, input_shape: tuple[int, int, int], blocks: Sequence[range]) -> Conv:
        """Make the network.

        Args:
            config: its options.
            input_shape: shape of one image, (C, H, W).
            blocks: the head's blocks of outputs.

        Returns:
            The network, initialised from the global generator.
        """
        layers: list[nn.Module] = []
        channels, height, width = input_shape
        for out in config.channels:
            norm = nn.BatchNorm2d(out) if config.norm == "batch" else None
            layers += [Unit(nn.Conv2d(channels, out, 3, padding=1, bias=norm is None), norm), nn.ReLU(inplace=True)]
            if min(height, width) >= 2:
                layers.append(nn.MaxPool2d(2))
                height, width = height // 2, width // 2
            channels = out
        return cls(nn.Sequential(*layers, nn.Flatten()), channels * height * width, blocks)
