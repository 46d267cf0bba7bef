"""Forgetting curves of one run: the accuracy on each experience, from when it was learned to the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from runs.plots import style
from runs.recording.directories import Run, learned
from runs.showing.tables import numbered

MOST_LABELS = 8
"""Experiences that are drawn one by one; of more, their middle range and three of them."""


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
    places = numpy.arange(count)
    lowest = float(numpy.nanmin(matrix[numpy.tril_indices(count)]))
    ends = _one_by_one(axes, names, matrix) if count <= MOST_LABELS else _as_a_crowd(axes, names, matrix)
    axes.plot(places, average, color="white", linewidth=4.4, zorder=2)
    axes.plot(places, average, color=style.INK, linewidth=2.4, linestyle=(0, (4, 1.5)), zorder=2)
    style.accuracy_axes(axes, lowest, count, "after learning experience")
    axes.set_xlim(-0.03 * count, 1.02 * count - 1)
    axes.set_ylabel("accuracy on the experience", fontsize=9.5, color=style.INK)
    _label_ends(axes, count - 1, [*ends, ("average of seen  ", average[-1], style.INK)])
    return whole


def _one_by_one(axes: Axes, names: Sequence[str], matrix: numpy.ndarray) -> list[tuple[str, float, Any]]:
    count, hues = len(names), style.colours(len(names))
    for index in range(count):
        look: dict[str, Any] = {"color": hues[index], "marker": style.MARKERS[index], "markersize": 4.5, "linewidth": 1.6}
        axes.plot(numpy.arange(index, count), matrix[index:, index], zorder=3, **look)
    return [(f"{numbered(index, names[index])}  ", matrix[-1, index], hues[index]) for index in range(count)]


def _as_a_crowd(axes: Axes, names: Sequence[str], matrix: numpy.ndarray) -> list[tuple[str, float, Any]]:
    # Of many experiences: the range that the middle eight of ten lie in, and three of them by name.
    count = len(names)
    seen = [matrix[row, : row + 1] for row in range(count)]
    low, high = (numpy.array([numpy.nanquantile(each, share) for each in seen]) for share in (0.1, 0.9))
    axes.fill_between(numpy.arange(count), low, high, color=style.OKABE_ITO[0], alpha=0.15, linewidth=0, zorder=1)
    ends = [("middle 80 % of seen\n", float(numpy.nanmean([low[-1], high[-1]])), style.OKABE_ITO[0])]
    for place, index in enumerate((0, count // 2, count - 2)):
        look: dict[str, Any] = {"color": style.OKABE_ITO[place + 1], "marker": style.MARKERS[place + 1], "markersize": 3, "linewidth": 1.4}
        axes.plot(numpy.arange(index, count), matrix[index:, index], zorder=3, **look)
        ends.append((f"{numbered(index, names[index])}  ", matrix[-1, index], style.OKABE_ITO[place + 1]))
    return ends


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
    stands = style.spread([(height - low) / (high - low) for _, height, _ in shown], gap=style.gap(), low=0.02, high=0.98)
    for (text, height, colour), stand in zip(shown, stands):
        shown_height = "" if text.endswith("\n") else f"{100 * height:.1f}%"
        axes.annotate(
            f"{text}{shown_height}".rstrip("\n"),
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
