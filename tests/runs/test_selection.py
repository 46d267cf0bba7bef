"""Validation leaves training as it is; an ensemble is the mean of its checkpoints' logits, and never passes for one learner."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import runs
from runs import plots
from runs.plan import make_plan
from runs.recording import directories
from runs.selection import Ensemble, Selection
from runs.showing import show, terminal
from runs.showing.compare import collect, table
from runs.showing.progress import Progress
from runs.simulation import carry_out
from scenarios.errors import UserError
from strategies.meta import learner as meta
from tests.runs.test_resume import interrupted, same_bits


@pytest.fixture(autouse=True)
def short_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meta, "BATCHES_A_PASS", 2)


def simulate(out: Path | None, **evaluate: Any) -> Any:
    return runs.simulate(
        scenario={"name": "digits", "queries": 3, "test_episodes": 6},
        strategy={"name": "maml", "meta_batch": 2},
        network={"name": "mlp", "hidden": "8", "norm": "batch"},
        train={"iterations": 7},
        evaluate=evaluate,
        out=out,
    )


def validated(folder: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if row["metric"] == "validation_accuracy"]


def test_validation_comes_after_every_so_many_passes_and_in_the_end_and_changes_nothing(tmp_path: Path) -> None:
    watched = simulate(tmp_path / "watched", validate_every=2, ensemble=2)
    left_alone = simulate(tmp_path / "alone", validate_every=0)
    assert [row["iteration"] for row in validated(tmp_path / "watched")] == [4, 7]
    assert validated(tmp_path / "alone") == []
    assert torch.equal(watched.matrix, left_alone.matrix)
    for one, other in zip(watched.strategy.parameters(), left_alone.strategy.parameters()):
        assert torch.equal(one, other)


def test_the_best_checkpoints_are_kept_as_they_were() -> None:
    strategy = simulate(None, validate_every=0).strategy
    selection = Selection(strategy, every=1, members=2, batch_size=100)
    weight = next(strategy.network.parameters())
    for iteration, accuracy in enumerate((0.3, 0.5, 0.2, 0.4)):
        strategy.iteration = iteration
        weight.data.fill_(float(iteration))
        selection._keep(0, accuracy)
    assert [each["iteration"] for each in selection.best] == [1, 3]
    assert [float(next(iter(each["state"]["network"].values())).flatten()[0]) for each in selection.best] == [1.0, 3.0]
    selection._keep(1, 0.1)
    assert [each["accuracy"] for each in selection.best] == [0.1]


def test_an_ensemble_averages_logits_and_leaves_the_learner_as_it_was() -> None:
    result = simulate(None, validate_every=0)
    strategy: Any = result.strategy
    scenario: Any = result.scenario
    batch = scenario.experiences[0].test.batch(0, 3)
    first = copy.deepcopy(strategy.state_dict())
    one = strategy.episode_logits(batch, steps=True)
    for parameter in strategy.parameters():
        parameter.data.mul_(0.7)
    other = strategy.episode_logits(batch, steps=True)
    together = Ensemble(strategy, [first, copy.deepcopy(strategy.state_dict())])
    assert torch.allclose(together.episode_logits(batch, steps=True), (one + other) / 2)
    assert torch.equal(strategy.episode_logits(batch, steps=True), other)


def test_an_ensemble_is_off_unless_asked_for_and_labelled_where_it_is_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "few_shot_ensemble" not in simulate(None).summary
    summary = simulate(tmp_path / "run", validate_every=1, ensemble=3).summary
    assert summary["few_shot_ensemble"]["members"] == 3
    assert set(summary["few_shot_ensemble"]["iterations"]) <= {2, 4, 6, 7}
    show.run(runs.load(tmp_path / "run"), terminal.console())
    assert "ensemble of the 3 best checkpoints in validation" in " ".join(capsys.readouterr().out.split())
    headings = [column.heading for column in table(collect([tmp_path / "run"])).columns]
    assert "same, ensemble of best checkpoints %" in headings
    with pytest.raises(UserError, match="validate_every"):
        simulate(None, validate_every=0, ensemble=3)


def test_the_training_curve_has_a_point_for_each_validation(tmp_path: Path) -> None:
    simulate(tmp_path / "run", validate_every=1)
    figure = plots.training_curve(directories.read(tmp_path / "run"))
    assert figure is not None
    axes: Any = figure.subfigs[-1].axes[0] if figure.subfigs else figure.axes[0]
    assert [list(line.get_xdata()) for line in axes.get_lines()[:2]] == [[2, 4, 6, 7]] * 2
    simulate(tmp_path / "once", validate_every=100)
    assert plots.training_curve(directories.read(tmp_path / "once")) is None


def test_a_resumed_run_has_the_same_curve_and_the_same_ensemble(tmp_path: Path) -> None:
    asked = {
        "scenario": {"name": "digits", "queries": 3, "test_episodes": 6},
        "strategy": {"name": "maml", "meta_batch": 2},
        "network": {"name": "mlp", "hidden": "8", "norm": "batch"},
        "train": {"iterations": 7},
        "evaluate": {"validate_every": 1, "ensemble": 2},
    }
    whole = carry_out(make_plan(asked, Progress()), tmp_path / "whole", resume=False, progress=Progress())
    interrupted(asked, tmp_path / "parts", steps=5)
    resumed = carry_out(make_plan(asked, Progress()), tmp_path / "parts", resume=True, progress=Progress())
    same_bits(tmp_path / "whole", tmp_path / "parts")
    assert resumed.summary["few_shot_ensemble"] == whole.summary["few_shot_ensemble"]
