"""Forgetting curves of one run: the accuracy on each experience, from when it was learned to the end."""

from __future__ import annotations

from typing import Any

import numpy
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure, SubFigure

from runs.plots import style
from runs.recording.directories import Run, learned
from runs.showing.tables import numbered

MOST_LABELS = 8
"""Experiences that are labelled one by one; more are told apart by a colour scale."""
MANY: dict[str, Any] = {"marker": "o", "markersize": 2, "linewidth": 0.9}
"""The look of lines that are many."""


def forgetting_curves(run: Run) -> Figure | None:
    """Draw the accuracy on each experience against the number of experiences learned, and the average over those seen so far.

    Args:
        run: a finished run.

    Returns:
        The figure, or None where the run has no accuracy matrix, or one of a single experience.
    """
    import torch

    from metrics.continual import average_accuracy_seen

    read = run.matrix()
    if read is None or len(read[0]) < 2:
        return None
    names, matrix = learned(read[0], read[2])
    count = len(names)
    average = average_accuracy_seen(torch.from_numpy(matrix)).numpy()
    whole, body = style.figure(7.2, 3.9, "Forgetting curves", caption(run))
    axes = body.subplots()
    few, hues = count <= MOST_LABELS, style.colours(count)
    places = numpy.arange(1, count + 1)
    for index in range(count):
        look = {"marker": style.MARKERS[index], "markersize": 4.5, "linewidth": 1.6} if few else MANY
        axes.plot(places[index:], matrix[index:, index], color=hues[index], zorder=3, **look)
    if not numpy.isnan(average[-1]):
        axes.plot(places, average, color="white", linewidth=4.4, zorder=2 if few else 4)
        axes.plot(places, average, color=style.INK, linewidth=2.4, linestyle=(0, (4, 1.5)), zorder=2 if few else 5)
    style.accuracy_axes(axes, float(numpy.nanmin(matrix[numpy.tril_indices(count)])), count, "experiences learned")
    axes.set_xlim(1 - 0.03 * count, count + 0.02 * count)
    axes.set_ylabel("accuracy on the experience", fontsize=9.5, color=style.INK)
    if few:
        ends = [(f"{numbered(index, names[index])}  ", matrix[-1, index], hues[index]) for index in range(count)]
        _label_ends(axes, count, [*ends, ("average of seen  ", average[-1], style.INK)])
    else:
        _label_ends(axes, count, [("average\nof seen\n", average[-1], style.INK)])
        _colour_scale(body, axes, hues)
    return whole


def caption(run: Run) -> str:
    """Say what a run was.

    Args:
        run: a finished run.

    Returns:
        Scenario, strategy, setting, seed and data, in one line.
    """
    return f"{run.summary['scenario']} · {run.shown} · setting {run.summary['setting']} · seed {run.seed} · {run.data}"


def _label_ends(axes: Axes, last: int, ends: list[tuple[str, float, Any]]) -> None:
    shown = [(text, height, colour) for text, height, colour in ends if not numpy.isnan(height)]
    low, high = axes.get_ylim()
    stands = style.spread([(height - low) / (high - low) for _, height, _ in shown], gap=0.062, low=0.02, high=0.98)
    for (text, height, colour), stand in zip(shown, stands):
        axes.annotate(
            f"{text}{100 * height:.1f}%",
            xy=(last, height),
            xytext=(1.06, stand),
            textcoords="axes fraction",
            color=style.darkened(colour),
            fontsize=8.5,
            fontweight="bold" if colour == style.INK else "normal",
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "relpos": (0, 0.5), "shrinkA": 1, "shrinkB": 4},
        )


def _colour_scale(body: SubFigure, axes: Axes, hues: list) -> None:
    norm = BoundaryNorm(numpy.arange(len(hues) + 1) - 0.5, len(hues))
    step = -(-len(hues) // 10)
    bar = body.colorbar(ScalarMappable(norm, ListedColormap(hues)), ax=axes, ticks=range(0, len(hues), step), pad=0.06, aspect=30)
    bar.set_label("experience", fontsize=9, color=style.INK)
    bar.minorticks_off()
    bar.ax.tick_params(labelsize=8, length=0)
    bar.outline.set_visible(False)
