"""`quantise` and `smooth`: what arrives is coarsened, at training and at test, so that small changes of pixels are lost.

W. Xu, D. Evans, Y. Qi, *Feature Squeezing* (NDSS 2018): fewer grey levels, median and Gaussian filters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from scenarios.options import option
from scenarios.smoothing import blurred, median
from strategies.defences.defence import Defence
from strategies.unread import refuse_unread


@dataclass(frozen=True, kw_only=True)
class QuantiseConfig:
    """Options of `quantise`.

    Attributes:
        bits: of each pixel that are left.
    """

    bits: int = option(1, low=1, high=8)


class Quantise(Defence):
    """Leaves 2^bits grey levels."""

    Config = QuantiseConfig

    def preprocess(self, pixels: Tensor) -> Tensor:
        """Round to the nearest level.

        Args:
            pixels: uint8 [B, C, H, W].

        Returns:
            uint8 [B, C, H, W].
        """
        steps = 2**self.config.bits - 1
        levels = torch.arange(256, device=pixels.device).mul(steps).div(255).round().mul(255 / steps).round().to(torch.uint8)
        return levels[pixels.long()]


@dataclass(frozen=True, kw_only=True)
class SmoothConfig:
    """Options of `smooth`.

    Attributes:
        kind: median (of 3x3 pixels) or gaussian.
        deviation: of the Gaussian, in pixels.
    """

    kind: Literal["median", "gaussian"] = "median"
    deviation: float = option(0.8, low=0.1)

    def __post_init__(self) -> None:
        refuse_unread(self, "defence", {"deviation": (self.kind == "gaussian", "kind=gaussian")})


class Smooth(Defence):
    """Filters images; on permuted streams, pixels that are neighbours after the permutation."""

    Config = SmoothConfig

    def preprocess(self, pixels: Tensor) -> Tensor:
        """Filter.

        Args:
            pixels: uint8 [B, C, H, W].

        Returns:
            uint8 [B, C, H, W].
        """
        if self.config.kind == "median":
            return median(pixels)
        return blurred(pixels.float(), self.config.deviation).round().clamp(0, 255).to(torch.uint8)
