"""Figures of disposal: what a piggybacker gets back, between floor and ceiling; and of several methods, what that cost the target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from runs.plots import style
from runs.plots.curves import caption
from runs.recording.directories import Run
from runs.recording.groups import Group, title

HUES = {"this network": style.OKABE_ITO[0], "never saw the source": style.GREY, "before disposal": style.OKABE_ITO[1]}
LINES = {"this network": "-", "never saw the source": ":", "before disposal": "--"}
KEYS = {"this network": "mean", "never saw the source": "floor", "before disposal": "ceiling"}
CURVES = {"this network": "curve", "never saw the source": "floor_curve", "before disposal": "ceiling_curve"}
PROTOCOL = "protocol of the measurement: reconstruction"


def pl_by_size(run: Run) -> Figure | None:
    """Draw PL accuracy against the size of the piggyback set, and what each piggybacker obtains at the largest.

    Args:
        run: a finished run.

    Returns:
        The figure, or None where the run was not probed.
    """
    found = run.summary.get("pl_accuracy")
    if not found:
        return None
    of = "past experiences, in the mean" if "by_experience" in found else "the source"
    heading = f"What retraining gets back of {of} (PL accuracy)"
    whole, body = style.figure(9.6, 3.7, heading, f"{caption(run)} · {PROTOCOL}", panels=2)
    left, right = body.subplots(*style.beside(2), width_ratios=None if style.narrow() else [1, 1.15])
    sizes = found["by_size"]
    places = range(len(sizes))
    for label, key in KEYS.items():
        values = [one[key] for one in sizes.values()]
        spread = [one["sd"] for one in sizes.values()] if key == "mean" and "by_experience" not in found else None
        left.errorbar(
            places, values, yerr=spread, label=label, color=HUES[label], linestyle=LINES[label], marker="o", markersize=4.5, capsize=3
        )
    _percent(left, "examples per class that the piggybacker has", "PL accuracy")
    left.set_xticks(list(places), list(sizes))
    left.set_xlim(-0.3, len(sizes) - 0.7)
    left.set_title("fresh head, best rate", fontsize=10, loc="left", color=style.INK)
    names = list(found["by_piggybacker"])
    for label, key in KEYS.items():
        values = [found["by_piggybacker"][name][key] for name in names]
        right.plot(values, range(len(names)), "o", color=HUES[label], markersize=6 if key == "mean" else 5, label=label, zorder=3)
    for height, name in enumerate(names):
        one = found["by_piggybacker"][name]
        right.plot([one["floor"], one["ceiling"]], [height, height], color=style.PALE, linewidth=3, zorder=1)
    _plain(right)
    right.set_yticks(range(len(names)), names, fontsize=9)
    right.invert_yaxis()
    right.xaxis.set_major_formatter(PercentFormatter(1))
    right.set_title(f"all piggybackers at {_size(found)}", fontsize=10, loc="left", color=style.INK)
    columns = style.legend_columns(list(KEYS), 3)
    body.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
    return whole


def pl_by_steps(run: Run) -> Figure | None:
    """Draw PL accuracy against the piggybacker's steps, each point at the rate that is best there.

    Args:
        run: a finished run.

    Returns:
        The figure, or None where the run was not probed, or at one number of steps.
    """
    found = run.summary.get("pl_accuracy")
    if not found or len(found["looks"]) < 2:
        return None
    sizes = found["by_size"]
    words = ("PL accuracy against steps of retraining", f"{caption(run)} · {PROTOCOL}")
    whole, body = style.figure(3.0 * len(sizes) + 1.2, 3.3, *words, panels=len(sizes))
    axes = numpy.atleast_1d(body.subplots(*style.beside(len(sizes)), sharey=True))
    for place, (size, one) in zip(axes, sizes.items()):
        for label, key in CURVES.items():
            place.plot(found["looks"], one[key], label=label, color=HUES[label], linestyle=LINES[label], marker="o", markersize=4)
        _percent(place, "steps", "PL accuracy" if place is axes[0] or style.narrow() else "")
        place.set_xscale("log")
        place.set_xticks(found["looks"], [str(steps) for steps in found["looks"]])
        place.minorticks_off()
        place.set_title(_size({"size": size}), fontsize=10, loc="left", color=style.INK)
    columns = style.legend_columns(list(KEYS), 3)
    body.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
    return whole


def trade_off(groups: Sequence[Group]) -> Figure | None:
    """Draw target accuracy against what the best piggybacker obtains, one point a method, with the anchors.

    Args:
        groups: at least one.

    Returns:
        The figure, or None where no group's runs were probed after a transfer.
    """
    drawn = [group for group in groups if all("unlearning" in run.summary and "pl_accuracy" in run.summary for run in group.runs)]
    if not drawn:
        return None
    heading = ("What disposal takes and what it costs", f"{title(groups)} · {PROTOCOL}")
    whole, body = style.figure(5.6 if style.narrow() else 9.4, 4.2, *heading)
    axes = body.subplots()
    for index, group in enumerate(drawn):
        across, up = (_values(group, key) for key in (("pl_accuracy", "best"), ("unlearning", "target_accuracy")))
        hue, again = index % len(style.OKABE_ITO), index // len(style.OKABE_ITO)
        axes.errorbar(
            across.mean(),
            up.mean(),
            xerr=across.std(ddof=1) if len(across) > 1 else None,
            yerr=up.std(ddof=1) if len(up) > 1 else None,
            color=style.OKABE_ITO[hue],
            marker=style.MARKERS[(hue + 3 * again) % len(style.MARKERS)],
            markerfacecolor="white" if again else style.OKABE_ITO[hue],
            markersize=7,
            linestyle="none",
            elinewidth=0.8,
            label=group.label,
        )
    for key, words in (("best_floor", "floor: never saw the source"), ("best_ceiling", "ceiling: before disposal")):
        mean = numpy.mean([_values(group, ("pl_accuracy", key)).mean() for group in drawn])
        axes.axvline(mean, color=style.GREY, linewidth=1, linestyle=":" if key == "best_floor" else "--", zorder=1)
        # One above the other: where the source is easy, both lines stand in one place.
        height = 1.05 if key == "best_floor" else 1.01
        axes.annotate(words, (mean, height), xycoords=("data", "axes fraction"), fontsize=8, color=style.GREY, ha="center")
    seeds = sorted({len(group.runs) for group in drawn})
    size = _size(drawn[0].summary["pl_accuracy"])
    _percent(axes, f"PL accuracy of the best piggybacker\nat {size}; further left: less is left", "target accuracy")
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.margins(0.08)
    words = "1 seed" if seeds == [1] else f"{' / '.join(map(str, seeds))} seeds, bars: standard deviation"
    if style.narrow():
        columns = style.legend_columns([group.label for group in drawn], 3)
        body.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=columns, frameon=False, title=words)
    else:
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8.5, title=words)
    return whole


def _values(group: Group, path: tuple[str, str]) -> numpy.ndarray:
    return numpy.array([run.summary[path[0]][path[1]] for run in group.runs])


def _size(found: dict[str, Any]) -> str:
    size = str(found["size"])
    return f"{size} of the source" if size.endswith("%") else f"{size} examples per class"


def _percent(axes: Axes, across: str, up: str) -> None:
    _plain(axes)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel(across, fontsize=9.5, color=style.INK)
    axes.set_ylabel(up, fontsize=9.5, color=style.INK)


def _plain(axes: Axes) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(style.GREY)
    axes.tick_params(colors=style.INK, labelsize=9, length=3, color=style.GREY)
    axes.grid(color=style.PALE, linewidth=0.6)
    axes.set_axisbelow(True)
