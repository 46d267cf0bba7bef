"""Networks that are kept in few bytes, and restored for as long as they are used.

A packed network holds its values, and writes them to checkpoints, in fewer bytes than it computes with: as float16, or as int8 with a
scale for each row of a weight (its greatest magnitude is 127; "per channel, symmetric", Nagel et al. 2021, arXiv 2106.08295), biases and
batch norms as float16. A pass restores them, so the error is that of the rounding alone, at most half a step of a row's grid.
"""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

Storage = Literal["float32", "float16", "int8"]
SCALE = "-scale"
"""What the name of an int8 tensor's scales ends with."""


class Packed(nn.Module):
    """A network in few bytes, in evaluation mode.

    Args:
        network: what is kept; it is copied.
        storage: how: float32 (as it is), float16, or int8 for weights and float16 for the rest.
    """

    def __init__(self, network: nn.Module, storage: Storage) -> None:
        super().__init__()
        self.storage = storage
        self.dtype = next(network.parameters()).dtype
        self.form = (copy.deepcopy(network).to("meta").requires_grad_(False).eval(),)
        for name, value in self._pack(network).items():
            self.register_buffer(name, value)

    @torch.no_grad()
    def keep(self, network: nn.Module) -> None:
        """Take up other values.

        Args:
            network: one of the same kind.
        """
        kept = dict(self.named_buffers())
        for name, value in self._pack(network).items():
            kept[name].copy_(value)

    def restored(self) -> dict[str, Tensor]:
        """What is kept, as it is computed with.

        Returns:
            A state of the network.
        """
        kept = dict(self.named_buffers())
        return {name: self._restore(kept, _plain(name)) for name in self.form[0].state_dict()}

    def forward(self, x: Tensor) -> Tensor:
        """Restore the network and answer.

        Args:
            x: what it reads.

        Returns:
            What it says.
        """
        return functional_call(self.form[0], self.restored(), (x,))

    def _pack(self, network: nn.Module) -> dict[str, Tensor]:
        packed = {}
        for name, value in network.state_dict().items():
            name, value = _plain(name), value.detach()
            if self.storage == "float32" or not value.is_floating_point():
                packed[name] = value.clone()
            elif self.storage == "float16" or value.ndim < 2:
                packed[name] = value.half()
            else:
                scale = (value.abs().amax(tuple(range(1, value.ndim)), keepdim=True) / 127).half()
                steps = value / torch.where(scale > 0, scale, 1).to(value)
                packed[name], packed[name + SCALE] = steps.round().clamp(-127, 127).to(torch.int8), scale
        return packed

    def _restore(self, kept: dict[str, Tensor], name: str) -> Tensor:
        value = kept[name]
        if value.dtype == torch.int8:
            return value.to(self.dtype) * kept[name + SCALE].to(self.dtype)
        return value.to(self.dtype) if value.is_floating_point() else value


def _plain(name: str) -> str:
    # A buffer's name holds no dots.
    return name.replace(".", "/")
