"""Two networks as branches of one, unit by unit, and the merge back into one (ResCL's combination; see `strategies/distillation/rescl.py`).

Both branches of a unit see the same input, the combined and activated features before it, and are mixed before the nonlinearity, with one
pair of coefficients for each output channel:

    y = (1 + alpha_s) f_s(x) + alpha_t f_t(x).

At alpha = (0, 0) this is the source unit, at (-1, 1) the target unit. The source branch is frozen and its batch norms stay in evaluation
mode; a batch norm's coefficient is multiplied into its gamma and beta, which costs no pass over the activations. In evaluation mode a
unit is affine, and so is the mix of two: with a = 1 + alpha_s, b = alpha_t and each norm read as scale and shift,

    weight = a scale_s W_s + b scale_t W_t,    bias = a (shift_s + scale_s bias_s) + b (shift_t + scale_t bias_t).

The merged unit has the parts of the source unit, no more: its batch norm first holds the merged shift at statistics (0, 1), and
`strategies.networks.norms` then expresses it by measured ones.
"""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from strategies.networks.network import Network
from strategies.networks.norms import Norm, affine
from strategies.networks.unit import Unit, replace_units, units
from strategies.soft_targets import frozen_copy

TargetNorm = Literal["train", "eval"]

START = (-0.5, 0.5)
"""Where the coefficients start: the mean of both branches."""


class Combination(nn.Module):
    """Two units in the place of one.

    Args:
        source: the old unit; is copied.
        target: the new unit, of the same shape; is copied.
        target_norm: whether the new unit's batch norm uses the batch's statistics in training mode, or always its running ones.
    """

    def __init__(self, source: Unit, target: Unit, target_norm: TargetNorm) -> None:
        super().__init__()
        self.source = frozen_copy(source)
        self.target = copy.deepcopy(target).requires_grad_(True)
        self.target_norm = target_norm
        like = next(source.parameters())
        self.alpha_source = nn.Parameter(like.new_full((source.out_channels,), START[0]))
        self.alpha_target = nn.Parameter(like.new_full((source.out_channels,), START[1]))

    def train(self, mode: bool = True) -> Combination:
        """Set the mode; the source branch stays in evaluation mode.

        Args:
            mode: training or evaluation.

        Returns:
            This module.
        """
        super().train(mode)
        self.source.eval()
        if self.target_norm == "eval":
            self.target.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Apply both branches and mix them. For a convolution without norm it is cheaper to mix the weights and apply them once.

        Args:
            x: [B, C, ...].

        Returns:
            [B, C', ...].
        """
        a, b = 1 + self.alpha_source, self.alpha_target
        layer = self.source.layer
        if isinstance(layer, nn.Conv2d) and self.source.norm is None:
            return functional.conv2d(x, *self._mixed(a, b), layer.stride, layer.padding, layer.dilation, layer.groups)
        return _branch(self.source, x, a) + _branch(self.target, x, b)

    def _mixed(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor | None]:
        source, target = self.source.layer, self.target.layer
        assert source is not None and target is not None
        bias = None if source.bias is None or target.bias is None else mix(source.bias, target.bias, a, b)
        return mix(source.weight, target.weight, a, b), bias

    @torch.no_grad()
    def merged(self) -> Unit:
        """One unit that computes the same in evaluation mode.

        Returns:
            A trainable unit with the parts of the source unit.
        """
        unit = copy.deepcopy(self.source).requires_grad_(True).train()
        a, b = 1 + self.alpha_source, self.alpha_target.detach()
        shift = torch.zeros_like(a)
        if unit.norm is not None:
            assert self.source.norm is not None and self.target.norm is not None
            (scale_s, shift_s), (scale_t, shift_t) = affine(self.source.norm), affine(self.target.norm)
            shift = a * shift_s + b * shift_t
            a, b = a * scale_s, b * scale_t
        if unit.layer is not None:
            weight, bias = self._mixed(a, b)
            unit.layer.weight.copy_(weight)
            if bias is not None and unit.layer.bias is not None:
                unit.layer.bias.copy_(bias + shift)
                shift = torch.zeros_like(shift)
        if unit.norm is not None:
            _hold(unit.norm, a + b if unit.layer is None else torch.ones_like(a), shift)
        return unit


def mix(source: Tensor, target: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Weigh two tensors by output channel.

    Args:
        source: [C, ...].
        target: [C, ...].
        a: the source's weights, [C].
        b: the target's weights, [C].

    Returns:
        [C, ...].

    Example:
        >>> mix(torch.tensor([[1.0], [2.0]]), torch.tensor([[10.0], [20.0]]), torch.tensor([1.0, 0.0]), torch.tensor([0.0, 0.5]))
        tensor([[ 1.],
                [10.]])
    """
    shape = (-1, *[1] * (source.dim() - 1))
    return a.view(shape) * source + b.view(shape) * target


def _branch(unit: Unit, x: Tensor, coefficient: Tensor) -> Tensor:
    if unit.layer is not None:
        x = unit.layer(x)
    norm = unit.norm
    if norm is None:
        return coefficient * x
    assert norm.momentum is not None
    weight, bias = coefficient * norm.weight, coefficient * norm.bias
    return functional.batch_norm(x, norm.running_mean, norm.running_var, weight, bias, norm.training, norm.momentum, norm.eps)


def _hold(norm: Norm, scale: Tensor, shift: Tensor) -> None:
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.zero_()
    norm.running_var.fill_(1)
    norm.weight.copy_(scale * (1 + norm.eps) ** 0.5)
    norm.bias.copy_(shift)


def combine(source: Network, target: Network, target_norm: TargetNorm, frozen: Collection[str] = ()) -> Network:
    """Combine two networks of one kind.

    Args:
        source: the old network; is copied.
        target: the new network; is copied.
        target_norm: what the new branch's batch norms use in training mode.
        frozen: units that were not trained, and are the same in both networks.

    Returns:
        The double-branch network, with the source's head.
    """
    targets = units(target)
    double = copy.deepcopy(source)
    replace_units(double, lambda name, unit: unit if name in frozen else Combination(unit, targets[name], target_norm))
    return double


def combinations(double: nn.Module) -> list[Combination]:
    """Find the combinations in a double-branch network.

    Args:
        double: the network.

    Returns:
        The combinations, in the order in which the network holds them.
    """
    return [module for module in double.modules() if isinstance(module, Combination)]


def merge(double: Network) -> Network:
    """Merge a double-branch network.

    Args:
        double: the network.

    Returns:
        A network of the source's size and architecture that computes the same in evaluation mode.
    """
    single = copy.deepcopy(double)
    for name, module in list(single.named_modules()):
        if isinstance(module, Combination):
            parent, _, attribute = name.rpartition(".")
            setattr(single.get_submodule(parent), attribute, module.merged())
    return single.requires_grad_(True)
