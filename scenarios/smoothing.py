"""Smoothing of whole batches of images, which corruptions and defences use."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def blurred(images: Tensor, deviation: float) -> Tensor:
    """Blur images with a Gaussian.

    Args:
        images: [B, C, H, W].
        deviation: standard deviation in pixels.

    Returns:
        [B, C, H, W]; at the border the images are continued by their last pixels.
    """
    reach = max(1, round(3 * deviation))
    places = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
    kernel = torch.exp(-places.square() / (2 * deviation**2))
    kernel = (kernel / kernel.sum()).expand(images.shape[1], 1, 1, -1)
    padded = functional.pad(images, [reach] * 4, mode="replicate")
    rows = functional.conv2d(padded, kernel, groups=images.shape[1])
    return functional.conv2d(rows, kernel.transpose(2, 3), groups=images.shape[1])


def median(images: Tensor) -> Tensor:
    """The median of each pixel's 3x3 neighbourhood.

    Args:
        images: [B, C, H, W].

    Returns:
        [B, C, H, W]; at the border the images are continued by their last pixels.

    Example:
        >>> image = torch.zeros(1, 1, 3, 3)
        >>> image[0, 0, 1, 1] = 1
        >>> float(median(image).max())
        0.0
    """
    padded = functional.pad(images, [1] * 4, mode="replicate")
    return padded.unfold(2, 3, 1).unfold(3, 3, 1).flatten(4).median(4).values
