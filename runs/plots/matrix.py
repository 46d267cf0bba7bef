"""The accuracy matrix of one run, or the mean of several seeds, as a heat map, the initial row kept apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from runs.plots import style
from runs.plots.curves import caption
from runs.recording.directories import Run
from runs.recording.groups import Group, title
from runs.showing.tables import numbered

MOST_NUMBERS = 12
"""Experiences up to which each cell shows its number."""


def accuracy_matrix(run: Run) -> Figure | None:
    """Draw R[i, j], the accuracy on experience j after learning experience i; empty cells are hatched.

    Args:
        run: a finished run.

    Returns:
        The figure, or None where the run has no accuracy matrix, or one of a single experience.
    """
    read = run.matrix()
    if read is None or len(read[0]) < 2:
        return None
    names, initial, matrix = read
    return _drawn(names, initial[None], matrix, None, "Accuracy matrix", caption(run))


def mean_accuracy_matrix(group: Group) -> Figure | None:
    """Draw the mean over seeds of R[i, j], and in each cell the standard deviation; a cell that a seed does not have is empty.

    Args:
        group: runs that differ in nothing but the seed.

    Returns:
        The figure, or None where there are not two seeds, or they have no matrices of one size.
    """
    read = [matrix for run in group.runs if (matrix := run.matrix()) is not None]
    if len(read) < 2 or len({matrix.shape for _, _, matrix in read}) > 1 or len(read[0][0]) < 2:
        return None
    whole = numpy.stack([numpy.concatenate([initial[None], matrix]) for _, initial, matrix in read])
    mean, deviation = whole.mean(0), whole.std(0, ddof=1)
    # Where the seed draws the order of classes an experience has its number alone.
    names = [name if all(each[index] == name for each, _, _ in read) else "" for index, name in enumerate(read[0][0])]
    seeds = f"{title([group])} · {group.label} · mean and standard deviation over {len(read)} seeds"
    return _drawn(names, mean[:1], mean[1:], deviation, "Mean accuracy matrix", seeds)


def _drawn(
    names: Sequence[str], initial: numpy.ndarray, matrix: numpy.ndarray, deviation: numpy.ndarray | None, heading: str, below: str
) -> Figure:
    rows, columns = matrix.shape
    cell = (0.48 if deviation is None else 0.6) if columns <= MOST_NUMBERS else 5.2 / columns
    width, height = max(cell * columns + 3.0, 5.2), max(cell * rows, 1.0) + cell + 1.3
    whole, body = style.figure(width, height, heading, below)
    upper, lower = body.subplots(2, 1, sharex=True, height_ratios=[1, rows], gridspec_kw={"hspace": 0.0})
    _cells(upper, initial, None if deviation is None else deviation[:1])
    image = _cells(lower, matrix, None if deviation is None else deviation[1:])
    thick = 1.8 if columns <= 20 else 0.7
    for index in range(min(rows, columns)):
        lower.add_patch(Rectangle((index - 0.5, index - 0.5), 1, 1, fill=False, edgecolor=style.OKABE_ITO[1], linewidth=thick, zorder=4))
    upper.set_yticks([0], ["before learning"])
    upper.tick_params(axis="x", length=0, labelbottom=False)
    ticks = _ticks(lower.yaxis, rows, names)
    lower.set_xticks(ticks, [str(tick) for tick in ticks])
    lower.set_xlabel("accuracy on experience", fontsize=9.5, color=style.INK)
    lower.set_ylabel("after learning experience", fontsize=9.5, color=style.INK)
    bar = body.colorbar(image, ax=[upper, lower], format=PercentFormatter(1, decimals=0), aspect=25, pad=0.02)
    bar.ax.tick_params(labelsize=8, length=0)
    bar.outline.set_visible(False)
    return whole


def _cells(axes: Axes, values: numpy.ndarray, deviation: numpy.ndarray | None) -> AxesImage:
    image = axes.imshow(numpy.ma.masked_invalid(values), cmap="YlGnBu", vmin=0, vmax=1, aspect="auto", interpolation="nearest", zorder=1)
    behind = Rectangle((0, 0), 1, 1, transform=axes.transAxes, facecolor="#f2f2f2", edgecolor="#bdbdbd", hatch="///", linewidth=0, zorder=0)
    axes.add_patch(behind)
    if values.shape[1] <= MOST_NUMBERS:
        for row, column in zip(*numpy.nonzero(~numpy.isnan(values))):
            dark = values[row, column] >= 0.6
            text = f"{100 * values[row, column]:.1f}"
            if deviation is not None:
                text += f"\n±{100 * deviation[row, column]:.1f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=8, gid=style.CELL, color="white" if dark else style.INK)
    axes.spines[:].set_visible(False)
    axes.tick_params(labelsize=8.5, length=0, colors=style.INK)
    return image


def _ticks(axis: object, count: int, names: Sequence[str]) -> list[int]:
    step = -(-count // 25)
    ticks = list(range(0, count, step))
    length = 12 if style.narrow() else 28
    axis.set_ticks(ticks, [numbered(tick, names[tick], length=length) if names[tick] else str(tick) for tick in ticks])  # type: ignore[attr-defined]
    return ticks
