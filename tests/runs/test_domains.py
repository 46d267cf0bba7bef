"""Meta-learners on a stream of domains: the matrix, forgetting by its definition, joint training, resume, pictures, comparison."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from metrics.continual import average_forgetting
from runs import plots
from runs.showing import compare
from runs.simulation import simulate, take_up
from tests.runs.test_resume import interrupted, same_bits
from tests.strategies.driver import equal

STREAM = {
    "name": "domains-glyphs",
    "size": 8,
    "domain_order": (2, 5, 6),
    "ways": 3,
    "queries": 3,
    "test_queries": 3,
    "test_episodes": 6,
}
QUICK: dict[str, Any] = {"network": {"name": "mlp", "hidden": "8", "norm": "batch"}, "train": {"iterations": 3}}


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    # One for all tests here: glyphs are drawn into it once.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PALIMPSEST_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def learn(strategy: str, out: Path | None = None, seed: int = 0, **options: Any) -> Any:
    return simulate(scenario=STREAM, strategy={"name": strategy, "meta_batch": 2, **options}, seed=seed, out=out, **QUICK)


@pytest.mark.parametrize("strategy", ["maml", "protonet", "l2f", "cxgrad", "tapl"])
def test_every_domain_is_tested_after_every_domain_and_forgetting_is_that_of_streams(strategy: str) -> None:
    result = learn(strategy)
    assert result.matrix.shape == (3, 3) and not result.matrix.isnan().any()
    summary = result.summary
    assert summary["average_forgetting"] == average_forgetting(result.matrix)
    assert summary["few_shot_by_domain"]["mean"] == result.matrix[-1].tolist() and len(summary["few_shot_by_domain"]["ci95"]) == 3
    assert summary["few_shot_accuracy"]["mean"] == summary["few_shot_by_domain"]["mean"][-1]


@pytest.mark.parametrize("strategy", ["cxgrad", "protonet"])
def test_joint_training_is_naive_on_the_first_domain_and_starts_anew_from_the_initial_weights_at_each(strategy: str) -> None:
    naive, joint = learn(strategy), learn(strategy, stream="joint")
    assert torch.equal(naive.matrix[0], joint.matrix[0]) and not torch.equal(naive.matrix[1:], joint.matrix[1:])
    learner = joint.strategy
    assert learner.iteration == 9, "as many steps as the domains would have got one after another"
    learner._start_anew()
    fresh = type(learner)(learner.config)
    fresh.prepare(learner.setup)
    assert equal(learner.state_dict(), fresh.state_dict())


def test_a_joint_run_that_was_interrupted_goes_on_bit_for_bit(tmp_path: Path) -> None:
    asked = {"scenario": STREAM, "strategy": {"name": "cxgrad", "meta_batch": 2, "stream": "joint"}, "seed": 0, **QUICK}
    interrupted(asked, tmp_path / "cut", 7)
    simulate(**asked, out=tmp_path / "cut", resume=True)
    simulate(**asked, out=tmp_path / "whole")
    same_bits(tmp_path / "whole", tmp_path / "cut")


def test_the_stream_is_drawn_compared_and_tested_again(tmp_path: Path) -> None:
    for seed in (0, 1):
        learn("protonet", tmp_path / "naive" / f"seed-{seed}", seed)
        learn("protonet", tmp_path / "joint" / f"seed-{seed}", seed, stream="joint")
    drawn = {path.stem for path in plots.draw(tmp_path / "naive" / "seed-0")}
    assert {"forgetting_curves", "accuracy_matrix"} <= drawn
    groups = compare.collect([tmp_path / "naive", tmp_path / "joint"])
    table = compare.table(groups)
    assert [column.key for column in table.columns][:3] == ["average_accuracy", "average_forgetting", "backward_transfer"]
    assert not any(column.key == "few_shot_accuracy.mean" for column in table.columns), "it is the last domain's alone"
    pictures = plots.draw_group(groups, tmp_path / "compared")
    assert len(pictures) == 3, "curves, and each group's mean matrix"
    assert all(path.exists() for path in pictures)
    run = take_up(tmp_path / "naive" / "seed-0")
    again = run.test(3)
    assert again.row == json.loads((tmp_path / "naive" / "seed-0" / "summary.json").read_text())["accuracy_matrix"][-1]
