"""A network as a function of its parameters: what an inner loop needs.

The run's `Network` is read once into a list of layers. Its parameters then come from a dictionary (by their names in the network), and its
batch norms are ours: PyTorch's own gives wrong second-order gradients where `vmap` encloses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from scenarios.errors import UserError
from strategies.networks.network import Network
from strategies.networks.unit import Unit

Params = dict[str, Tensor]


class Normalise(Protocol):
    """How a norm layer normalises; `strategies.meta.episodic.normalise` has the kinds."""

    def __call__(self, index: int, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Normalise.

        Args:
            index: which norm layer of the network, from 0.
            x: [B, C, ...].
            weight: [C].
            bias: [C].

        Returns:
            [B, C, ...].
        """


@dataclass(frozen=True)
class Affine:
    """A linear or convolutional layer.

    Attributes:
        weight: name of its weight.
        bias: name of its bias, or None.
        convolution: (stride, padding) of a convolution; None for a linear layer.
        normalised: whether a norm follows, so that the function does not depend on the weight's length.
    """

    weight: str
    bias: str | None
    convolution: tuple[tuple[int, int], tuple[int, int]] | None
    normalised: bool

    def __call__(self, params: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Apply the layer.

        Args:
            params: holds the weight and the bias.
            x: [B, C, ...].

        Returns:
            [B, C', ...].
        """
        bias = params[self.bias] if self.bias is not None else None
        if self.convolution is None:
            return functional.linear(x, params[self.weight], bias)
        return functional.conv2d(x, params[self.weight], bias, *self.convolution)


@dataclass(frozen=True)
class Norm:
    """A batch norm.

    Attributes:
        index: which norm of the network, from 0.
        weight: name of its scale.
        bias: name of its shift.
    """

    index: int
    weight: str
    bias: str


Layer = Affine | Norm | Callable[[Tensor], Tensor]


class FunctionalNetwork:
    """The layers of a network, to be applied with any parameters.

    Args:
        network: a chain of linear and convolutional layers, batch norms, and layers without parameters.

    Raises:
        UserError: the network is not such a chain.
    """

    def __init__(self, network: Network) -> None:
        assert len(network.head.blocks) == 1
        layers: list[Layer] = []
        self.norms: list[nn.BatchNorm1d | nn.BatchNorm2d] = []
        for name, module in _chain("backbone", network.backbone):
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                layers.append(_affine(name, module))
            elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                if layers and isinstance(layers[-1], Affine):
                    layers[-1] = Affine(layers[-1].weight, layers[-1].bias, layers[-1].convolution, True)
                layers.append(Norm(len(self.norms), f"{name}.weight", f"{name}.bias"))
                self.norms.append(module)
            elif isinstance(module, nn.ReLU):
                layers.append(functional.relu)
            elif isinstance(module, nn.LeakyReLU):
                layers.append(partial(functional.leaky_relu, negative_slope=module.negative_slope))
            elif next(module.parameters(), None) is None and not list(module.children()) and not getattr(module, "inplace", False):
                layers.append(module)
            else:
                raise UserError(f"episodic learners cannot take {type(module).__name__} apart; use --network conv4, conv or mlp")
        self.layers = tuple(layers)
        self.head = Affine("head.blocks.0.weight", "head.blocks.0.bias", None, False)
        self.affines = (*(layer for layer in layers if isinstance(layer, Affine)), self.head)

    @property
    def weights(self) -> tuple[str, ...]:
        """What an inner loop may adapt, in order: weights, and biases that no norm follows (else they belong to the norm's shift)."""
        names = [(layer.weight, None if layer.normalised else layer.bias) for layer in self.affines]
        return tuple(name for pair in names for name in pair if name is not None)

    def features(self, params: Mapping[str, Tensor], x: Tensor, normalise: Normalise) -> Tensor:
        """What the head sees.

        Args:
            params: all parameters.
            x: [B, C, H, W].
            normalise: how norms normalise.

        Returns:
            [B, F].
        """
        for layer in self.layers:
            if isinstance(layer, Affine):
                x = layer(params, x)
            elif isinstance(layer, Norm):
                x = normalise(layer.index, x, params[layer.weight], params[layer.bias])
            else:
                x = layer(x)
        return x

    def running(self) -> list[tuple[Tensor, Tensor]]:
        """The moving averages of every norm.

        Returns:
            Mean and variance [1, C] of each.
        """
        return [(norm.running_mean[None], norm.running_var[None]) for norm in self.norms]  # type: ignore[index]

    @torch.no_grad()
    def move_averages(self, statistics: list[tuple[Tensor, Tensor]]) -> None:
        """Take statistics of a training step into the moving averages.

        Args:
            statistics: mean and variance [..., C] of each norm; leading dimensions are averaged.
        """
        for norm, (mean, var) in zip(self.norms, statistics):
            share = 0.1 if norm.momentum is None else norm.momentum
            assert norm.running_mean is not None and norm.running_var is not None
            norm.running_mean.lerp_(mean.flatten(0, -2).mean(0), share)
            norm.running_var.lerp_(var.flatten(0, -2).mean(0), share)


def _affine(name: str, module: nn.Linear | nn.Conv2d) -> Affine:
    bias = f"{name}.bias" if module.bias is not None else None
    if isinstance(module, nn.Linear):
        return Affine(f"{name}.weight", bias, None, False)
    if module.groups != 1 or module.dilation != (1, 1) or isinstance(module.padding, str) or module.padding_mode != "zeros":
        raise UserError("episodic learners take plain convolutions only; use --network conv4")
    return Affine(f"{name}.weight", bias, ((module.stride[0], module.stride[1]), (module.padding[0], module.padding[1])), False)


def _chain(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    if isinstance(module, (nn.Sequential, Unit)):
        for child, inner in module.named_children():
            yield from _chain(f"{name}.{child}", inner)
    else:
        yield name, module
