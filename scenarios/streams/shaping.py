"""Image sets brought to another shape or put together, and how their pixels become a network's input."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from scenarios.errors import UserError
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

    Raises:
        UserError: features have one shape only, and images are not brought to it.
    """
    if images.shape == shape:
        return images
    if images.are_features:
        raise UserError(f"the {images.shape[0]} features of '{images.name}' cannot be brought to another shape; take another set")
    if shape[0] not in (1, 3):
        raise UserError(f"the images of '{images.name}' cannot be brought to {shape[0]} features; take a set that has as many")
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


def require_images(images: ImageSet, why: str) -> None:
    """Refuse features where pixels are needed.

    Args:
        images: the set.
        why: what happens to pixels, for the message.

    Raises:
        UserError: it is a set of features.
    """
    if images.are_features:
        raise UserError(f"{why}, and '{images.name}' holds features; choose a set of images, or split-SET")


Normalise = Literal["auto", "standard", "first", "unit"]


def normalisation(kind: Normalise, images: ImageSet) -> tuple[Tensor, Tensor]:
    """How pixels or features become the network's input: `pixels * scale + shift`.

    Args:
        kind: zero mean and unit variance by channel or feature (standard, and first, whose images are those of the first experience),
            pixels in [0, 1] (unit), or by their kind (auto): standard for colour, [0, 1] for grey, features as they are.
        images: what mean and variance are taken over.

    Returns:
        Scale and shift, float [C, 1, 1].

    Raises:
        UserError: features are to be treated as pixels.
    """
    channels = images.shape[0]
    if images.are_features:
        if kind == "unit":
            raise UserError("scenario.normalise=unit divides pixels by 255; of features choose auto (as they are), standard or first")
        return _of_features(images.images) if kind != "auto" else (torch.ones(channels, 1, 1), torch.zeros(channels, 1, 1))
    if kind == "unit" or (kind == "auto" and channels == 1):
        return torch.full((channels, 1, 1), 1 / 255), torch.zeros(channels, 1, 1)
    values = torch.arange(256, dtype=torch.float64)
    counts = torch.stack([torch.bincount(images.images[:, c].flatten(), minlength=256) for c in range(channels)]).double()
    mean = (counts @ values) / counts.sum(1)
    deviation = ((counts @ values.square()) / counts.sum(1) - mean.square()).sqrt().clamp_min(1.0)
    return (1 / deviation).float()[:, None, None], (-mean / deviation).float()[:, None, None]


def _of_features(features: Tensor) -> tuple[Tensor, Tensor]:
    flat = features.flatten(1)
    count, parts = len(flat), flat.split(4096)
    mean = sum((part.double().sum(0) for part in parts), torch.zeros(flat.shape[1], dtype=torch.float64)) / count
    squares = sum(((part.double() - mean).square().sum(0) for part in parts), torch.zeros_like(mean))
    deviation = (squares / count).sqrt()
    # A feature that never changes tells nothing; it becomes 0 and is not blown up.
    deviation = torch.where(deviation > 1e-6 * mean.abs().clamp_min(1e-6), deviation, 1.0)
    return (1 / deviation).float()[:, None, None], (-mean / deviation).float()[:, None, None]
