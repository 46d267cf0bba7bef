"""The runs of a sweep: a point and a seed each, with a place of their own, and what is known of them before they begin."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runs.sweep.space import Point


@dataclass(frozen=True, eq=False)
class Trial:
    """One run of a sweep.

    Attributes:
        point: what is run.
        seed: its seed.
        place: its directory; of a run that was found finished under another name, that one's.
        state: `new`, `begun` (it will go on) or `done`.
        seconds: how long like runs took; None where none is known.
        found: whose seconds these are, in words.
    """

    point: Point
    seed: int
    place: Path
    state: str = "new"
    seconds: float | None = None
    found: str = ""

    @property
    def name(self) -> str:
        """Its stable name."""
        return f"{self.point.label}/seed-{self.seed}"

    @property
    def request(self) -> dict[str, Any]:
        """What is asked for."""
        return {**self.point.request, "seed": self.seed}


def of(points: Iterable[Point], seeds: Iterable[int], folder: Path) -> list[Trial]:
    """The runs of points over seeds.

    Args:
        points: of the sweep.
        seeds: which are run.
        folder: the sweep's.

    Returns:
        The runs, seed by seed: where there is no time for all, the points still have the same seeds.
    """
    points = list(points)
    return [Trial(point, seed, folder / point.label / f"seed-{seed}") for seed in seeds for point in points]
