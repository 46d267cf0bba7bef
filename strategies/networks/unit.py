"""Units: what backbones are made of, so that a method can take a network apart without knowing its kind.

A unit is a maximal run of layers that is one affine map in evaluation mode: a linear or convolutional layer, a batch norm, or the one after
the other. ResCL mixes units, XK-FAC merges them, H-net/C-net slices them. Between units lie nonlinearities, pooling and additions.
"""

from __future__ import annotations

from torch import Tensor, nn


class Unit(nn.Module):
    """A layer, a batch norm, or both.

    Args:
        layer: linear or convolutional; None for a batch norm alone.
        norm: batch norm; None for a layer alone.
    """

    def __init__(self, layer: nn.Linear | nn.Conv2d | None, norm: nn.BatchNorm1d | nn.BatchNorm2d | None = None) -> None:
        super().__init__()
        assert layer is not None or norm is not None
        self.layer = layer
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer, then the norm.

        Args:
            x: [B, C, ...].

        Returns:
            [B, C', ...].
        """
        if self.layer is not None:
            x = self.layer(x)
        return self.norm(x) if self.norm is not None else x

    @property
    def out_channels(self) -> int:
        """Channels (or neurons) of the output."""
        if self.norm is not None:
            return self.norm.num_features
        assert self.layer is not None
        return self.layer.weight.shape[0]
