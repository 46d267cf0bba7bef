"""Figures, redrawn from a run's directory at any time. Importing this imports matplotlib; the command line does so when it draws.

`PLOTS` names the figures of one run. A drawing is a function of a run that returns a figure, or None where the run does not call for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from runs.plots import attacks, style
from runs.plots.comparison import compare
from runs.plots.curves import forgetting_curves
from runs.plots.disposal import pl_by_size, pl_by_steps, trade_off
from runs.plots.episodes import adaptation, compare_few_shot, inside, training_curve
from runs.plots.matrix import accuracy_matrix
from runs.plots.routing import capacity, generated_samples, task_confusion
from runs.plots.training import training
from runs.recording import directories
from runs.recording.directories import Run
from runs.recording.groups import Group
from scenarios.errors import UserError

__all__ = [
    "PLOTS",
    "accuracy_matrix",
    "adaptation",
    "compare",
    "compare_few_shot",
    "draw",
    "draw_comparison",
    "forgetting_curves",
    "inside",
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


FORMATS = ("png", "pdf", "svg")
"""What figures can be written as."""


def draw(directory: Path, *, missing: bool = False, formats: Sequence[str] = ("png",)) -> list[Path]:
    """Draw everything that a run calls for into its folder `plots`.

    Args:
        directory: the run's directory.
        missing: only what is not there.
        formats: of `FORMATS`.

    Returns:
        The files.
    """
    run = directories.read(directory)
    paths = {name: run.directory / "plots" / f"{name}.png" for name in PLOTS}
    drawn = {name: plot(run) for name, plot in PLOTS.items() if not (missing and paths[name].exists())}
    return [style.save(figure, paths[name].with_suffix(f".{each}")) for name, figure in drawn.items() if figure for each in formats]


def draw_attacks(groups: Sequence[Group], folder: Path) -> list[Path]:
    """Draw what groups of attacked runs call for beside their comparison.

    Args:
        groups: at least one.
        folder: where the PNG files are written.

    Returns:
        The files; none where the runs were not attacked.
    """
    return [style.save(figure, folder / f"{name}.png") for name, figure in attacks.compared(groups).items()]


def draw_comparison(groups: Sequence[Group], path: Path) -> Path:
    """Draw groups of runs into one figure.

    Args:
        groups: at least one.
        path: the PNG file; of disposals, whose picture is another, its folder alone counts.

    Returns:
        The file.

    Raises:
        UserError: the runs have no accuracy matrices.
    """
    if figure := trade_off(groups):
        return style.save(figure, path.with_name("trade_off.png"))
    figure = compare_few_shot(groups) or compare(groups)
    if figure is None:
        raise UserError("these runs have no accuracy matrix to draw; read their table instead")
    return style.save(figure, path)
