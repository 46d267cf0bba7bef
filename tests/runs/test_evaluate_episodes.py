"""Few-shot accuracy is that of a loop over single episodes; by step it is taken over the first episodes, and labelled so."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from runs import evaluate_episodes as module
from runs.evaluate_episodes import episode_accuracies, evaluate_episodes
from runs.plan import make_plan
from runs.showing.progress import Progress
from scenarios.episodes.episodes import EpisodeBatch


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(module, "SHOWN", 4)
    return make_plan(
        {
            "scenario": {"name": "digits", "queries": 3, "test_episodes": 7},
            "strategy": {"name": "maml", "inner_steps": 2},
            "network": {"name": "mlp", "hidden": "8", "norm": "batch"},
        },
        Progress(),
    )


def by_hand(plan: Any, episode: int) -> list[float]:
    batch = plan.scenario.experiences[0].test.batch(episode, 1)
    logits = plan.strategy.episode_logits(batch, steps=True)
    return (logits.argmax(-1) == batch.query_y).double().mean(-1)[:, 0].tolist()


def test_accuracies_are_those_of_single_episodes_whatever_the_batch(plan: Any) -> None:
    expected = [by_hand(plan, episode) for episode in range(7)]
    stream = plan.scenario.experiences[0].test
    for batch_size in (1, 60, 1000):
        last, steps, queries = episode_accuracies(plan.strategy, stream, 7, batch_size, by_step=4)
        assert last.tolist() == pytest.approx([each[-1] for each in expected])
        assert steps.T.tolist() == [pytest.approx(each) for each in expected[:4]]
        assert queries == 7 * stream.spec.ways * stream.spec.queries


def test_the_summary_says_over_how_many_episodes_each_number_is_taken(plan: Any) -> None:
    summary = evaluate_episodes(plan.strategy, plan.scenario, batch_size=100).summary["few_shot_accuracy"]
    expected = [by_hand(plan, episode) for episode in range(7)]
    assert (summary["episodes"], summary["per_step_episodes"]) == (7, 4)
    assert summary["mean"] == pytest.approx(sum(each[-1] for each in expected) / 7)
    assert summary["before_adaptation"] == pytest.approx(sum(each[0] for each in expected[:4]) / 4)


def test_the_test_before_learning_takes_the_first_episodes_and_answers_once(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    answer = plan.strategy.episode_logits

    def watched(batch: EpisodeBatch, steps: bool = False) -> Tensor:
        asked.append(steps)
        logits: Tensor = answer(batch, steps)
        return logits

    monkeypatch.setattr(plan.strategy, "episode_logits", watched)
    result = evaluate_episodes(plan.strategy, plan.scenario, batch_size=100, only_first=True)
    assert not any(asked)
    assert result.row == [pytest.approx(sum(by_hand(plan, episode)[-1] for episode in range(4)) / 4)]
    rows: dict[str, Any] = {row["metric"]: row["value"] for row in result.rows}
    assert rows["few_shot_episodes"] == 4
    assert "per_step" not in result.summary["few_shot_accuracy"]


def test_fewer_episodes_than_are_shown_are_all_shown(plan: Any) -> None:
    stream = plan.scenario.experiences[0].test
    last, steps, _ = episode_accuracies(plan.strategy, stream, 3, 1000, by_step=4)
    assert torch.equal(steps[-1], last)


def test_an_embedded_set_recommends_what_takes_minutes_and_nothing_to_another_network() -> None:
    request: dict[str, Any] = {"scenario": {"name": "glyphs"}, "strategy": {"name": "tapl"}}
    resolved = make_plan(request, Progress()).resolved
    assert (resolved["network"]["name"], resolved["network"]["filters"], resolved["train"]["iterations"]) == ("conv4", 16, 480)
    assert (resolved["train"]["optimizer"], resolved["train"]["learning_rate"]) == ("adam", 0.003)
    assert make_plan({**request, "network": {"name": "mlp"}}, Progress()).resolved["train"]["iterations"] == 480


def test_accuracy_of_pseudo_labels_is_measured_after_every_number_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHOWN", 4)
    request = {"scenario": {"name": "digits", "queries": 3, "test_episodes": 7}, "network": {"name": "mlp", "hidden": "8"}}
    one = make_plan({**request, "strategy": {"name": "tapl", "inner_steps": 2}}, Progress())
    found = evaluate_episodes(one.strategy, one.scenario, batch_size=100)
    batch = one.scenario.experiences[0].test.batch(0, 4)
    right = (one.strategy.pseudo_labels(batch) == batch.query_y[:, None]).double().mean((0, 2))
    assert right[:2].tolist() == pytest.approx(one.strategy.diagnostics(batch)["pseudo_label_accuracy"].mean(0).tolist())
    assert found.summary["few_shot_accuracy"]["pseudo_label_accuracy"] == pytest.approx(right.tolist())
    rows = [row for row in found.rows if row["metric"] == "pseudo_label_accuracy"]
    assert [(row["step"], row["value"]) for row in rows] == [(k, pytest.approx(value)) for k, value in enumerate(right.tolist())]
