"""Residual networks in their CIFAR form (He et al. 2016, arXiv 1512.03385 and 1603.05027): a 3x3 stem on the full image, no first pooling.

A block adds a shortcut to what its two 3x3 convolutions compute. After activation (`resnet*`) each convolution is followed by its
batch norm, and the sum by ReLU; before activation (`preact-*`) norm and ReLU come first and the sum is left alone. ResNet-18 has four
stages of two blocks and projects its shortcuts by 1x1 convolutions where the shape changes; ResNet-32 has three stages of five and pads
with zeros.

A projection picks every second pixel and convolves those with stride 1: the same values as a 1x1 convolution of stride 2, whose backward
pass corrupts memory in oneDNN 3.12 (channels last, AVX2, fewer than 8 input channels; uxlfoundation/oneDNN issue 6035).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor, nn
from torch.nn import functional

from scenarios.options import option
from strategies.networks.network import Network, NetworkConfig
from strategies.networks.unit import Unit

Shortcut = Literal["projection", "pad"]


def _conv3x3(channels: int, out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False)


def _every(x: Tensor, stride: int) -> Tensor:
    return x[:, :, ::stride, ::stride] if stride > 1 else x


class PaddedShortcut(nn.Module):
    """Every second pixel, and channels of zeros at the end: a change of shape without parameters.

    Args:
        stride: how many pixels a step takes.
        padding: channels to add.
    """

    def __init__(self, stride: int, padding: int) -> None:
        super().__init__()
        self.stride = stride
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        """Change the shape.

        Args:
            x: [B, C, H, W].

        Returns:
            [B, C + padding, H / stride, W / stride].
        """
        return functional.pad(_every(x, self.stride), (0, 0, 0, 0, 0, self.padding))


class Block(nn.Module):
    """Convolution, norm, ReLU, convolution, norm; plus the shortcut; ReLU.

    Args:
        channels: of the input.
        out: channels of the output.
        stride: of the first convolution.
        shortcut: how the shortcut changes shape where it must.
    """

    def __init__(self, channels: int, out: int, stride: int, shortcut: Shortcut) -> None:
        super().__init__()
        self.first = Unit(_conv3x3(channels, out, stride), nn.BatchNorm2d(out))
        self.second = Unit(_conv3x3(out, out), nn.BatchNorm2d(out))
        self.shortcut: nn.Module = nn.Identity()
        projects = shortcut == "projection" and (stride != 1 or channels != out)
        self.stride = stride if projects else 1
        if projects:
            self.shortcut = Unit(nn.Conv2d(channels, out, 1, bias=False), nn.BatchNorm2d(out))
        elif stride != 1 or channels != out:
            self.shortcut = PaddedShortcut(stride, out - channels)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block.

        Args:
            x: [B, C, H, W].

        Returns:
            [B, C', H', W'].
        """
        hidden = functional.relu(self.first(x), inplace=True)
        return functional.relu(self.second(hidden) + self.shortcut(_every(x, self.stride)), inplace=True)


class PreActBlock(nn.Module):
    """Norm, ReLU, convolution, norm, ReLU, convolution; plus the shortcut, whose projection starts after the first ReLU.

    Args:
        channels: of the input.
        out: channels of the output.
        stride: of the first convolution.
        shortcut: how the shortcut changes shape where it must.
    """

    def __init__(self, channels: int, out: int, stride: int, shortcut: Shortcut) -> None:
        super().__init__()
        self.norm = Unit(None, nn.BatchNorm2d(channels))
        self.first = Unit(_conv3x3(channels, out, stride), nn.BatchNorm2d(out))
        self.second = Unit(_conv3x3(out, out))
        self.projects = shortcut == "projection" and (stride != 1 or channels != out)
        self.shortcut: nn.Module = nn.Identity()
        self.stride = stride if self.projects else 1
        if self.projects:
            self.shortcut = Unit(nn.Conv2d(channels, out, 1, bias=False))
        elif stride != 1 or channels != out:
            self.shortcut = PaddedShortcut(stride, out - channels)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block.

        Args:
            x: [B, C, H, W].

        Returns:
            [B, C', H', W'].
        """
        active = functional.relu(self.norm(x), inplace=True)
        hidden = functional.relu(self.first(active), inplace=True)
        return self.second(hidden) + self.shortcut(_every(active if self.projects else x, self.stride))


class ResNet(Network):
    """What the residual networks share."""

    channels_last = True
    needs_images = True
    num_blocks: ClassVar[tuple[int, ...]]
    block: ClassVar[type[Block] | type[PreActBlock]] = Block

    @classmethod
    def assemble(cls, width: int, shortcut: Shortcut, input_shape: tuple[int, int, int], blocks: Sequence[range]) -> Any:
        """Make a network of this kind.

        Args:
            width: channels of the first stage; each further stage doubles them and halves the image.
            shortcut: how shortcuts change shape.
            input_shape: shape of one image, (C, H, W).
            blocks: the head's blocks of outputs.

        Returns:
            The network: convolutions He-normal, all else as torch initialises it, from the global generator.
        """
        stem = _conv3x3(input_shape[0], width)
        after = cls.block is Block
        layers: list[nn.Module] = [Unit(stem, nn.BatchNorm2d(width)), nn.ReLU(inplace=True)] if after else [Unit(stem)]
        channels = width
        for stage, count in enumerate(cls.num_blocks):
            for number in range(count):
                out = width * 2**stage
                layers.append(cls.block(channels, out, 2 if stage > 0 and number == 0 else 1, shortcut))
                channels = out
        if not after:
            layers += [Unit(None, nn.BatchNorm2d(channels)), nn.ReLU(inplace=True)]
        network = cls(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), channels, blocks)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        return network


@dataclass(frozen=True, kw_only=True)
class ResNet18Config(NetworkConfig):
    """Options of `resnet18`, beside those of all networks.

    Attributes:
        width: channels of the first stage; the others have 2, 4 and 8 times as many.
    """

    width: int = option(64, low=1)


class ResNet18(ResNet):
    """Four stages of two blocks; 11.2 million parameters."""

    Config = ResNet18Config
    num_blocks = (2, 2, 2, 2)

    @classmethod
    def build(cls, config: ResNet18Config, input_shape: tuple[int, int, int], blocks: Sequence[range]) -> ResNet18:
        """Make the network.

        Args:
            config: its options.
            input_shape: shape of one image, (C, H, W).
            blocks: the head's blocks of outputs.

        Returns:
            The network, initialised from the global generator.
        """
        return cls.assemble(config.width, "projection", input_shape, blocks)


@dataclass(frozen=True, kw_only=True)
class ResNet32Config(NetworkConfig):
    """Options of `resnet32`, beside those of all networks.

    Attributes:
        width: channels of the first stage; the others have 2 and 4 times as many.
        shortcut: where the shape changes, pad with zeros (no parameters), or project by a 1x1 convolution.
    """

    width: int = option(16, low=1)
    shortcut: Shortcut = "pad"


class ResNet32(ResNet):
    """Three stages of five blocks; 0.46 million parameters."""

    Config = ResNet32Config
    num_blocks = (5, 5, 5)

    @classmethod
    def build(cls, config: ResNet32Config, input_shape: tuple[int, int, int], blocks: Sequence[range]) -> ResNet32:
        """Make the network.

        Args:
            config: its options.
            input_shape: shape of one image, (C, H, W).
            blocks: the head's blocks of outputs.

        Returns:
            The network, initialised from the global generator.
        """
        return cls.assemble(config.width, config.shortcut, input_shape, blocks)


class PreActResNet18(ResNet18):
    """ResNet-18 of pre-activation blocks, with a last norm and ReLU before pooling."""

    block = PreActBlock


class PreActResNet32(ResNet32):
    """ResNet-32 of pre-activation blocks, with a last norm and ReLU before pooling."""

    block = PreActBlock
