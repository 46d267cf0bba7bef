"""What all figures share: colours that the colour-blind can tell apart, a title with a caption line, and saving."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure, SubFigure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator, PercentFormatter

from runs.recording import files

INK, GREY, PALE = "#1a1a1a", "#6b6b6b", "#dcdcdc"
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195", "#8C8C00")
"""Okabe and Ito's colours, the ones that stand out on white first; its yellow and black give way to violet and olive of the same spirit."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")


PLAIN: dict[str, dict[str, None]] = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}
"""Without the time of drawing, so that the same run is drawn with the same bits."""


def figure(width: float, height: float, title: str, caption: str) -> tuple[Figure, SubFigure]:
    """Begin a figure.

    Args:
        width: in inches.
        height: in inches, of the drawing; title and caption come on top.
        title: what is shown.
        caption: what it was measured on.

    Returns:
        The figure, and the part of it to draw in (a subfigure).
    """
    head = 0.55
    whole = Figure(figsize=(width, height + head), layout="constrained", facecolor="white")
    FigureCanvasAgg(whole)
    grid = whole.add_gridspec(2, 1, height_ratios=[head, height])
    top, body = whole.add_subfigure(grid[0]), whole.add_subfigure(grid[1])
    margin = 0.1 / width
    top.text(margin, 0.66, title, fontsize=12, fontweight="bold", color=INK, va="center")
    top.text(margin, 0.24, caption, fontsize=8, color=GREY, va="center")
    return whole, body


def colours(count: int) -> list:
    """Colours for so many things in a row.

    Args:
        count: how many.

    Returns:
        Distinct hues for up to 8; steps along a map of even lightness change, from dark to light, for more.
    """
    from matplotlib import colormaps

    if count <= len(OKABE_ITO):
        return list(OKABE_ITO[:count])
    return [colormaps["viridis"](0.92 * place / (count - 1)) for place in range(count)]


def darkened(colour: Any) -> tuple[float, ...]:
    """Make a line's colour fit for text.

    Args:
        colour: any colour of matplotlib's.

    Returns:
        The same hue, darker.
    """
    return tuple(0.78 * part for part in to_rgb(colour))


def accuracy_axes(axes: Axes, lowest: float, experiences: int, label: str) -> None:
    """Make axes for accuracies against a number of experiences.

    Args:
        axes: to be styled.
        lowest: the lowest accuracy that is shown; the vertical axis begins at the tenth below it.
        experiences: the last place on the horizontal axis.
        label: of the horizontal axis.
    """
    start = max(0.0, math.floor(10 * lowest - 0.3) / 10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(colors=INK, labelsize=9, length=3, color=GREY)
    margin = 0.02 * (1 - start)
    axes.set_ylim(start - margin, 1 + margin)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=min(experiences + 1, 10), integer=True, min_n_ticks=1))
    axes.grid(axis="y", color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel(label, fontsize=9.5, color=INK)


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move labels apart so that none covers another, each as little as its neighbours allow.

    Labels that touch become a block around the mean of where they wanted to stand.

    Args:
        places: where they would stand.
        gap: the least distance between two.
        low: where the lowest may stand.
        high: where the highest may stand.

    Returns:
        Where they stand, in the same order of height.

    Example:
        >>> spread([0.5, 0.5, 1.0], gap=0.25, low=0.0, high=1.0)
        [0.375, 0.625, 1.0]
    """
    order = sorted(range(len(places)), key=lambda index: places[index])
    blocks: list[tuple[float, int]] = []
    for index in order:
        centre, size = places[index], 1
        while True:
            reach = gap * (size - 1) / 2
            centre = min(max(centre, low + reach), high - reach)
            if not blocks or centre - blocks[-1][0] >= gap * (size + blocks[-1][1]) / 2:
                break
            other, many = blocks.pop()
            centre, size = (centre * size + other * many) / (size + many), size + many
        blocks.append((centre, size))
    stands = [centre + gap * (step - (size - 1) / 2) for centre, size in blocks for step in range(size)]
    return [stand for _, stand in sorted(zip(order, stands))]


def save(drawn: Figure, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all; the dollar signs of a class's name begin no formula.

    Args:
        drawn: the figure.
        path: the file, whose ending names its format (png, pdf, svg); its folder is made.

    Returns:
        The path.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for text in drawn.findobj(Text):
        text.set_parse_math(False)
    # The context is for labels of ticks, which are made while they are drawn.
    with rc_context({"text.parse_math": False}), files.replacing(path) as file:
        # Laid out here, once: saving would go through a whole drawing to do so, and then draw.
        if engine := drawn.get_layout_engine():
            engine.execute(drawn)
            drawn.set_layout_engine("none")
        drawn.savefig(file, format=path.suffix[1:], dpi=200, metadata=PLAIN.get(path.suffix, {}))
    return path
