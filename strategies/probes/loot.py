"""What a piggybacker is after: the classes of one experience, the parts of its training set that he has, and what he is tested on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scenarios.experience import Examples
from scenarios.random import Randomness
from scenarios.transfer import subsets


@dataclass(frozen=True, eq=False)
class Loot:
    """One experience to be stolen back.

    Attributes:
        index: of the experience.
        name: of the experience.
        learned: what the subsets are of.
        test: what a thief is tested on.
        outputs: what the targets count.
        sizes: by the name of a size, the positions of each subset in `learned`.
    """

    index: int
    name: str
    learned: Examples
    test: Examples
    outputs: range
    sizes: dict[str, list[Tensor]]

    @property
    def largest(self) -> str:
        """The size at which all piggybackers try: the largest in examples per class, or in per cent where there is none."""
        counts = [size for size in self.sizes if not size.endswith("%")]
        return max(counts, key=int) if counts else max(self.sizes, key=lambda size: float(size[:-1]))

    def images(self, positions: Tensor) -> Tensor:
        """Some of the images.

        Args:
            positions: int64 [n], in `learned`.

        Returns:
            float [n, C, H, W], normalised.
        """
        return self.learned.batch(positions.to(self.learned.rows.device)).x

    def digests(self) -> dict[str, Any]:
        """Names of the subsets and of the test examples that tell them apart.

        Returns:
            By size one for each subset, and `test`.
        """
        drawn = {size: [subsets.digest(self.learned, part) for part in parts] for size, parts in self.sizes.items()}
        return {"subsets": drawn, "test": subsets.digest(self.test, torch.arange(len(self.test)))}


def generator(randomness: Randomness, *purpose: str | int) -> torch.Generator:
    """Of what a piggyback probe draws.

    Args:
        randomness: of the run.
        purpose: what is drawn.

    Returns:
        A generator of its own.
    """
    return randomness.generator("piggyback", *purpose)
