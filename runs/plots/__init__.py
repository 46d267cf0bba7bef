"""Figures, redrawn from a run's directory at any time. Importing this imports matplotlib; the command line does so when it draws.

`PLOTS` names the figures of one run. A drawing is a function of a run that returns a figure, or None where the run does not call for it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from runs.plots import attacks, style
from runs.plots.comparison import compare
from runs.plots.curves import forgetting_curves
from runs.plots.disposal import pl_by_size, pl_by_steps, trade_off
from runs.plots.episodes import adaptation, compare_few_shot, inside, training_curve
from runs.plots.matrix import accuracy_matrix, mean_accuracy_matrix
from runs.plots.routing import capacity, generated_samples, task_confusion
from runs.plots.training import training
from runs.recording import directories
from runs.recording.directories import Run
from runs.recording.groups import Group

__all__ = [
    "PLOTS",
    "accuracy_matrix",
    "adaptation",
    "compare",
    "compare_few_shot",
    "draw",
    "draw_group",
    "forgetting_curves",
    "inside",
    "means",
    "side_by_side",
    "training",
    "training_curve",
]

PLOTS: dict[str, Callable[[Run], Figure | None]] = {
    "forgetting_curves": forgetting_curves,
    "accuracy_matrix": accuracy_matrix,
    "training": training,
    "training_curve": training_curve,
    "adaptation": adaptation,
    "inside_episodes": inside,
    "task_confusion": task_confusion,
    "generated_samples": generated_samples,
    "capacity": capacity,
    "target_curve": attacks.target_curve,
    "poisoned_pictures": attacks.poisoned_pictures,
    "detection": attacks.detection,
    "pl_by_size": pl_by_size,
    "pl_by_steps": pl_by_steps,
}
"""File name to drawing."""


MOST_MEANS = 20
"""Groups up to which each has its mean accuracy matrix drawn."""
FORMATS = ("png", "pdf", "svg")
"""What figures can be written as."""


def draw(directory: Path, *, missing: bool = False, formats: Sequence[str] = ("png",), columns: int | None = None) -> list[Path]:
    """Draw everything that a run calls for into its folder `plots`.

    Args:
        directory: the run's directory.
        missing: only what is not there.
        formats: of `FORMATS`.
        columns: of a paper that a figure spans, 1 or 2: what is drawn for papers goes into `plots/paper`; None for the screen.

    Returns:
        The files.
    """
    run = directories.read(directory)
    folder = run.directory / "plots" / ("paper" if columns else "")
    with style.paper(columns) if columns else contextlib.nullcontext():
        drawn = {name: plot(run) for name, plot in PLOTS.items() if not (missing and (folder / f"{name}.png").exists())}
        return [style.save(figure, folder / f"{name}.{each}") for name, figure in drawn.items() if figure for each in formats]


def draw_group(groups: Sequence[Group], folder: Path, *, formats: Sequence[str] = ("png",), columns: int | None = None) -> list[Path]:
    """Draw groups of runs side by side, and of each group's seeds the mean accuracy matrix.

    Args:
        groups: at least one.
        folder: where the figures are written; those for papers into its folder `paper`.
        formats: of `FORMATS`.
        columns: of a paper that a figure spans, 1 or 2; None for the screen.

    Returns:
        The files; none where the runs have nothing to draw.
    """
    place = folder / "paper" if columns else folder
    with style.paper(columns) if columns else contextlib.nullcontext():
        drawn = {**side_by_side(groups), **{name: figure for name, _, figure in means(groups)}}
        return [style.save(figure, place / f"{name}.{each}") for name, figure in drawn.items() for each in formats]


def side_by_side(groups: Sequence[Group]) -> dict[str, Figure]:
    """The figures that all groups share.

    Args:
        groups: at least one.

    Returns:
        File name to figure.
    """
    if figure := trade_off(groups):
        drawn = {"trade_off": figure}
    else:
        figure = compare_few_shot(groups) or compare(groups)
        drawn = {"forgetting_curves": figure} if figure else {}
    return {**drawn, **attacks.compared(groups)}


def means(groups: Sequence[Group]) -> list[tuple[str, Group, Figure]]:
    """The mean accuracy matrices of groups of several seeds; none of disposals, or where there are more than `MOST_MEANS` groups.

    Args:
        groups: at least one.

    Returns:
        File name, group and figure.
    """
    found: list[tuple[str, Group, Figure]] = []
    # What disposal did is told by other figures.
    disposed = any("unlearning" in group.summary for group in groups)
    for group in groups if len(groups) <= MOST_MEANS and not disposed else ():
        name = "_".join(["mean_accuracy_matrix", *([re.sub(r"[^\w.+=-]+", "-", group.label)[:80]] if len(groups) > 1 else [])])
        if figure := mean_accuracy_matrix(group):
            found.append((name if all(name != other for other, _, _ in found) else f"{name}-{len(found)}", group, figure))
    return found
