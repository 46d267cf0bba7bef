"""Common image corruptions, which streams shift their domain by and an adversary corrupts with.

Kinds after Hendrycks & Dietterich, *Benchmarking Neural Network Robustness to Common Corruptions* (ICLR 2019). The strengths of the five
severities are ours, set for small images.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from scenarios.smoothing import blurred

Kind = Literal["gaussian-noise", "shot-noise", "impulse-noise", "blur", "brightness", "contrast", "pixelate"]
STRENGTHS: dict[Kind, tuple[float, ...]] = {
    "gaussian-noise": (0.08, 0.14, 0.22, 0.32, 0.45),
    "shot-noise": (60, 25, 12, 6, 3),
    "impulse-noise": (0.03, 0.07, 0.13, 0.2, 0.3),
    "blur": (0.5, 0.8, 1.1, 1.5, 2.0),
    "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
    "contrast": (0.6, 0.45, 0.3, 0.2, 0.1),
    "pixelate": (0.7, 0.6, 0.5, 0.4, 0.3),
}
"""For each severity: standard deviation; photons at full brightness; share of pixels; standard deviation in pixels; added; contrast left;
and resolution left."""


def corrupted(pixels: Tensor, kind: Kind, severity: int, generator: torch.Generator) -> Tensor:
    """Corrupt images of bytes.

    Args:
        pixels: uint8 [B, C, H, W].
        kind: how.
        severity: from 1 to 5.
        generator: on the CPU.

    Returns:
        uint8 [B, C, H, W].
    """
    changed = corrupt(pixels.float() / 255, kind, STRENGTHS[kind][severity - 1], generator)
    return (changed.clamp(0, 1) * 255).round().to(torch.uint8)


def corrupt(images: Tensor, kind: Kind, strength: float, generator: torch.Generator) -> Tensor:
    """Corrupt images.

    Args:
        images: [B, C, H, W] in [0, 1].
        kind: how.
        strength: see `STRENGTHS`.
        generator: on the CPU.

    Returns:
        [B, C, H, W], not yet cut to [0, 1].
    """
    if kind == "gaussian-noise":
        return images + strength * torch.randn(images.shape, generator=generator).to(images)
    if kind == "shot-noise":
        return torch.poisson((images * strength).cpu(), generator=generator).to(images) / strength
    if kind == "impulse-noise":
        draw = torch.rand(images.shape, generator=generator).to(images)
        return torch.where(draw < strength / 2, 0.0, torch.where(draw < strength, 1.0, images))
    if kind == "brightness":
        return images + strength
    if kind == "contrast":
        mean = images.mean((1, 2, 3), keepdim=True)
        return mean + strength * (images - mean)
    if kind == "blur":
        return blurred(images, strength)
    small = [max(1, round(strength * side)) for side in images.shape[2:]]
    return functional.interpolate(functional.interpolate(images, small, mode="area"), images.shape[2:], mode="nearest")
