"""A learner that infers tasks gets its confusion matrix, its generators' samples and its capacity drawn; others get none of them."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest

import runs
from runs import plots
from runs.plots.routing import capacity, generated_samples, task_confusion
from runs.recording import directories


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "hnet"
    quick = {"generator_iterations": 2, "index_iterations": 2}
    runs.simulate(
        scenario={"name": "split-digits", "setting": "class", "tasks": 2},
        strategy={"name": "hnet-cnet", **quick},
        network={"name": "mlp", "hidden": "16"},
        train={"iterations": 2},
        out=out,
    )
    return out


def test_the_rows_of_the_confusion_matrix_are_shares_of_each_tasks_inputs(folder: Path) -> None:
    run = directories.read(folder)
    figure = task_confusion(run)
    assert figure is not None
    axes = (figure.subfigs[-1] if figure.subfigs else figure).axes[0]
    drawn = numpy.asarray(axes.images[0].get_array())
    assert drawn.sum(1) == pytest.approx([100, 100])


def test_every_layer_has_a_bar_of_all_its_filters(folder: Path) -> None:
    run = directories.read(folder)
    figure = capacity(run)
    assert figure is not None
    axes = (figure.subfigs[-1] if figure.subfigs else figure).axes[0]
    widths = sum(patch.get_width() for patch in axes.patches)
    assert widths == pytest.approx(100 * len(run.summary["capacity"]))


def test_samples_are_drawn_and_all_figures_are_written(folder: Path) -> None:
    assert generated_samples(directories.read(folder)) is not None
    assert {path.stem for path in plots.draw(folder)} >= {"task_confusion", "generated_samples", "capacity"}
