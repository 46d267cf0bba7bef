"""How training went: loss and accuracy of the training batches, step by step."""

from __future__ import annotations

from typing import Any

import numpy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from runs.plots import style
from runs.plots.curves import caption
from runs.recording import files
from runs.recording.directories import Run

MOST_NUMBERS = 20
"""Experiences up to which each is numbered."""


def training(run: Run) -> Figure | None:
    """Draw the training log: loss and accuracy against the steps of the run, by phase; a line stands where an experience begins.

    Args:
        run: a finished run.

    Returns:
        The figure, or None where the log has fewer than three rows.
    """
    rows = files.read_rows(run.directory / "training.jsonl")
    if len(rows) < 3:
        return None
    names = list(dict.fromkeys(_name(row) for row in rows))
    answered = any("accuracy" in row for row in rows)
    whole, body = style.figure(7.2, 4.4 if answered else 2.6, "Training", f"{caption(run)} · means of {_stretch(rows)} steps")
    panels = body.subplots(1 + answered, 1, sharex=True, squeeze=False)[:, 0]
    for axes, key in zip(panels, ("loss", "accuracy")):
        for name, colour in zip(names, style.colours(len(names))):
            mine = [row for row in rows if _name(row) == name and key in row]
            axes.plot(*_broken(mine, key), color=colour, linewidth=1.3, label=name, marker=".", markersize=2.5 if len(rows) > 40 else 6)
        _dress(axes, "training accuracy" if key == "accuracy" else "training loss")
    losses = numpy.array([row["loss"] for row in rows])
    if (losses > 0).all() and losses.max() > 100 * losses.min():
        panels[0].set_yscale("log")
        panels[0].yaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
        panels[0].yaxis.set_minor_formatter(NullFormatter())
    if answered:
        panels[1].yaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{100 * value:.3g}%"))
    _experiences(panels, rows)
    body.align_ylabels()
    panels[-1].set_xlim(left=0)
    panels[-1].set_xlabel("training steps of the run", fontsize=9.5, color=style.INK)
    if len(names) > 1:
        handles = panels[0].get_legend_handles_labels()
        body.legend(*handles, loc="outside lower center", ncols=min(len(names), 4), frameon=False, fontsize=8.5)
    return whole


def _name(row: dict[str, Any]) -> str:
    return row["phase"] if row["update"] == "network" else f"{row['phase']}: {row['update']}"


def _stretch(rows: list[dict[str, Any]]) -> str:
    # A phase's first row tells how many steps its rows are means of.
    first = {(row["experience"], _name(row)): row["phase_step"] for row in reversed(rows)}.values()
    return f"{min(first)}" if len(set(first)) == 1 else f"{min(first)} to {max(first)}"


def _broken(rows: list[dict[str, Any]], key: str) -> tuple[list[float], list[float]]:
    # A gap wherever another experience begins: nothing was trained in between.
    steps, values = [], []
    for before, row in zip([None, *rows], rows):
        if before and before["experience"] != row["experience"]:
            steps.append(row["step"])
            values.append(numpy.nan)
        steps.append(row["step"])
        values.append(row[key])
    return steps, values


def _experiences(panels: Any, rows: list[dict[str, Any]]) -> None:
    begins: dict[int, int] = {}
    last = 0
    for row in rows:
        begins.setdefault(row["experience"], last)
        last = row["step"]
    if len(begins) < 2:
        return
    for axes in panels:
        for start in list(begins.values())[1:]:
            axes.axvline(start, color=style.PALE, linewidth=0.8, zorder=0)
    ends = [*list(begins.values())[1:], last]
    for index, start, end in zip(begins, begins.values(), ends) if len(begins) <= MOST_NUMBERS else ():
        place = ((start + end) / 2, 1.02)
        panels[0].annotate(str(index), place, xycoords=("data", "axes fraction"), ha="center", fontsize=8, color=style.GREY)


def _dress(axes: Axes, label: str) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(style.GREY)
    axes.tick_params(colors=style.INK, labelsize=8.5, length=3, color=style.GREY)
    axes.grid(axis="y", color=style.PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.margins(x=0.01)
    axes.set_ylabel(label, fontsize=9.5, color=style.INK)
