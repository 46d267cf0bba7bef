"""What flows into each layer of the merged network and what flows back to it, in one joint pass of a batch, as rows of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from scenarios.errors import UserError
from strategies.penalties.curvature.merge import MergedLayer

Tap = Literal["post_bn", "pre_bn"]


class Taps:
    """Notes, in the forward passes while it is open, what flows into each layer and what comes out at its tap.

    Args:
        layers: the layers.
        tap: behind the layer's own batch norm (`post_bn`) or before it (`pre_bn`).
    """

    def __init__(self, layers: Sequence[MergedLayer], tap: Tap) -> None:
        self.layers = layers
        self.tap = tap
        self.inputs: dict[str, Tensor] = {}
        self.outputs: dict[str, Tensor] = {}
        self.norm_inputs: list[Tensor] = []

    def __enter__(self) -> Taps:
        self._handles = []
        for layer in self.layers:
            module = layer.module if self.tap == "post_bn" else layer.layer
            self._handles.append(module.register_forward_hook(self._note(layer.name)))
            if layer.norm is not None:
                self._handles.append(layer.norm.register_forward_pre_hook(self._note_norm))
        return self

    def __exit__(self, *exception: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _note(self, name: str) -> Any:
        def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            if name in self.outputs:
                raise UserError(f"Kronecker factors of a layer that is used twice are not known ('{name}'); choose another --network")
            if inputs[0].dim() not in (2, 4):
                raise UserError(f"Kronecker factors are known for inputs [B, F] and [B, C, H, W], not '{name}'; choose another --network")
            self.inputs[name], self.outputs[name] = inputs[0].detach(), output
            return output.clone()  # a ReLU in place would overwrite what the derivative is taken by

        return note

    def _note_norm(self, norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if norm.training:
            self.norm_inputs.append(inputs[0])

    def coupled(self) -> set[str]:
        """The layers whose tap flows into a norm in training mode: there alone pairs of examples have terms.

        Returns:
            Their names.
        """
        names, taps = list(self.outputs), list(self.outputs.values())
        found = set()
        for flowing in self.norm_inputs:
            reached = torch.autograd.grad(flowing.sum(), taps, retain_graph=True, allow_unused=True)
            found |= {name for name, gradient in zip(names, reached) if gradient is not None}
        return found

    def derivatives(self, scalar: Tensor) -> dict[str, Tensor]:
        """Derivatives of a scalar by what came out at the taps.

        Args:
            scalar: with its graph, which is kept.

        Returns:
            By layer, shaped as the outputs; layers that it does not depend on are absent.
        """
        gradients = torch.autograd.grad(scalar, list(self.outputs.values()), retain_graph=True, allow_unused=True)
        return {name: gradient for name, gradient in zip(self.outputs, gradients) if gradient is not None}


def input_rows(layer: MergedLayer, x: Tensor) -> Tensor:
    """What a layer multiplies by its weight: the input, or a convolution's patches, with a 1 appended where there is a bias.

    Args:
        layer: the layer.
        x: its input, [N, ...].

    Returns:
        [G, N, T, D]; T is 1 for a linear layer.
    """
    if isinstance(layer.layer, nn.Conv2d):
        conv = layer.layer
        assert conv.padding_mode == "zeros" and not isinstance(conv.padding, str)
        patches = nn.functional.unfold(x, conv.weight.shape[-2:], conv.dilation, conv.padding, conv.stride)
        rows = patches.unflatten(1, (conv.groups, -1)).permute(1, 0, 3, 2)
    else:
        rows = x[None, :, None, :]
    if not layer.has_bias:
        return rows
    return torch.cat([rows, rows.new_ones(*rows.shape[:3], 1)], 3)


def output_rows(layer: MergedLayer, g: Tensor) -> Tensor:
    """Derivatives by a layer's output in the layout of `input_rows`.

    Args:
        layer: the layer.
        g: [N, O, ...].

    Returns:
        [G, N, T, O / G].
    """
    return g.flatten(2).unflatten(1, (layer.groups, -1)).permute(1, 0, 3, 2) if g.dim() > 2 else g[None, :, None, :]
