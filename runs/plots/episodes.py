"""Figures of few-shot runs: the training curve, accuracy against adaptation steps, and what a method did inside episodes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from runs.plots import style
from runs.recording.directories import Run
from runs.recording.groups import Group, title

INSIDE = {
    "attenuation": ("L2F's attenuation of each parameter tensor", "parameter tensor", "attenuation"),
    "log_gamma": ("CxGrad's scale of each convolution", "convolution", "log gamma"),
    "context_norm": ("Norm of CxGrad's context", "adaptation step", "|c|"),
    "pseudo_label_accuracy": ("Accuracy of the pseudo-labels", "adaptation step", "accuracy"),
}
"""Diagnostic [episodes, positions] to its title and axes."""
COLOURS = (style.OKABE_ITO[5], style.OKABE_ITO[0])
"""Of the training and of the validation classes."""


def training_curve(run: Run) -> Figure | None:
    """Draw accuracy on episodes of the training and of the validation classes against meta-iterations.

    Args:
        run: a finished run.

    Returns:
        The figure, or None where the run was not validated while it was trained, or once only.
    """
    path = run.directory / "metrics.jsonl"
    text = path.read_text(encoding="utf-8") if path.exists() and "few_shot_accuracy" in run.summary else ""
    rows = [row for row in map(json.loads, text.splitlines()) if "iteration" in row]
    if len({row["iteration"] for row in rows}) < 2:
        return None
    whole, body = style.figure(7.2, 3.6, "Training curve", f"{_caption(run)} · 100 episodes a point")
    axes = body.subplots()
    for (metric, label), colour in zip((("training_accuracy", "training classes"), ("validation_accuracy", "validation classes")), COLOURS):
        # Joint training begins anew at every domain.
        for domain in sorted({row["on_experience"] for row in rows}):
            line = [(row["iteration"], 100 * row["value"]) for row in rows if row["metric"] == metric and row["on_experience"] == domain]
            look: dict[str, Any] = {"color": colour, "marker": "o", "markersize": 4.0, "linewidth": 1.6}
            axes.plot(*zip(*line), label=label if domain == rows[0]["on_experience"] else None, **look)
    ways = run.summary["few_shot_accuracy"]["ways"]
    axes.axhline(100 / ways, color=style.GREY, linewidth=0.9, linestyle=":", label="chance")
    axes.set_xlabel("meta-iterations", fontsize=9.5, color=style.INK)
    axes.set_ylabel("accuracy on the queries, %", fontsize=9.5, color=style.INK)
    _clean(axes)
    _legend(axes)
    return whole


def adaptation(run: Run) -> Figure | None:
    """Draw few-shot accuracy against adaptation steps, and that of pseudo labels, with their 95 % intervals over episodes.

    Args:
        run: a finished run.

    Returns:
        The figure, or None where the learner does not adapt in steps.
    """
    result = run.summary.get("few_shot_accuracy", {})
    if "per_step" not in result:
        return None
    heading = f"Accuracy while adapting, {result['ways']}-way {result['shots']}-shot"
    whole, body = style.figure(7.2, 3.6, heading, f"{_caption(run)} · first {result['per_step_episodes']} test episodes, 95 % band")
    axes = body.subplots()
    tested = run.summary["experiences"]
    series = [(run.summary["scenario"] if len(tested) == 1 else tested[-1], result)]
    if "per_step" in run.summary.get("cross_domain", {}):
        series.append((run.summary["cross_domain"]["scenario"], run.summary["cross_domain"]))
    for (name, values), colour in zip(series, style.OKABE_ITO):
        _band(axes, 100 * numpy.array(values["per_step"]), 100 * numpy.array(values["per_step_ci95"]), colour, name)
    if "pseudo_label_accuracy" in result:
        mean, half = 100 * numpy.array(result["pseudo_label_accuracy"]), 100 * numpy.array(result["pseudo_label_ci95"])
        _band(axes, mean, half, style.OKABE_ITO[len(series)], "pseudo labels")
    axes.axhline(100 / result["ways"], color=style.GREY, linewidth=0.9, linestyle=":", label="chance")
    axes.set_xlabel("adaptation steps", fontsize=9.5, color=style.INK)
    axes.set_ylabel("accuracy on the queries, %", fontsize=9.5, color=style.INK)
    axes.set_xticks(range(len(result["per_step"])))
    _clean(axes)
    _legend(axes)
    return whole


def inside(run: Run) -> Figure | None:
    """Draw what a method did inside test episodes: median and spread over episodes, by tensor or by step.

    Args:
        run: a finished run.

    Returns:
        The figure, or None where the method shows nothing.
    """
    if "few_shot_accuracy" not in run.summary:
        return None
    found = run.artefacts()
    shown = [(name, found[f"episodes/{name}"].numpy()) for name in INSIDE if f"episodes/{name}" in found]
    if not shown:
        return None
    columns = 1 if style.narrow() else min(len(shown), 2)
    lines = -(-len(shown) // columns)
    words = f"{_caption(run)} · median, and 10th to 90th percentile"
    whole, body = style.figure(max(7.2, 5.0 * columns), 0.6 + 2.9 * lines, "Inside the episodes", words)
    panels = numpy.atleast_1d(body.subplots(lines, columns)).ravel()
    for axes, (name, values), colour in zip(panels, shown, style.OKABE_ITO):
        heading, x, y = INSIDE[name]
        flat = values.reshape(len(values), -1) if values.ndim < 3 else values.reshape(-1, values.shape[-1])
        low, middle, high = numpy.percentile(flat, [10, 50, 90], axis=0)
        places = numpy.arange(1, flat.shape[1] + 1)
        axes.errorbar(places, middle, (middle - low, high - middle), color=colour, fmt="o-", markersize=4.5, capsize=3)
        axes.set_title(heading, fontsize=9.5, color=style.INK, loc="left")
        axes.set_xlabel(x, fontsize=9.5, color=style.INK)
        axes.set_ylabel(y, fontsize=9.5, color=style.INK)
        axes.set_xticks(places)
        _clean(axes)
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    return whole


def compare_few_shot(groups: Sequence[Group]) -> Figure | None:
    """Draw groups of few-shot runs side by side: mean accuracy, and its 95 % interval over seeds, or for one seed over episodes.

    Args:
        groups: at least one.

    Returns:
        The figure, or None where a run is no few-shot run, or one of several domains.
    """
    from metrics.statistics import over_seeds

    summaries = [[run.summary for run in group.runs] for group in groups]
    if any("few_shot_accuracy" not in each or len(each["experiences"]) > 1 for several in summaries for each in several):
        return None
    words = f"{title(groups)} · 95 % intervals over seeds, for one seed over episodes"
    whole, body = style.figure(7.2, 1.6 + 0.34 * len(groups), "Few-shot accuracy", words)
    axes = body.subplots()
    for place, several in enumerate(summaries):
        spread = over_seeds([each["few_shot_accuracy"]["mean"] for each in several])
        half = spread.ci95 if len(several) > 1 and spread.ci95 is not None else several[0]["few_shot_accuracy"]["ci95"]
        colour = style.OKABE_ITO[place % len(style.OKABE_ITO)]
        axes.errorbar(100 * spread.mean, place, xerr=100 * half, color=colour, fmt="o", markersize=6, capsize=3, linewidth=1.6)
        axes.annotate(f"{100 * spread.mean:.1f}", (100 * spread.mean, place), (0, 6), textcoords="offset points", ha="center", fontsize=8)
    axes.set_yticks(range(len(groups)), [group.label for group in groups])
    axes.set_ylim(len(groups) - 0.4, -0.7)
    axes.set_xlabel("few-shot accuracy, %", fontsize=9.5, color=style.INK)
    _clean(axes)
    axes.grid(axis="y", visible=False)
    return whole


def _caption(run: Run) -> str:
    return f"{run.summary['scenario']} · {run.shown} · seed {run.seed} · {run.data}"


def _legend(axes: Axes) -> None:
    axes.legend(fontsize=8.5, loc="best", facecolor="white", edgecolor="none", framealpha=0.9)


def _band(axes: Axes, mean: numpy.ndarray, half: numpy.ndarray, colour: Any, label: str) -> None:
    places = numpy.arange(len(mean))
    axes.fill_between(places, mean - half, mean + half, color=colour, alpha=0.18, linewidth=0)
    axes.plot(places, mean, color=colour, marker="o", markersize=4.5, linewidth=1.6, label=f"{label} {mean[-1]:.1f} %")


def _clean(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="y", color=style.PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8.5)
