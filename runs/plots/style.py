"""What all figures share: colours that the colour-blind can tell apart, a title with a caption line, and saving."""

from __future__ import annotations

import io
import math
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure, FigureBase
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator, PercentFormatter

from runs.recording import files

INK, GREY, PALE = "#1a1a1a", "#6b6b6b", "#dcdcdc"
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195", "#8C8C00")
"""Okabe and Ito's colours, the ones that stand out on white first; its yellow and black give way to violet and olive of the same spirit."""
CELL = "cell"
"""Marks texts that are numbers in cells of a heat map."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")


PLAIN: dict[str, dict[str, None]] = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}
"""Without the time of drawing, so that the same run is drawn with the same bits."""


COLUMN = {1: 3.25, 2: 6.75}
"""Width in inches of one and of two columns of a paper."""
POINTS = 8.0
"""Size of all text in a paper's figures."""
LETTERS = 38
"""Of them beside each other below the axes of one column."""
TALLER = 1.3
"""A column's figures are taller for their width than those of the screen: the text takes more of them."""
_column: ContextVar[float | None] = ContextVar("column", default=None)


@contextmanager
def paper(columns: int = 1) -> Iterator[None]:
    """While it lasts, figures are drawn for a paper: no title or caption, as wide as its columns, all text of 8 points.

    Args:
        columns: how many columns a figure spans, 1 or 2.
    """
    token = _column.set(COLUMN[columns])
    try:
        yield
    finally:
        _column.reset(token)


def narrow() -> bool:
    """Whether figures are drawn for one column of a paper, where panels stand below each other.

    Returns:
        True for one column.
    """
    return _column.get() == COLUMN[1]


def beside(count: int) -> tuple[int, int]:
    """Rows and columns of panels that stand side by side where there is room.

    Args:
        count: how many panels.

    Returns:
        One row; in one column of a paper, one panel a row.
    """
    return (count, 1) if narrow() else (1, count)


def gap() -> float:
    """The share of an axes' height that a line of text beside it takes.

    Returns:
        A fraction.
    """
    return 0.062 if _column.get() is None else 0.1 if narrow() else 0.075


def legend_columns(labels: Sequence[str], most: int = 6) -> int:
    """How many labels of a legend stand side by side below a figure.

    Args:
        labels: its labels.
        most: columns at most.

    Returns:
        At least 1.
    """
    letters = 13.5 * (_column.get() or 9.2)
    return int(max(1, min(len(labels), most, letters // (max(map(len, labels)) + 8))))


def figure(width: float, height: float, title: str, caption: str, *, panels: int = 1) -> tuple[Figure, FigureBase]:
    """Begin a figure.

    Args:
        width: in inches.
        height: in inches, of the drawing; title and caption come on top.
        title: what is shown.
        caption: what it was measured on.
        panels: how many stand side by side; in one column of a paper they stand below each other.

    Returns:
        The figure, and the part of it to draw in (a subfigure, or all of it).
    """
    if column := _column.get():
        # Panels below each other: each as wide as all of them were.
        taller = TALLER * panels**0.5 if narrow() else 1.0
        whole = Figure(figsize=(column, min(height * column / width * taller * (panels if narrow() else 1), 8.5)), layout="constrained")
        FigureCanvasAgg(whole)
        return whole, whole
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


def _for_paper(drawn: Figure, column: float) -> None:
    for axes in drawn.findobj(Axes):
        axes.tick_params(labelsize=POINTS, length=2)
        for line in axes.get_lines():
            line.set_linewidth(min(line.get_linewidth(), 1.2))
            line.set_markersize(min(line.get_markersize(), 3.0))
        # Numbers in cells: as large as they fit into them, or none at all.
        cells = [text for text in axes.texts if text.get_gid() == CELL]
        fits = 0.48 * column * 72 / abs(axes.get_xlim()[1] - axes.get_xlim()[0]) / 3.1
        label = axes.get_xlabel()
        if narrow() and len(label) > LETTERS and "\n" not in label:
            axes.set_xlabel(textwrap.fill(label, LETTERS))
        for text in cells:
            text.set_fontsize(min(POINTS, fits))
            text.set_visible(fits >= 5)
    for legend in drawn.findobj(Legend):
        for handle in legend.findobj(Line2D):
            handle.set_markersize(min(handle.get_markersize(), 3.0))
    for text in drawn.findobj(Text):
        if text.get_gid() != CELL:
            text.set_fontsize(POINTS)


def save(drawn: Figure, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all; the dollar signs of a class's name begin no formula.

    Args:
        drawn: the figure.
        path: the file, whose ending names its format (png, pdf, svg); its folder is made.

    Returns:
        The path.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if column := _column.get():
        _for_paper(drawn, column)
    for text in drawn.findobj(Text):
        text.set_parse_math(False)
    # The context is for labels of ticks, which are made while they are drawn.
    fonts = rc_context({"text.parse_math": False, "pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "figure"})
    with fonts, files.replacing(path) as file:
        # Laid out here, once: saving would go through a whole drawing to do so, and then draw.
        if engine := drawn.get_layout_engine():
            engine.execute(drawn)
            drawn.set_layout_engine("none")
        written = io.BytesIO()
        drawn.savefig(written, format=path.suffix[1:], dpi=200, metadata=PLAIN.get(path.suffix, {}))
        file.write(_renamed(written.getvalue()) if path.suffix == ".svg" else written.getvalue())
    return path


def _renamed(svg: bytes) -> bytes:
    # Names of clip paths follow from where they lay in memory: numbers instead, so that the same figure has the same bytes.
    names: dict[bytes, bytes] = {}
    for found in re.finditer(rb'<clipPath id="(p[0-9a-f]{10})"', svg):
        names.setdefault(found[1], b"p%d" % len(names))
    return re.sub(rb"\bp[0-9a-f]{10}\b", lambda found: names.get(found[0], found[0]), svg)
