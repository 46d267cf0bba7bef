"""Sums over examples of elementwise functions of each example's own gradient, without a loop over examples.

A layer's gradient for one example is made of what flows in, a, and what flows back to its output, g. For a linear layer it is the outer
product g a^T, so that f(g a^T) = f(g) f(a)^T for f the square or the absolute value, and the sum over the batch is one matrix product. For
a convolution it is a sum over positions, formed per example in pieces of bounded size. A batch norm in evaluation mode is an affine map
per channel.

`taps` notes a and the output of each layer in one forward pass; the caller asks autograd for g of as many scalars as it likes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from scenarios.errors import UserError
from strategies.networks.network import Network

PIECE = 2**24
"""Numbers that the per-example gradients of a convolution may take at a time (64 MiB in float32)."""

OTHERWISE = "ewc with strategy.fisher=batch needs none"

Pieces = Iterator[tuple[Tensor, Tensor]]
Function = Callable[[Tensor], Tensor]


class Tap(NamedTuple):
    """What one layer saw.

    Attributes:
        layer: the layer.
        input: [B, ...].
        output: [B, ...], with its graph.
    """

    layer: nn.Module
    input: Tensor
    output: Tensor


def check_known(network: Network, input_shape: tuple[int, int, int]) -> None:
    """Show a network an image, so that what is not known of its layers is told before anything is trained.

    Args:
        network: any network; it is in training mode afterwards.
        input_shape: shape of one image, (C, H, W).
    """
    like = next(network.parameters())
    with torch.no_grad(), taps(network.eval()):
        network(like.new_zeros(1, *input_shape))
    network.train()


def known_layers(network: nn.Module) -> list[nn.Module]:
    """The layers that have parameters.

    Args:
        network: any network.

    Returns:
        Its linear and convolutional layers and batch norms.

    Raises:
        UserError: the network has parameters in layers of another kind, or of a form that is not known.
    """
    layers = [layer for layer in network.modules() if next(layer.parameters(recurse=False), None) is not None]
    for layer in layers:
        kind = type(layer).__name__
        if not isinstance(layer, (nn.Linear, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d)):
            raise UserError(f"per-example gradients are known for Linear, Conv2d and BatchNorm, not {kind}; {OTHERWISE}")
        if isinstance(layer, nn.Conv2d) and (isinstance(layer.padding, str) or layer.padding_mode != "zeros"):
            raise UserError(f"per-example gradients are known for Conv2d with zeros as padding, given as numbers, not {layer}; {OTHERWISE}")
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)) and not layer.track_running_stats:
            raise UserError(f"per-example gradients are known for {kind} with running statistics; {OTHERWISE}")
    return layers


@contextmanager
def taps(network: nn.Module) -> Iterator[list[Tap]]:
    """Note what each layer with parameters sees in the forward passes inside the block.

    Args:
        network: in evaluation mode.

    Yields:
        The list of taps, which the forward pass fills; layers that it does not reach are absent.
    """
    noted: list[Tap] = []

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if any(tap.layer is layer for tap in noted):
            raise UserError(f"per-example gradients of a layer that is used twice are not known ({layer}); {OTHERWISE}")
        if isinstance(layer, nn.Linear) and inputs[0].dim() != 2:
            raise UserError(f"per-example gradients of nn.Linear are known for inputs [B, F], not {tuple(inputs[0].shape)}; {OTHERWISE}")
        noted.append(Tap(layer, inputs[0].detach(), output))
        return output.clone()  # a ReLU in place would overwrite what the gradient is taken of

    handles = [layer.register_forward_hook(note) for layer in known_layers(network)]
    try:
        yield noted
    finally:
        for handle in handles:
            handle.remove()


def per_example(scalar: Tensor, noted: list[Tap], function: Function) -> Pieces:
    """Sum a function of per-example gradients over the batch.

    Args:
        scalar: a sum over the batch of one term for each example, with its graph, which is kept.
        noted: the taps of the forward pass.
        function: the square or the absolute value.

    Yields:
        A parameter, and a share of the sum over examples of function(gradient of the example's term); a parameter may come several times.
    """
    # What a frozen layer in front of all trained ones gives out has no graph, and nobody asks for its gradient.
    noted = [tap for tap in noted if tap.output.requires_grad]
    gradients = torch.autograd.grad(scalar, [tap.output for tap in noted], retain_graph=True, allow_unused=True)
    for tap, gradient in zip(noted, gradients):
        if gradient is None:
            continue
        if isinstance(tap.layer, nn.Linear):
            yield from _linear(tap.layer, tap.input, gradient, function)
        elif isinstance(tap.layer, nn.Conv2d):
            yield from _convolution(tap.layer, tap.input, gradient, function)
        else:
            assert isinstance(tap.layer, (nn.BatchNorm1d, nn.BatchNorm2d))
            yield from _norm(tap.layer, tap.input, gradient, function)


def _linear(layer: nn.Linear, a_BI: Tensor, g_BO: Tensor, function: Function) -> Pieces:
    f_BO = function(g_BO)
    yield layer.weight, f_BO.T @ function(a_BI)
    if layer.bias is not None:
        yield layer.bias, f_BO.sum(0)


def _convolution(layer: nn.Conv2d, a: Tensor, g: Tensor, function: Function) -> Pieces:
    assert not isinstance(layer.padding, str)
    groups, weight = layer.groups, layer.weight
    for part_a, part_g in zip(*(tensor.split(max(1, PIECE // weight.numel())) for tensor in (a, g))):
        patches = nn.functional.unfold(part_a, weight.shape[-2:], layer.dilation, layer.padding, layer.stride)
        a_BGIT = patches.unflatten(1, (groups, -1))
        g_BGOT = part_g.flatten(2).unflatten(1, (groups, -1))
        yield weight, function(g_BGOT @ a_BGIT.mT).sum(0).view(weight.shape)
    if layer.bias is not None:
        yield layer.bias, function(g.flatten(2).sum(2)).sum(0)


def _norm(layer: nn.BatchNorm1d | nn.BatchNorm2d, a: Tensor, g: Tensor, function: Function) -> Pieces:
    assert not layer.training and layer.running_mean is not None and layer.running_var is not None
    a_BCT, g_BCT = (tensor.reshape(*tensor.shape[:2], -1) for tensor in (a, g))
    normalised = (a_BCT - layer.running_mean[:, None]) * (layer.running_var + layer.eps).rsqrt()[:, None]
    yield layer.weight, function((g_BCT * normalised).sum(2)).sum(0)
    yield layer.bias, function(g_BCT.sum(2)).sum(0)
