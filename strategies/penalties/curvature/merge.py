"""Layers merged with the batch norms behind them, the gradient's way back through the merge, and norms put in again.

With s = gamma / sqrt(v + eps), a layer h = W a + b and its batch norm are, in evaluation mode, one affine map y = W~ a + b~:

    W~ = diag(s) W,     b~ = beta + s (b - mu)

The merged network has no statistics left that data could move behind an optimiser's back: what a penalty on (W~, b~) holds, it holds. A
gradient (G, g) with respect to (W~, b~) goes on to

    dW = diag(s) G,   db = s g,   dbeta = g,   dgamma = (rowsum(G * W) + g (b - mu)) / sqrt(v + eps)

with mu and v as constants. `absorb_` writes the merged map into the layer and leaves a batch norm that does nothing in evaluation mode
(gamma = sqrt(v' + eps), beta = mu'); it can then be expressed by the statistics of any data without a change of the function.
(Merging and putting norms in again: Lee et al., CVPR 2020; the equations are our derivation.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scenarios.errors import UserError
from strategies.networks.network import Network
from strategies.networks.norms import Norm, affine, norms, standardise_by
from strategies.networks.unit import require_units, units

FLOOR = 1e-5
"""The least variance that a norm is put in again with: dead channels have none."""


@dataclass(frozen=True, eq=False)
class MergedLayer:
    """One layer of the merged network.

    Attributes:
        name: its name in the network.
        layer: linear or convolutional.
        norm: the batch norm that is merged into it; None where there is none.
        module: what computes both.
    """

    name: str
    layer: nn.Linear | nn.Conv2d
    norm: Norm | None
    module: nn.Module

    @property
    def groups(self) -> int:
        """Groups of channels that do not see each other; 1 for a linear layer."""
        return self.layer.groups if isinstance(self.layer, nn.Conv2d) else 1

    @property
    def has_bias(self) -> bool:
        """Whether the merged layer has a bias."""
        return self.norm is not None or self.layer.bias is not None

    def parameters(self, statistics: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """The merged weight, its bias as the last column.

        Args:
            statistics: mean and variance to merge with, [O] each; None for the norm's running ones.

        Returns:
            [G, O / G, D] or, with a bias, [G, O / G, D + 1]; differentiable.
        """
        weight, bias = self.layer.weight.flatten(1), self.layer.bias
        if self.norm is not None:
            if statistics is None:
                scale, shift = affine(self.norm)
            else:
                mean, variance = statistics
                scale = self.norm.weight * torch.rsqrt(variance + self.norm.eps)
                shift = self.norm.bias - scale * mean
            weight = weight * scale[:, None]
            bias = shift if bias is None else shift + scale * bias
        merged = weight if bias is None else torch.cat([weight, bias[:, None]], 1)
        return merged.unflatten(0, (self.groups, -1))

    @property
    def in_play(self) -> bool:
        """Whether the last backward pass reached it."""
        return self.layer.weight.grad is not None

    @torch.no_grad()
    def add_gradient_(self, gradient: Tensor) -> None:
        """Take a gradient with respect to the merged parameters back, and add it to what the parameters' `.grad` hold.

        Args:
            gradient: shaped like `parameters()`.
        """
        layer, norm = self.layer, self.norm
        flat = gradient.flatten(0, 1)
        g_weight = flat[:, :-1].view(layer.weight.shape) if self.has_bias else flat.view(layer.weight.shape)
        assert layer.weight.grad is not None
        if norm is None:
            layer.weight.grad.add_(g_weight)
            if layer.bias is not None:
                _add_(layer.bias, flat[:, -1])
            return
        assert norm.running_mean is not None and norm.running_var is not None
        g_bias, root = flat[:, -1], torch.rsqrt(norm.running_var + norm.eps)
        scale, centred = norm.weight * root, -norm.running_mean
        if layer.bias is not None:
            _add_(layer.bias, scale * g_bias)
            centred = centred + layer.bias
        along = torch.linalg.vecdot(flat[:, :-1], layer.weight.flatten(1)) + g_bias * centred
        layer.weight.grad.addcmul_(g_weight, scale.view(-1, *[1] * (layer.weight.dim() - 1)))
        _add_(norm.bias, g_bias)
        _add_(norm.weight, root * along)

    @torch.no_grad()
    def absorb_(self) -> None:
        """Write the merged map into the layer, and leave a norm that does nothing in evaluation mode.

        It does add the bias where the layer cannot hold one. It keeps the statistics of the data that it had: those of the merged
        layer's output.
        """
        norm, layer = self.norm, self.layer
        if norm is None:
            return
        assert norm.running_mean is not None and norm.running_var is not None
        scale, shift = affine(norm)
        mean, variance = scale * norm.running_mean, scale.square() * norm.running_var
        layer.weight.mul_(scale.view(-1, *[1] * (layer.weight.dim() - 1)))
        norm.running_mean.zero_()
        norm.running_var.fill_(1)
        norm.weight.fill_((1 + norm.eps) ** 0.5)
        if layer.bias is not None:
            layer.bias.mul_(scale).add_(shift)
            mean = mean + shift
            norm.bias.zero_()
        else:
            norm.bias.copy_(shift)
        standardise_by(norm, mean, variance.clamp(min=FLOOR))


def _add_(parameter: Tensor, gradient: Tensor) -> None:
    if parameter.grad is not None:
        parameter.grad.add_(gradient)


def merged_layers(network: Network) -> list[MergedLayer]:
    """Take a network apart into the layers that it has once its norms are merged.

    Args:
        network: a backbone of units, and a head.

    Returns:
        The units in the order in which the network holds them, then the head's blocks; without those that are frozen.

    Raises:
        UserError: there is a norm with no layer before it, there are parameters outside units, or units that are frozen in part.
    """
    require_units(network.backbone, "K-FAC's merge")
    found = []
    for name, unit in units(network).items():
        if unit.layer is None:
            raise UserError(f"batch norm '{name}' has no layer before it to be merged into; choose a network without pre-activation blocks")
        found.append(MergedLayer(name, unit.layer, unit.norm, unit))
    for number, block in enumerate(network.head.blocks):
        assert isinstance(block, nn.Linear)
        found.append(MergedLayer(f"head.blocks.{number}", block, None, block))
    return [layer for layer in found if _trained(layer)]


def _trained(layer: MergedLayer) -> bool:
    trained = {parameter.requires_grad for parameter in layer.module.parameters()}
    if len(trained) > 1:
        raise UserError(f"a layer is merged with its batch norm and its bias as one; freeze all of '{layer.name}' or nothing of it")
    return True in trained


@contextmanager
def batch_moments(layers: Sequence[MergedLayer]) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
    """While it lasts, note mean and biased variance of what flows into the layers' norms, with their graph.

    Args:
        layers: the layers.

    Yields:
        Mean and variance by the layer's name; the forward pass fills it.
    """
    noted: dict[str, tuple[Tensor, Tensor]] = {}

    def note(name: str, flowing: Tensor) -> None:
        variance, mean = torch.var_mean(flowing, [axis for axis in range(flowing.dim()) if axis != 1], correction=0)
        noted[name] = (mean, variance)

    handles = [
        layer.norm.register_forward_pre_hook(lambda _, inputs, name=layer.name: note(name, inputs[0]))
        for layer in layers
        if layer.norm is not None
    ]
    try:
        yield noted
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def batch_statistics(network: nn.Module) -> Iterator[None]:
    """While it lasts, norms in training mode normalise by their batch and leave their running statistics alone.

    Args:
        network: is in training mode inside the block, and in the mode that it had behind it.
    """
    was_training, tracking = network.training, {norm: norm.track_running_stats for norm in norms(network).values()}
    network.train()
    for norm in tracking:
        norm.track_running_stats = False
    try:
        yield
    finally:
        network.train(was_training)
        for norm, before in tracking.items():
            norm.track_running_stats = before
