"""Keyed randomness: every consumer draws from a generator that is a pure function of the run's seed and of what it is for.

No generator is shared, so that one consumer more or less changes nothing for the others, and none needs to be saved: a resumed run makes
the same generator from the same key.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Randomness:
    """The randomness of one run.

    Attributes:
        seed: the run's seed.
    """

    seed: int

    def key(self, *purpose: str | int) -> int:
        """The seed of one consumer.

        Args:
            purpose: what the numbers are for, for instance `("order", experience, phase, epoch)`.

        Returns:
            A whole number of 63 bits.

        Example:
            >>> Randomness(0).key("order", 1) == Randomness(0).key("order", 1) != Randomness(0).key("order", 2)
            True
        """
        text = repr((self.seed, *purpose)).encode()
        return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1

    def generator(self, *purpose: str | int, device: torch.device | str = "cpu") -> torch.Generator:
        """A generator of one consumer.

        Args:
            purpose: what the numbers are for.
            device: where the numbers are drawn.

        Returns:
            A generator, newly seeded.
        """
        return torch.Generator(device=device).manual_seed(self.key(*purpose))
