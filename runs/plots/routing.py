"""Figures of a learner that infers the task of an input: where inputs were sent, what its generators remember, how full its network is."""

from __future__ import annotations

import numpy
from matplotlib.figure import Figure

from runs.plots import style
from runs.plots.curves import caption
from runs.recording.directories import Run
from runs.showing.tables import numbered

MOST_NUMBERS = 12
"""Tasks up to which each cell of the confusion matrix shows its number."""


def task_confusion(run: Run) -> Figure | None:
    """Draw the confusion matrix of inferred task indices, each row in per cent of its inputs.

    Args:
        run: a finished run.

    Returns:
        The figure, or None where the learner infers no task.
    """
    routing = run.summary.get("routing")
    if not routing or "confusion" not in routing:
        return None
    counts = numpy.array(routing["confusion"], dtype=float)
    shares = 100 * counts / counts.sum(1, keepdims=True).clip(1)
    side = max(4.6, 0.46 * len(shares) + 1.2)
    whole, body = style.figure(max(7.2, side + 2.4), side, "Which task each input was taken for", caption(run))
    axes = body.subplots()
    axes.set_title(f"% of each task's inputs; index accuracy {100 * routing['mean_index_accuracy']:.1f} %", fontsize=9.5, color=style.INK)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    for (row, column), share in numpy.ndenumerate(shares):
        if len(shares) <= MOST_NUMBERS:
            colour = "white" if share > 55 else style.INK
            axes.text(column, row, f"{share:.1f}" if share else "0", ha="center", va="center", fontsize=9, gid=style.CELL, color=colour)
    axes.set_xlabel("inferred task", fontsize=9.5, color=style.INK)
    axes.set_ylabel("task of the input", fontsize=9.5, color=style.INK)
    axes.set_xticks(range(len(shares)))
    axes.set_yticks(range(len(shares)), _names(run, len(shares)), fontsize=8.5)
    return whole


def generated_samples(run: Run) -> Figure | None:
    """Draw samples of each task's generator, one row a task, and beside them a few test images as the index module sees them.

    Args:
        run: a finished run.

    Returns:
        The figure, or None where there are no generators.
    """
    kept = run.artefacts()
    if "generated" not in kept:
        return None
    parts = [("generated", kept["generated"]), *([("test images, as they are seen", kept["seen"])] if "seen" in kept else [])]
    tasks, widths = len(kept["generated"]), [part.shape[1] for _, part in parts]
    whole, body = style.figure(0.62 * sum(widths) + 2.6, 0.62 * tasks + 0.7, "What the generators remember, one row a task", caption(run))
    for sub, (title, pictures) in zip(body.subfigures(1, len(parts), squeeze=False, width_ratios=widths).flat, parts):
        sub.suptitle(title, fontsize=9.5, color=style.INK)
        grid = sub.subplots(tasks, pictures.shape[1], squeeze=False)
        for axes, picture in zip(grid.flat, pictures.flatten(0, 1)):
            axes.imshow(picture.expand(3, -1, -1).permute(1, 2, 0).numpy() if len(picture) == 1 else picture.permute(1, 2, 0).numpy())
            axes.set_axis_off()
        if title == "generated":
            for axes, name in zip(grid[:, 0], _names(run, tasks)):
                axes.text(-0.2, 0.5, name, transform=axes.transAxes, ha="right", va="center", fontsize=8.5, color=style.INK)
    return whole


def capacity(run: Run) -> Figure | None:
    """Draw how many of each layer's filters each task adds.

    Args:
        run: a finished run.

    Returns:
        The figure, or None where the network's capacity is not shared out.
    """
    rows = run.summary.get("capacity")
    if not rows:
        return None
    layers = [row["layer"] for row in rows]
    used = numpy.array([row["filters"] for row in rows], dtype=float)
    share = 100 * used / used[:, -1:]
    whole, body = style.figure(6.4, 0.32 * len(layers) + 1.9, "Filters in use, task by task", caption(run))
    axes = body.subplots()
    before = numpy.zeros(len(layers))
    for task, colour in enumerate(style.colours(share.shape[1])):
        axes.barh(range(len(layers)), share[:, task] - before, left=before, color=colour, label=f"task {task}")
        before = share[:, task]
    axes.set_yticks(range(len(layers)), layers, fontsize=8.5)
    axes.invert_yaxis()
    axes.set_xlabel("% of the filters that the last task uses", fontsize=9.5, color=style.INK)
    axes.legend(frameon=False, fontsize=8.5, ncols=style.legend_columns(["task 10"]), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return whole


def _names(run: Run, tasks: int) -> list[str]:
    return [numbered(task, name, length=10 if style.narrow() else 16) for task, name in enumerate(run.summary["experiences"][:tasks])]
