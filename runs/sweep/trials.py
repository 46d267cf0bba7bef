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
        stage: `selection/` or `report/` where options are selected on some seeds and reported on others.
    """

    point: Point
    seed: int
    place: Path
    state: str = "new"
    seconds: float | None = None
    found: str = ""
    stage: str = ""

    @property
    def name(self) -> str:
        """Its stable name."""
        return f"{self.stage}{self.point.label}/seed-{self.seed}"

    @property
    def request(self) -> dict[str, Any]:
        """What is asked for."""
        return {**self.point.request, "seed": self.seed}


def of(points: Iterable[Point], seeds: Iterable[int], folder: Path, stage: str = "") -> list[Trial]:
    """The runs of points over seeds.

    Args:
        points: of the sweep.
        seeds: which are run.
        folder: the sweep's.
        stage: where in it they lie.

    Returns:
        The runs, seed by seed: where there is no time for all, the points still have the same seeds.
    """
    points = list(points)
    places = {point.label: folder / stage / point.label for point in points}
    return [Trial(point, seed, places[point.label] / f"seed-{seed}", stage=stage) for seed in seeds for point in points]
