"""Image sets brought to another shape or put together, and how their pixels become a network's input."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from scenarios.images import ImageSet


def pad(images: ImageSet, padding: int) -> ImageSet:
    """Put zeros around all images.

    Args:
        images: the set.
        padding: how many on each side.

    Returns:
        The set of larger images.
    """
    if not padding:
        return images
    padded = torch.nn.functional.pad(images.images, [padding] * 4)
    return replace(images, images=padded, fingerprint=_derived(images, f"padding {padding}"), _copies={})


def reshape(images: ImageSet, shape: tuple[int, int, int]) -> ImageSet:
    """Bring a set to another shape: grey to colour or back, and bilinear resizing.

    Args:
        images: the set.
        shape: the shape wanted, (C, H, W).

    Returns:
        The set in that shape.
    """
    if images.shape == shape:
        return images
    pixels = images.images
    if pixels.shape[1] == 3 and shape[0] == 1:
        pixels = pixels.float().mean(1, keepdim=True).round().to(torch.uint8)
    if pixels.shape[2:] != shape[1:]:
        parts = [
            torch.nn.functional.interpolate(part.float(), shape[1:], mode="bilinear", align_corners=False, antialias=True)
            for part in pixels.split(4096)
        ]
        pixels = torch.cat([part.round_().clamp_(0, 255).to(torch.uint8) for part in parts])
    pixels = pixels.expand(-1, shape[0], -1, -1).contiguous()
    return replace(images, images=pixels, fingerprint=_derived(images, f"shape {shape}"), _copies={})


def join(sets: Sequence[ImageSet]) -> ImageSet:
    """Put image sets of one shape into one; the classes of later sets follow those of earlier ones.

    Args:
        sets: at least one set.

    Returns:
        The joint set; its origin is the least real of its parts'.
    """
    starts = [sum(len(part.class_names) for part in sets[:i]) for i in range(len(sets))]
    order = ("generated", "embedded", "real")
    return ImageSet(
        name="+".join(part.name for part in sets),
        images=torch.cat([part.images for part in sets]),
        labels=torch.cat([part.labels + start for part, start in zip(sets, starts)]),
        class_names=tuple(name for part in sets for name in part.class_names),
        origin=min((part.origin for part in sets), key=order.index),
        fingerprint=hashlib.sha256("".join(part.fingerprint for part in sets).encode()).hexdigest(),
        verified=all(part.verified for part in sets),
        poisoned=any(part.poisoned for part in sets),
    )


def _derived(images: ImageSet, how: str) -> str:
    return hashlib.sha256(f"{images.fingerprint} {how}".encode()).hexdigest()


def normalisation(kind: Literal["auto", "standard", "unit"], images: ImageSet) -> tuple[Tensor, Tensor]:
    """How pixels become the network's input: `pixels * scale + shift`.

    Args:
        kind: zero mean and unit variance by channel (standard), [0, 1] (unit), or by the images' kind (auto): standard for colour.
        images: what mean and variance are taken over.

    Returns:
        Scale and shift, float [C, 1, 1].
    """
    channels = images.shape[0]
    if kind == "unit" or (kind == "auto" and channels == 1):
        return torch.full((channels, 1, 1), 1 / 255), torch.zeros(channels, 1, 1)
    values = torch.arange(256, dtype=torch.float64)
    counts = torch.stack([torch.bincount(images.images[:, c].flatten(), minlength=256) for c in range(channels)]).double()
    mean = (counts @ values) / counts.sum(1)
    deviation = ((counts @ values.square()) / counts.sum(1) - mean.square()).sqrt().clamp_min(1.0)
    return (1 / deviation).float()[:, None, None], (-mean / deviation).float()[:, None, None]
