"""Balls around images, and the grid of whole grey levels on which altered images are stored.

Pixels are in [0, 1] here. A change is rounded towards 0 to whole levels of 1/255, so that no rounding leaves the ball, and the altered
image is cut to [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

LEVELS = 255


@dataclass(frozen=True)
class Ball:
    """All changes of one image up to a size.

    Attributes:
        norm: linf or l2.
        radius: in pixel units of [0, 1].
    """

    norm: Literal["linf", "l2"]
    radius: float

    def project(self, delta: Tensor, pixels: Tensor) -> Tensor:
        """Bring changes into the ball, and the images into [0, 1].

        Args:
            delta: [B, C, H, W].
            pixels: [B, C, H, W] in [0, 1].

        Returns:
            [B, C, H, W].
        """
        if self.norm == "linf":
            delta = delta.clamp(-self.radius, self.radius)
        else:
            delta = delta * (self.radius / lengths(delta).clamp_min(1e-12)).clamp_max(1)
        return (pixels + delta).clamp(0, 1) - pixels

    def step(self, direction: Tensor, size: float) -> Tensor:
        """The step of a given size that follows a direction best.

        Args:
            direction: [B, C, H, W].
            size: in the ball's norm.

        Returns:
            [B, C, H, W]; 0 where the direction is 0.
        """
        if self.norm == "linf":
            return size * direction.sign()
        return direction * (size / lengths(direction).clamp_min(1e-30))

    def random(self, like: Tensor, generator: torch.Generator) -> Tensor:
        """Random changes of full size: signs, or directions of equal probability.

        Args:
            like: [B, C, H, W], for shape and type.
            generator: on the CPU.

        Returns:
            [B, C, H, W].
        """
        if self.norm == "linf":
            signs = torch.randint(0, 2, like.shape, generator=generator) * 2 - 1
            return self.radius * signs.to(like)
        normal = torch.randn(like.shape, generator=generator).to(like)
        return normal * (self.radius / lengths(normal))

    def altered(self, delta: Tensor, pixels: Tensor) -> Tensor:
        """The altered images on the grid of whole levels.

        Args:
            delta: [B, C, H, W].
            pixels: uint8 [B, C, H, W].

        Returns:
            uint8 [B, C, H, W], within the ball around `pixels`.
        """
        # A radius of 8/255 must allow 8 levels in float32 too; an L2 ball has no such edge to stand on.
        slack = 1e-3 if self.norm == "linf" else 0.0
        levels = (delta.abs() * LEVELS + slack).floor() * delta.sign()
        return (pixels.to(torch.int16) + levels.to(torch.int16)).clamp(0, LEVELS).to(torch.uint8)


def lengths(images: Tensor) -> Tensor:
    """Euclidean lengths.

    Args:
        images: [B, C, H, W].

    Returns:
        [B, 1, 1, 1].
    """
    return torch.linalg.vector_norm(images, dim=(1, 2, 3), keepdim=True)
