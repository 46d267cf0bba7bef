"""Means over seeds with their intervals, one line a run, beside published numbers."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from runs.plots import style
from runs.recording.rows import Row

LINE, HEAD = 0.21, 0.75
"""Inches that a run takes, and a panel beside its runs."""


def draw(panels: Sequence[tuple[str, Sequence[Row]]]) -> Figure:
    """Draw a panel for each table, below each other.

    Args:
        panels: for each a recipe's name, and rows of it, all of one metric and with a spread.

    Returns:
        The figure.
    """
    heights = [HEAD + LINE * len(rows) for _, rows in panels]
    title, caption = "Recorded runs", "dots: means over seeds, with Student's 95 % intervals; diamonds: published"
    whole, body = style.figure(7.2, sum(heights), title, caption)
    all_axes = body.subplots(len(panels), 1, height_ratios=heights, squeeze=False)[:, 0]
    for axes, (name, rows) in zip(all_axes, panels):
        _panel(axes, name, rows)
    return whole


def _panel(axes: Axes, name: str, rows: Sequence[Row]) -> None:
    places = [-place for place in range(len(rows))]
    for place, row in zip(places, rows):
        assert row.spread is not None
        half = 100 * (row.spread.ci95 or 0.0)
        mean = 100 * row.spread.mean
        axes.plot([mean - half, mean + half], [place, place], color=style.OKABE_ITO[0], linewidth=1.6, solid_capstyle="butt")
        axes.plot(mean, place, "o", color=style.OKABE_ITO[0], markersize=4.5)
        if row.paper is not None:
            axes.plot(100 * row.paper, place, "D", color=style.OKABE_ITO[1], markersize=5, fillstyle="none")
    axes.set_yticks(places, [row.shown for row in rows])
    axes.set_ylim(places[-1] - 0.7, 0.7)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(style.GREY)
    axes.tick_params(colors=style.INK, labelsize=8, length=3, color=style.GREY)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 5, 10]))
    axes.grid(axis="both", color=style.PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    metric = rows[0].metric.removesuffix(".mean").replace("_", " ").replace(".", ", ")
    axes.set_title(f"{name}: {metric}, %", fontsize=9, loc="left", color=style.INK)
