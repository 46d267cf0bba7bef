"""How images and convolutions lie in memory: channels last where that is quicker, and where it is right."""

from __future__ import annotations

import torch
from torch import nn

from strategies.networks.network import Network


def channels_last(network: Network, device: torch.device) -> bool:
    """Whether a network is run channels last.

    The backward pass of strided 1x1 convolutions of fewer than 8 channels corrupts memory in oneDNN 3.12 where they lie so (AVX2;
    uxlfoundation/oneDNN issue 6035): a network that holds one is run in the plain layout on a CPU.

    Args:
        network: the network.
        device: where it computes.

    Returns:
        True where the network asks for it and none of its convolutions forbids it.
    """
    return network.channels_last and not (device.type == "cpu" and any(map(_corrupts, network.modules())))


def _corrupts(module: nn.Module) -> bool:
    if not isinstance(module, nn.Conv2d):
        return False
    return module.kernel_size == (1, 1) and max(module.stride) > 1 and module.in_channels // module.groups < 8
