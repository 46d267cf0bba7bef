"""Small convolutional networks: `conv`, quick on a CPU, and `conv4`, the few-shot literature's network.

ReLU comes after pooling: the largest of a window's rectified values is its rectified largest value, and a quarter of the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from scenarios.options import option
from strategies.networks.network import Network, NetworkConfig
from strategies.networks.unit import Unit


@dataclass(frozen=True, kw_only=True)
class ConvConfig(NetworkConfig):
    """Options of `conv`, beside those of all networks.

    Attributes:
        channels: channels of each 3x3 convolution; each is followed by 2x2 max pooling.
        norm: batch norm after each convolution, or none.
    """

    channels: tuple[int, ...] = option((32, 64, 128), low=1)
    norm: Literal["none", "batch"] = "batch"


class Conv(Network):
    """Convolutions of 3x3 with ReLU and pooling, flattened into the head."""

    Config = ConvConfig
    channels_last = True
    needs_images = True

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
            layers.append(Unit(nn.Conv2d(channels, out, 3, padding=1, bias=norm is None), norm))
            if min(height, width) >= 2:
                layers.append(nn.MaxPool2d(2))
                height, width = height // 2, width // 2
            layers.append(nn.ReLU(inplace=True))
            channels = out
        return cls(nn.Sequential(*layers, nn.Flatten()), channels * height * width, blocks)


@dataclass(frozen=True, kw_only=True)
class Conv4Config(NetworkConfig):
    """Options of `conv4`, beside those of all networks. Codes of the MAML++ lineage (L2F, CxGrad) take leaky_relu, no bias and xavier.

    Attributes:
        filters: channels of each of the four convolutions.
        downsample: halve the image by 2x2 max pooling after each block, or by convolutions of stride 2.
        activation: relu, or leaky_relu (slope 0.01 below 0).
        bias: give convolutions a bias, although a norm with a shift of its own follows.
        initialisation: PyTorch's default; or xavier, uniform (Glorot & Bengio 2010) for convolutions and head, with biases of 0.
    """

    filters: int = option(64, low=1)
    downsample: Literal["pool", "stride"] = "pool"
    activation: Literal["relu", "leaky_relu"] = "relu"
    bias: bool = True
    initialisation: Literal["default", "xavier"] = "default"


class Conv4(Network):
    """Four blocks of 3x3 convolution, batch norm and ReLU (Vinyals et al. 2016), flattened into the head."""

    Config = Conv4Config
    channels_last = True
    needs_images = True

    @classmethod
    def build(cls, config: Conv4Config, input_shape: tuple[int, int, int], blocks: Sequence[range]) -> Conv4:
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
        stride = 2 if config.downsample == "stride" else 1
        for _ in range(4):
            convolution = nn.Conv2d(channels, config.filters, 3, stride=stride, padding=1, bias=config.bias)
            layers.append(Unit(convolution, nn.BatchNorm2d(config.filters)))
            if stride == 2:
                height, width = (height + 1) // 2, (width + 1) // 2
            elif min(height, width) >= 2:
                layers.append(nn.MaxPool2d(2))
                height, width = height // 2, width // 2
            layers.append(nn.ReLU(inplace=True) if config.activation == "relu" else nn.LeakyReLU(0.01, inplace=True))
            channels = config.filters
        network = cls(nn.Sequential(*layers, nn.Flatten()), channels * height * width, blocks)
        if config.initialisation == "xavier":
            network.apply(_xavier)
        return network


def _xavier(module: nn.Module) -> None:
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
