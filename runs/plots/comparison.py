"""Several strategies in one figure, with a band over seeds: what each still knows of all it has seen, and how it forgets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metrics.statistics import band
from runs.plots import style
from runs.recording.directories import learned
from runs.recording.groups import Group, title

if TYPE_CHECKING:
    from torch import Tensor


def compare(groups: Sequence[Group]) -> Figure | None:
    """Draw groups side by side: mean over seeds, and a band of Student's 95 % interval where there are two seeds or more.

    Left: the average accuracy over the experiences seen so far. Right: the forgetting curve averaged over experiences, the accuracy on an
    experience d experiences after it was learned.

    Args:
        groups: at least one.

    Returns:
        The figure, or None where no group's runs have accuracy matrices.
    """
    from metrics.continual import accuracy_by_age, average_accuracy_seen

    drawn = [(group, matrices) for group in groups if (matrices := _matrices(group))]
    if not drawn:
        return None
    columns = style.legend_columns([group.label for group, _ in drawn], len(drawn))
    height = 3.4 + 0.22 * -(-len(drawn) // columns)
    whole, body = style.figure(9.0, height, "Comparison of strategies", f"{title(groups)} · {_seeds(groups)}", panels=2)
    left, right = body.subplots(*style.beside(2), sharey=True)
    for index, (group, matrices) in enumerate(drawn):
        _curve(left, 1, [average_accuracy_seen(matrix) for matrix in matrices], _look(index, len(drawn)), group.label)
        _curve(right, 0, [accuracy_by_age(matrix) for matrix in matrices], _look(index, len(drawn)), group.label)
    count = max(len(matrices[0]) for _, matrices in drawn)
    lowest = min(axes.dataLim.y0 for axes in (left, right))
    style.accuracy_axes(left, lowest, count, "experiences learned")
    style.accuracy_axes(right, lowest, count, "experiences learned since (mean over experiences)")
    left.set_title("average accuracy on what was seen so far", fontsize=10, loc="left", color=style.INK)
    right.set_title("accuracy on an experience, by its age", fontsize=10, loc="left", color=style.INK)
    for axes in (left, right) if style.narrow() else (left,):
        axes.set_ylabel("accuracy", fontsize=9.5, color=style.INK)
    body.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
    return whole


def _matrices(group: Group) -> list[Tensor]:
    import torch

    read = [matrix for run in group.runs if (matrix := run.matrix()) is not None]
    return [torch.from_numpy(learned(names, matrix)[1]) for names, _, matrix in read]


def _look(index: int, count: int) -> dict[str, Any]:
    # After the eighth group the hues come again, with another marker and line.
    hue, again = index % len(style.OKABE_ITO), index // len(style.OKABE_ITO)
    return {
        "color": style.OKABE_ITO[hue],
        "marker": style.MARKERS[(hue + again) % len(style.MARKERS)],
        "linestyle": ("-", "--", ":", "-.")[again % 4],
        "markersize": 4.5 if count <= len(style.OKABE_ITO) else 3.5,
        "linewidth": 1.8 if count <= len(style.OKABE_ITO) else 1.4,
    }


def _curve(axes: Axes, first: int, curves: list[Tensor], look: dict[str, Any], label: str) -> None:
    mean, half = band([curve.numpy() for curve in curves])
    places = numpy.arange(first, first + len(mean))
    axes.plot(places, mean, label=label, **look)
    if half is not None:
        axes.fill_between(places, (mean - half).clip(0, 1), (mean + half).clip(0, 1), color=look["color"], alpha=0.13, linewidth=0)


def _seeds(groups: Sequence[Group]) -> str:
    numbers = sorted({len(group.runs) for group in groups})
    if numbers == [1]:
        return "1 seed"
    return f"{' / '.join(map(str, numbers))} seeds, bands: 95 % interval (Student's t)"
