"""Storage: one tensor of images that all selections of one side of a scenario share, and how batches are made of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from scenarios.images import ImageSet
from scenarios.overlay import Overlay


class View:
    """How images are seen, by experience. This one leaves them as they are; permutations and rotations derive from it."""

    def __call__(self, images: Tensor, tasks: Tensor, task: int | None) -> Tensor:
        """Transform a batch.

        Args:
            images: uint8 [B, C, H, W].
            tasks: int64 [B], the experience of each.
            task: the experience of all, or None where they are mixed.

        Returns:
            uint8 [B, C, H, W].
        """
        return images

    def to(self, device: torch.device) -> View:
        """Move what the view needs to a device.

        Args:
            device: where the images are.

        Returns:
            The view there.
        """
        return self


@dataclass(frozen=True, eq=False)
class Storage:
    """What all selections of one side (train or test) of a scenario share.

    Attributes:
        images: the image set.
        view: how images are seen, by experience.
        scale: float [C, 1, 1], by which pixels 0..255 (or features) are multiplied.
        shift: float [C, 1, 1], which is then added.
        device: where batches are made.
        channels_last: whether batches are laid out channels last (for convolutions).
        overlay: altered images, shared by all selections of the storage; None where there are none.
        preprocess: what a defence does to all pixels, at training and at test: uint8 [B, C, H, W] to the same; None for nothing.
    """

    images: ImageSet
    view: View
    scale: Tensor
    shift: Tensor
    device: torch.device = torch.device("cpu")
    channels_last: bool = False
    overlay: Overlay | None = None
    preprocess: Callable[[Tensor], Tensor] | None = None

    def to(self, device: torch.device, channels_last: bool) -> Storage:
        """The same storage, making its batches elsewhere.

        Args:
            device: where.
            channels_last: whether batches are laid out channels last.

        Returns:
            The storage there.
        """
        layout = channels_last and self.images.shape[0] > 1
        return replace(
            self, view=self.view.to(device), scale=self.scale.to(device), shift=self.shift.to(device), device=device, channels_last=layout
        )

    def pixels(self, rows: Tensor, tasks: Tensor, task: int | None, augment: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Raw images as their experience sees them.

        Args:
            rows: int64 [B], indices into the image set, on the device.
            tasks: int64 [B], the experience of each.
            task: the experience of all, or None.
            augment: a function of raw pixels; it comes before the view, since a permuted image has neither neighbours nor sides. Once
                there are altered images, which are altered as their experience sees them, it comes after both.

        Returns:
            uint8 [B, C, H, W].
        """
        if self.overlay and augment:
            seen = augment(self.raw_pixels(rows, tasks, task))
        else:
            seen = self.raw_pixels(rows, tasks, task, augment)
        return self.preprocess(seen) if self.preprocess else seen

    def raw_pixels(self, rows: Tensor, tasks: Tensor, task: int | None, augment: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """The same before any defence has touched them.

        Args:
            rows: int64 [B], indices into the image set or its overlay, on the device.
            tasks: int64 [B], the experience of each.
            task: the experience of all, or None.
            augment: a function of raw pixels; not for images that are altered, which it would not alter along.

        Returns:
            uint8 [B, C, H, W].
        """
        images = self.images.images_on(self.device).index_select(0, self.overlay.origin(rows) if self.overlay else rows)
        seen = self.view(augment(images) if augment else images, tasks, task)
        return self.overlay.apply(seen, rows) if self.overlay else seen

    def normalise(self, pixels: Tensor) -> Tensor:
        """Turn pixels, or features, into the network's input.

        Args:
            pixels: uint8 [B, C, H, W]; of features float [B, F, 1, 1].

        Returns:
            float32 of the same shape.
        """
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return pixels.to(torch.float32, memory_format=layout, copy=True).mul_(self.scale).add_(self.shift)
