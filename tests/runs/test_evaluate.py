"""Testing gives the accuracies that a loop over single examples gives, in every setting, from the same logits."""

from __future__ import annotations

import math

import pytest
import torch

from runs import evaluate as module
from runs.evaluate import evaluate
from tests.strategies.driver import make_setup, prepared, run_stream, tiny_scenario


@pytest.mark.parametrize("setting", ["task", "class", "domain"])
@pytest.mark.parametrize("learned", [0, 2, 3])
def test_it_equals_a_loop_over_single_examples(setting: str, learned: int) -> None:
    scenario = tiny_scenario(setting)  # type: ignore[arg-type]
    strategy = prepared("naive", make_setup(scenario))
    run_stream(strategy, strategy.setup.scenario.experiences[:learned])
    result = evaluate(strategy, strategy.setup.scenario, learned, batch_size=7)
    for experience, value in zip(strategy.setup.scenario.experiences, result.row):
        play = {"task": experience.outputs, "domain": range(2), "class": range(2 * max(learned, 1))}[setting]
        if setting == "class" and experience.index >= learned:
            assert math.isnan(value)
            continue
        right = 0
        for i in range(len(experience.test)):
            batch = experience.test.batch(slice(i, i + 1))
            with torch.no_grad():
                logits = strategy.logits(batch.x)[0]
            right += int(play.start + int(logits[play.start : play.stop].argmax()) == int(batch.y))
        assert value == right / len(experience.test)


@pytest.mark.parametrize("held", [0, 20, 2**20])
def test_answers_that_wait_are_judged_as_those_that_do_not(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    strategy = prepared("naive", make_setup(tiny_scenario("class")))
    run_stream(strategy)
    whole = evaluate(strategy, strategy.setup.scenario, 3, batch_size=1000)
    monkeypatch.setattr(module, "HELD", held)
    assert evaluate(strategy, strategy.setup.scenario, 3, batch_size=3) == whole


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_answer_that_is_no_finite_number_is_seen(value: float) -> None:
    strategy = prepared("naive", make_setup(tiny_scenario("class")))
    answer, calls = strategy.logits, iter(range(1000))

    def spoilt(x: torch.Tensor, task: int | None = None) -> torch.Tensor:
        logits = answer(x, task)
        if next(calls) == 4:
            logits[1, 2] = value
        return logits

    assert evaluate(strategy, strategy.setup.scenario, 3, batch_size=3).finite
    strategy.logits = spoilt  # type: ignore[method-assign]
    assert not evaluate(strategy, strategy.setup.scenario, 3, batch_size=3).finite


def test_accuracy_with_and_without_the_task_label_stand_in_the_rows() -> None:
    strategy = prepared("naive", make_setup(tiny_scenario("task")))
    run_stream(strategy)
    result = evaluate(strategy, strategy.setup.scenario, 3, batch_size=100)
    found = {(row["metric"], row["on_experience"]): row["value"] for row in result.rows}
    for index in range(3):
        assert found["accuracy_task", index] == result.row[index]
        assert found["accuracy_class", index] <= found["accuracy_task", index]


def test_a_class_incremental_summary_says_what_the_answers_are_worth_with_task_labels() -> None:
    strategy = prepared("naive", make_setup(tiny_scenario("class")))
    run_stream(strategy)
    result = evaluate(strategy, strategy.setup.scenario, 3, batch_size=100)
    values = [row["value"] for row in result.rows if row["metric"] == "accuracy_task"]
    assert result.summary == {"average_accuracy_task": sum(values) / 3}
    assert evaluate(strategy, strategy.setup.scenario, 1, batch_size=100, only_seen=True).summary == {}


def test_only_seen_leaves_the_others_empty() -> None:
    strategy = prepared("naive", make_setup(tiny_scenario("task")))
    result = evaluate(strategy, strategy.setup.scenario, 1, batch_size=100, only_seen=True)
    assert [math.isnan(value) for value in result.row] == [False, True, True]


def test_a_strategy_without_an_answer_leaves_an_empty_cell() -> None:
    strategy = prepared("naive", make_setup(tiny_scenario("task")))
    strategy.answers = lambda task: task != 1  # type: ignore[method-assign]
    result = evaluate(strategy, strategy.setup.scenario, 3, batch_size=100)
    assert [math.isnan(value) for value in result.row] == [False, True, False]
