"""`corruption`: common image corruptions of the current experience's data, without any knowledge of model or past.

Kinds after Hendrycks & Dietterich, *Benchmarking Neural Network Robustness to Common Corruptions* (ICLR 2019); as an adversary of
continual learners after Pawlak et al., *Single-Task Poisoning* (arXiv 2507.04106). The strengths of the five severities are ours, set for
small images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from scenarios.experience import Examples
from scenarios.options import option
from strategies.attacks.adversary import Adversary, AttackConfig
from strategies.attacks.ball import LEVELS
from strategies.attacks.view import AdversaryView
from strategies.smoothing import blurred

Kind = Literal["gaussian-noise", "shot-noise", "impulse-noise", "blur", "brightness", "contrast", "pixelate"]
STRENGTHS: dict[str, tuple[float, ...]] = {
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


@dataclass(frozen=True, kw_only=True)
class CorruptionConfig(AttackConfig):
    """Options of `corruption`.

    Attributes:
        kind: gaussian-noise, shot-noise, impulse-noise, blur, brightness, contrast or pixelate.
        severity: from 1 to 5.
    """

    kind: Kind = "gaussian-noise"
    severity: int = option(3, low=1, high=5)


class Corruption(Adversary):
    """Corrupts images as cameras and cables do."""

    Config = CorruptionConfig

    def poison(self, view: AdversaryView) -> Examples:
        """Corrupt the chosen examples.

        Args:
            view: what the adversary sees: the examples alone.

        Returns:
            The altered examples.
        """
        positions = self.chosen(view)
        pixels = view.examples.raw_pixels(positions)
        strength = STRENGTHS[self.config.kind][self.config.severity - 1]
        changed = corrupt(pixels.float() / LEVELS, self.config.kind, strength, view.generator("corruption"))
        return view.examples.altered(positions, (changed.clamp(0, 1) * LEVELS).round().to(torch.uint8))


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
