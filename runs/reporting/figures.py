"""The figures of a report, each as an SVG inside the page, with the command that makes it again."""

from __future__ import annotations

import base64
import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path

from runs import plots
from runs.plots import style
from runs.reporting.gathering import Part

SINGLE = tuple(name for name in plots.PLOTS if name != "training")
"""Of a run, what a report shows; losses while training say nothing of the outcome."""


@dataclass(frozen=True)
class Drawn:
    """One figure.

    Attributes:
        name: what it shows.
        source: a data URI.
        command: draws it again.
    """

    name: str
    source: str
    command: str


def compared(part: Part) -> list[Drawn]:
    """Draw the groups of a part side by side.

    Args:
        part: of a report.

    Returns:
        The figures; empty where the runs have nothing to draw.
    """
    command = shlex.join(["simulate", "compare", *map(str, part.given)])
    with tempfile.TemporaryDirectory() as folder:
        files = plots.draw_group(part.groups, Path(folder), formats=("svg",))
        return [Drawn(path.stem.replace("_", " "), _embedded(path), command) for path in files]


def of_first_seeds(part: Part) -> list[tuple[str, list[Drawn]]]:
    """Draw the first seed of every group.

    Args:
        part: of a report.

    Returns:
        What each is called, and its figures; groups that have nothing to draw are not there.
    """
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for group in part.groups:
            run = group.runs[0]
            command = shlex.join(["simulate", "plot", str(run.directory)])
            figures = {name: figure for name in SINGLE if (figure := plots.PLOTS[name](run))}
            files = [style.save(figure, Path(folder) / f"{name}.svg") for name, figure in figures.items()]
            if files:
                drawn = [Drawn(path.stem.replace("_", " "), _embedded(path), command) for path in files]
                found.append((f"{group.label}, seed {run.seed}", drawn))
    return found


def _embedded(path: Path) -> str:
    # An image, not elements of the page: identifiers of several figures cannot meet, and nothing inside is ever executed.
    return f"data:image/svg+xml;base64,{base64.b64encode(path.read_bytes()).decode()}"
