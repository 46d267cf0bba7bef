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
        files = [style.save(figure, Path(folder) / f"{name}.svg") for name, figure in plots.side_by_side(part.groups).items()]
        return [Drawn(path.stem.replace("_", " "), _embedded(path), command) for path in files]


def of_each(part: Part) -> list[tuple[str, list[Drawn]]]:
    """Draw every group by itself: the mean accuracy matrix of its seeds, and its first seed.

    Args:
        part: of a report.

    Returns:
        What each is called, and its figures; groups that have nothing to draw are not there.
    """
    found = []
    averaged = {id(group): figure for _, group, figure in plots.means(part.groups)}
    with tempfile.TemporaryDirectory() as folder:
        for group in part.groups:
            run, drawn = group.runs[0], []
            if figure := averaged.get(id(group)):
                mean = _embedded(style.save(figure, Path(folder) / "mean.svg"))
                drawn.append(Drawn("mean accuracy matrix", mean, shlex.join(["simulate", "compare", *map(str, part.given)])))
            command = shlex.join(["simulate", "plot", str(run.directory)])
            wanted = [name for name in SINGLE if not (drawn and name == "accuracy_matrix")]
            figures = {name: figure for name in wanted if (figure := plots.PLOTS[name](run))}
            files = [style.save(figure, Path(folder) / f"{name}.svg") for name, figure in figures.items()]
            drawn += [Drawn(path.stem.replace("_", " "), _embedded(path), command) for path in files]
            if drawn:
                found.append((f"{group.label}, {'mean of seeds, and ' if id(group) in averaged else ''}seed {run.seed}", drawn))
    return found


def _embedded(path: Path) -> str:
    # An image, not elements of the page: identifiers of several figures cannot meet, and nothing inside is ever executed.
    return f"data:image/svg+xml;base64,{base64.b64encode(path.read_bytes()).decode()}"
