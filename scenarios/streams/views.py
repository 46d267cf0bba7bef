"""Views: pixel permutations and rotations, applied to whole batches, one per experience."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scenarios.storage import View


class Permutation(View):
    """Every experience sees the pixels in an order of its own.

    Args:
        orders: int64 [experiences, H*W], for each experience which pixel stands where.
    """

    def __init__(self, orders: Tensor) -> None:
        self.orders = orders

    def __call__(self, images: Tensor, tasks: Tensor, task: int | None) -> Tensor:
        """Permute the pixels; all channels alike.

        Args:
            images: uint8 [B, C, H, W].
            tasks: int64 [B], the experience of each.
            task: the experience of all, or None where they are mixed.

        Returns:
            uint8 [B, C, H, W].
        """
        flat = images.flatten(2)
        if task is not None:
            return flat.index_select(2, self.orders[task]).view_as(images)
        return flat.gather(2, self.orders[tasks][:, None].expand_as(flat)).view_as(images)

    def to(self, device: torch.device) -> View:
        """Move the orders.

        Args:
            device: where the images are.

        Returns:
            The view there.
        """
        return Permutation(self.orders.to(device))


class Rotation(View):
    """Every experience sees the images rotated by an angle of its own, bilinearly interpolated.

    Args:
        degrees: float [experiences], counter-clockwise.
    """

    def __init__(self, degrees: Tensor) -> None:
        self.degrees = degrees

    def __call__(self, images: Tensor, tasks: Tensor, task: int | None) -> Tensor:
        """Rotate about the centre; what comes from outside is 0.

        Args:
            images: uint8 [B, C, H, W].
            tasks: int64 [B], the experience of each.
            task: the experience of all, or None where they are mixed.

        Returns:
            uint8 [B, C, H, W].
        """
        angle = self.degrees[tasks] * (math.pi / 180)
        cos, sin = angle.cos(), angle.sin()
        zero = torch.zeros_like(cos)
        affine = torch.stack([torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], 1)
        grid = torch.nn.functional.affine_grid(affine, list(images.shape), align_corners=False)
        turned = torch.nn.functional.grid_sample(images.float(), grid, align_corners=False)
        return turned.round_().clamp_(0, 255).to(torch.uint8)

    def to(self, device: torch.device) -> View:
        """Move the angles.

        Args:
            device: where the images are.

        Returns:
            The view there.
        """
        return Rotation(self.degrees.to(device))
