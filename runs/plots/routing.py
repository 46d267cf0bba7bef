"""Figures of a learner that infers the task of an input: where inputs were sent, what its generators remember, how full its network is."""

from __future__ import annotations

import numpy
from matplotlib.figure import Figure

from runs.plots import style
from runs.plots.curves import caption
from runs.recording.directories import Run
from runs.showing.tables import numbered


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
    whole, body = style.figure(5.6, 4.6, "Which task each input was taken for", caption(run))
    axes = body.subplots()
    axes.set_title(f"% of each task's inputs; index accuracy {100 * routing['mean_index_accuracy']:.1f} %", fontsize=9.5, color=style.INK)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    for (row, column), share in numpy.ndenumerate(shares):
        if len(shares) <= 12:
            axes.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=9, color="white" if share > 55 else style.INK)
    axes.set_xlabel("inferred task", fontsize=9.5, color=style.INK)
    axes.set_ylabel("task of the input", fontsize=9.5, color=style.INK)
    axes.set_xticks(range(len(shares)))
    axes.set_yticks(range(len(shares)), _names(run, len(shares)), fontsize=8.5)
    return whole


def generated_samples(run: Run) -> Figure | None:
    """Draw samples of each task's generator, one row a task.

    Args:
        run: a finished run.

    Returns:
        The figure, or None where there are no generators.
    """
    pictures = run.artefacts().get("generated")
    if pictures is None:
        return None
    tasks, each = pictures.shape[:2]
    whole, body = style.figure(0.55 * each + 2.2, 0.55 * tasks + 0.8, "What the generators remember, one row a task", caption(run))
    grid = body.subplots(tasks, each, squeeze=False)
    for axes, picture in zip(grid.flat, pictures.flatten(0, 1)):
        axes.imshow(picture.permute(1, 2, 0).expand(-1, -1, 3).numpy() if picture.shape[0] == 1 else picture.permute(1, 2, 0).numpy())
        axes.set_axis_off()
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
    axes.legend(frameon=False, fontsize=8.5, ncols=6, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return whole


def _names(run: Run, tasks: int) -> list[str]:
    return [numbered(task, name, length=16) for task, name in enumerate(run.summary["experiences"][:tasks])]
