"""The small network on feature maps that relation networks compare with and that TPN finds bandwidths by.

Two 3x3 convolutions (1x1 on maps of one place), each normalised and followed by ReLU, halved where they can be, then a layer of 8 and one
number. Both papers' code has batch norms; these would let a query see the others whatever `strategy.bn_mode` says, so here each image is
normalised by itself (over channels and places). Without any norm relation networks stay at chance: all pairs look alike to them.
"""

from __future__ import annotations

from copy import copy

import torch
from torch import Tensor, nn

from strategies.meta.episodic.network import FunctionalNetwork, Params

HIDDEN = 8
"""Width of the layer before the last, in both papers."""


def relation(channels_in: int, channels: int, height: int, width: int) -> nn.Sequential:
    """Make the network.

    Args:
        channels_in: of what it looks at.
        channels: of its convolutions.
        height: of the maps.
        width: of the maps.

    Returns:
        From [B, channels_in, height, width] to [B, 1].
    """
    layers: list[nn.Module] = []
    for _ in range(2):
        # Of a single place a wider window would see its border alone, and weights drawn for nine places would be too small for one.
        window = 3 if height * width > 1 else 1
        layers += [nn.Conv2d(channels_in, channels, window, padding=window // 2), nn.GroupNorm(1, channels), nn.ReLU()]
        channels_in = channels
        if min(height, width) >= 2:
            layers.append(nn.MaxPool2d(2))
            height, width = height // 2, width // 2
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * height * width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))
    for module in network[:-1]:
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            # PyTorch's own weights shrink what passes through; the few units before the last could all begin without an answer.
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    return network


@torch.no_grad()
def map_shape(net: FunctionalNetwork, theta: Params, input_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """The shape of the maps that a network flattens into features.

    Args:
        net: the network.
        theta: its parameters.
        input_shape: of an image, (C, H, W).

    Returns:
        Channels, height and width; (F, 1, 1) where features come from no maps.
    """

    def unchanged(index: int, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return x

    before = copy(net)
    before.layers = net.layers[:-1]
    shape = before.features(theta, theta[net.head.weight].new_zeros(1, *input_shape), unchanged).shape[1:]
    return (shape[0], shape[1], shape[2]) if len(shape) == 3 else (theta[net.head.weight].shape[1], 1, 1)
