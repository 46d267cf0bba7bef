"""Few-shot runs get their own figures, from the summary and from what the method showed of itself; others get none of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import runs
from runs import plots
from runs.recording import directories
from runs.showing import compare


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "l2f"
    runs.simulate(
        scenario={"name": "digits", "queries": 3, "test_episodes": 8},
        strategy="l2f",
        network={"name": "mlp", "hidden": "8", "norm": "batch"},
        train={"iterations": 2},
        out=out,
    )
    return out


def test_accuracy_against_steps_has_one_point_a_step_and_the_chance_level(folder: Path) -> None:
    run = directories.read(folder)
    figure = plots.adaptation(run)
    assert figure is not None
    axes: Any = figure.subfigs[-1].axes[0] if figure.subfigs else figure.axes[0]
    curve, chance = axes.get_lines()
    assert list(curve.get_ydata()) == pytest.approx([100 * value for value in run.summary["few_shot_accuracy"]["per_step"]])
    assert chance.get_ydata()[0] == pytest.approx(100 / run.summary["few_shot_accuracy"]["ways"])


def test_what_the_method_did_inside_episodes_is_drawn(folder: Path) -> None:
    assert plots.inside(directories.read(folder)) is not None
    assert {path.stem for path in plots.draw(folder)} >= {"adaptation", "inside_episodes"}


def test_a_learner_of_experiences_gets_none_of_these(tmp_path: Path) -> None:
    runs.simulate(scenario="split-digits", strategy="naive", train={"iterations": 1}, network={"name": "mlp"}, out=tmp_path / "run")
    run = directories.read(tmp_path / "run")
    assert plots.adaptation(run) is None
    assert plots.inside(run) is None


def test_few_shot_runs_are_compared_by_accuracy_with_an_interval_and_the_table_names_their_batch_norms(folder: Path) -> None:
    groups = compare.collect([folder])
    figure = plots.compare_few_shot(groups)
    assert figure is not None
    axes: Any = figure.subfigs[-1].axes[0] if figure.subfigs else figure.axes[0]
    mean = directories.read(folder).summary["few_shot_accuracy"]["mean"]
    assert axes.containers[0].lines[0].get_xdata() == pytest.approx([100 * mean])
    assert "Batch norm: l2f: transductive." in compare.table(groups).notes


def test_accuracy_of_pseudo_labels_stands_beside_that_of_the_answers(tmp_path: Path) -> None:
    runs.simulate(
        scenario={"name": "digits", "queries": 3, "test_episodes": 8},
        strategy={"name": "tapl", "inner_steps": 2},
        network={"name": "mlp", "hidden": "8"},
        train={"iterations": 2},
        out=tmp_path / "run",
    )
    run = directories.read(tmp_path / "run")
    figure = plots.adaptation(run)
    assert figure is not None
    axes: Any = figure.subfigs[-1].axes[0] if figure.subfigs else figure.axes[0]
    answers, labels, _ = axes.get_lines()
    assert len(answers.get_ydata()) == 3 and list(labels.get_xdata()) == [0, 1, 2]
    expected = run.summary["few_shot_accuracy"]["pseudo_label_accuracy"]
    assert list(labels.get_ydata()) == pytest.approx([100 * value for value in expected])
