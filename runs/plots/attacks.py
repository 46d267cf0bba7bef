"""Figures of attacked runs: the target over the stream, altered pictures, detection, victims against defences, and drop against epsilon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from metrics.statistics import band
from runs.plots import style
from runs.plots.curves import caption
from runs.recording.directories import Run
from runs.recording.groups import Group, title

KINDS = ("clean", "noise", "attacked")
COLOURS = {"clean": style.OKABE_ITO[2], "noise": style.OKABE_ITO[4], "attacked": style.OKABE_ITO[1]}
WORDS = {"clean": "clean twin", "noise": "noise of the same size", "attacked": "attacked"}


def target_curve(run: Run) -> Figure | None:
    """Draw the target's accuracy over the stream: clean, under noise, attacked.

    Args:
        run: a finished run.

    Returns:
        The figure, or None where the run was not attacked.
    """
    attack = run.summary.get("attack")
    if not attack or "curves" not in attack:
        return None
    whole, body = style.figure(6.4, 3.4, f"Accuracy on the target of {_named(run)}", caption(run))
    _target(body.subplots(), [run])
    return whole


def poisoned_pictures(run: Run) -> Figure | None:
    """Draw some images clean, their change enlarged ten times about grey, and altered.

    Args:
        run: a finished run.

    Returns:
        The figure, or None where no images were altered before an experience.
    """
    kept = run.artefacts()
    if "attack/clean" not in kept:
        return None
    clean, poisoned = (kept[f"attack/{name}"].numpy().astype(numpy.float64) / 255 for name in ("clean", "poisoned"))
    change = numpy.clip(0.5 + 10 * (poisoned - clean) / 2, 0, 1)
    whole, body = style.figure(1.0 * len(clean) + 1.2, 3.3, f"What {_named(run)} changed", caption(run))
    grid = body.subplots(3, len(clean))
    for axes, images, word in zip(grid, (clean, change, poisoned), ("clean", "change x 10", "poisoned")):
        flat = {"rotation": 0, "ha": "right", "va": "center"} if style.narrow() else {}
        axes[0].set_ylabel(word, fontsize=9.5, color=style.INK, **flat)
        for place, image in zip(axes, images):
            place.imshow(image.transpose(1, 2, 0).squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            place.set_xticks([])
            place.set_yticks([])
            place.spines[:].set_visible(False)
    return whole


def detection(run: Run) -> Figure | None:
    """Draw how well the defence tells altered examples: the receiver operating characteristic for each experience.

    Args:
        run: a finished run.

    Returns:
        The figure, or None where no defence looked at altered examples.
    """
    found = run.summary.get("defence", {}).get("detection")
    if not found:
        return None
    named = run.options["defence.name"]
    whole, body = style.figure(4.4, 3.8, f"Detection by {named}", caption(run))
    axes = body.subplots()
    axes.plot([0, 1], [0, 1], color=style.PALE, linewidth=1)
    for (experience, each), colour in zip(found.items(), style.colours(len(found))):
        rates = each["roc"]["false_positive_rate"], each["roc"]["true_positive_rate"]
        axes.plot(*rates, color=colour, linewidth=1.8, label=f"experience {experience}: area {each['auc']:.3f}")
    axes.set_xlabel(f"false alarms among {next(iter(found.values()))['against']}", fontsize=8.5, color=style.INK)
    axes.set_ylabel("altered examples found", fontsize=9.5, color=style.INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_aspect("equal")
    axes.legend(frameon=False, fontsize=8.5, loc="lower right")
    return whole


def compared(groups: Sequence[Group]) -> dict[str, Figure]:
    """Draw groups of attacked runs side by side.

    Args:
        groups: at least one.

    Returns:
        Figures by file name, those that the groups call for: `target_curves`, `victims_defences` where there are several defences, and
        `drop_epsilon` where one victim met several radii. Empty where a group was not attacked.
    """
    if not all("curves" in run.summary.get("attack", {}) for group in groups for run in group.runs):
        return {}
    drawn = {"target_curves": _curves(groups), "victims_defences": _heat(groups), "drop_epsilon": _radii(groups)}
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _named(run: Run) -> str:
    from strategies.attacks.registry import attacks

    name = run.options["attack.name"]
    return attacks.shown(name)


def _target(axes: Axes, runs: Sequence[Run]) -> None:
    curves: Mapping[str, Any] = runs[0].summary["attack"]["curves"]
    lowest = 1.0
    for kind in (kind for kind in KINDS if kind in curves):
        mean, half = band([run.summary["attack"]["curves"][kind] for run in runs])
        places = numpy.arange(1, len(mean) + 1)
        look: dict[str, Any] = {"color": COLOURS[kind], "linewidth": 1.8, "marker": style.MARKERS[KINDS.index(kind)], "markersize": 4.5}
        axes.plot(places, mean, label=WORDS[kind], **look)
        if half is not None:
            axes.fill_between(places, mean - half, mean + half, color=COLOURS[kind], alpha=0.15, linewidth=0)
        # The band is part of what is shown: it is not cut off below, except at 0.
        lowest = max(0.0, min(lowest, float(numpy.nanmin(mean if half is None else mean - half))))
    for index in runs[0].summary["attack"]["experiences"]:
        axes.axvspan(index + 0.6, index + 1.4, color=style.PALE, alpha=0.5, linewidth=0, zorder=0)
    style.accuracy_axes(axes, lowest, len(mean), "experiences learned (shaded: those altered)")
    axes.set_ylabel("accuracy on the target", fontsize=9.5, color=style.INK)
    axes.legend(frameon=False, fontsize=8.5)


def _curves(groups: Sequence[Group]) -> Figure:
    columns = 1 if style.narrow() else min(3, len(groups))
    rows = -(-len(groups) // columns)
    whole, body = style.figure(3.6 * columns, 2.7 * rows, "Accuracy on the target over the stream", _caption(groups))
    grid = numpy.atleast_1d(body.subplots(rows, columns, sharey=True, squeeze=False)).flatten()
    for axes, group in zip(grid, groups):
        _target(axes, group.runs)
        axes.set_title(group.label, fontsize=8.5, loc="left", color=style.INK)
    for axes in grid[len(groups) :]:
        axes.set_visible(False)
    for place, axes in enumerate(grid[1 : len(groups)], 1):
        axes.get_legend().remove()
        if place % columns:
            axes.set_ylabel("")
    low = min(axes.get_ylim()[0] for axes in grid[: len(groups)])
    grid[0].set_ylim(low, 1.02)
    return whole


def _heat(groups: Sequence[Group]) -> Figure | None:
    cells: dict[tuple[str, str], float] = {}
    for group in groups:
        options = group.runs[0].options
        knows = ", known" if options.get("attack.adaptive") else ""
        defence = options.get("defence.name")
        column = f"{defence}{knows}" if defence else "none"
        cells.setdefault((group.runs[0].strategy, column), float(numpy.mean([run.summary["attack"]["drop"] for run in group.runs])))
    victims, columns = (list(dict.fromkeys(key[side] for key in cells)) for side in (0, 1))
    if len(columns) < 2:
        return None
    columns.sort(key=lambda column: column != "none")
    values = numpy.array([[cells.get((victim, column), numpy.nan) for column in columns] for victim in victims])
    name = "Drop of the target's accuracy: victims against defences"
    whole, body = style.figure(max(0.62 * len(columns) + 2.2, 6.4), 0.45 * len(victims) + 2.2, name, _caption(groups))
    axes = body.subplots()
    top = max(0.1, float(numpy.nanmax(values)))
    axes.imshow(numpy.ma.masked_invalid(values), cmap="OrRd", vmin=0, vmax=top, aspect="auto")
    for (row, column), value in numpy.ndenumerate(values):
        if not numpy.isnan(value):
            dark = value > 0.6 * top
            look: dict[str, Any] = {"fontsize": 8, "gid": style.CELL, "color": "white" if dark else style.INK}
            axes.text(column, row, f"{100 * value:.1f}", ha="center", va="center", **look)
    axes.set_xticks(range(len(columns)), columns, rotation=40, ha="right", fontsize=8.5)
    axes.set_yticks(range(len(victims)), victims, fontsize=9)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("defence (known: the adversary reckons with it); points of accuracy", fontsize=9, color=style.INK)
    return whole


def _radii(groups: Sequence[Group]) -> Figure | None:
    by_victim: dict[str, dict[float, list[float]]] = {}
    for group in groups:
        options = group.runs[0].options
        if "attack.epsilon" in options:
            parts = [group.runs[0].strategy, options["attack.name"], options.get("attack.objective"), options.get("defence.name")]
            radii = by_victim.setdefault(", ".join(str(part) for part in parts if part), {})
            radii.setdefault(options["attack.epsilon"], [run.summary["attack"]["drop"] for run in group.runs])
    several = {name: dict(sorted(radii.items())) for name, radii in by_victim.items() if len(radii) > 1}
    if not several:
        return None
    whole, body = style.figure(6.4, 3.6, "Drop of the target's accuracy against the radius of the change", _caption(groups))
    axes = body.subplots()
    for (name, radii), colour in zip(several.items(), style.colours(len(several))):
        mean = numpy.array([numpy.mean(drops) for drops in radii.values()])
        axes.plot(list(radii), mean, color=colour, marker="o", markersize=4.5, linewidth=1.8, label=name)
        halves = [band(numpy.array(drops)[:, None])[1] for drops in radii.values()]
        if all(half is not None for half in halves):
            half = numpy.array([float(each[0]) for each in halves if each is not None])
            axes.fill_between(list(radii), mean - half, mean + half, color=colour, alpha=0.15, linewidth=0)
    axes.set_xlabel("epsilon (pixels in [0, 1])", fontsize=9.5, color=style.INK)
    axes.set_ylabel("clean minus attacked accuracy", fontsize=9.5, color=style.INK)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8.5)
    return whole


def _caption(groups: Sequence[Group]) -> str:
    least, most = (pick(len(group.runs) for group in groups) for pick in (min, max))
    seeds = f"{least} seed{'s' if least > 1 else ''}" if least == most else f"{least} to {most} seeds"
    return f"{title(groups)} · mean over {seeds}"
