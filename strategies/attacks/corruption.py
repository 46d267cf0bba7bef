"""`corruption`: common image corruptions of the current experience's data, without any knowledge of model or past.

Kinds after Hendrycks & Dietterich, *Benchmarking Neural Network Robustness to Common Corruptions* (ICLR 2019); as an adversary of
continual learners after Pawlak et al., *Single-Task Poisoning* (arXiv 2507.04106). Their strengths are in `scenarios.corruptions`.
"""

from __future__ import annotations

from dataclasses import dataclass

from scenarios.corruptions import Kind, corrupted
from scenarios.experience import Examples
from scenarios.options import option
from strategies.attacks.adversary import Adversary, AttackConfig
from strategies.attacks.view import AdversaryView


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
        changed = corrupted(pixels, self.config.kind, self.config.severity, view.generator("corruption"))
        return view.examples.altered(positions, changed)
