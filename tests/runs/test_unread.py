"""An option that nothing reads is refused in one line, unless its value is what it would have been anyway."""

from __future__ import annotations

from typing import Any

import pytest

from runs import simulate
from scenarios.errors import UserError

EPISODES = {"name": "digits", "ways": 2, "queries": 2, "test_queries": 2, "test_episodes": 2}
OWN, SUMS = "reptile's outer step is its own; set strategy.outer_rate instead", "one pass and nothing is trained; leave it out"


@pytest.mark.parametrize(
    ("strategy", "train", "message"),
    [
        ("reptile", {"optimizer": "sgd"}, f"train.optimizer has no effect on reptile: {OWN}"),
        ("reptile", {"learning_rate": 0.5}, f"train.learning_rate has no effect on reptile: {OWN}"),
        ("reptile", {"schedule": "cosine"}, f"train.schedule has no effect on reptile: {OWN}"),
        ("ncm", {"learning_rate": 0.5}, SUMS),
        ("slda", {"iterations": 7}, SUMS),
        ("ranpac", {"optimizer": "rmsprop"}, SUMS),
        ("maml", {"batch_size": 8}, "train.batch_size has no effect on maml: a step of a learner of episodes is a meta-batch"),
        ("baseline", {"batch_size": 8}, "set strategy.batch_size instead"),
        ("naive", {"schedule_milestones": [0.2]}, "train.schedule_milestones is read with train.schedule=multistep or step alone"),
        ("maml", {"schedule": "cosine", "schedule_factor": 0.3}, "train.schedule_factor is read with"),
    ],
)
def test_an_option_of_training_that_cannot_act_is_refused(strategy: str, train: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refused:
        run(strategy, train=train)
    assert message in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("strategy", "evaluate", "message"),
    [
        ("naive", {"validate_every": 2}, "evaluate.validate_every is for learners of episodes"),
        ("protonet", {"stream": "seen"}, "leave evaluate.stream out"),
    ],
)
def test_an_option_of_testing_that_cannot_act_is_refused(strategy: str, evaluate: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        run(strategy, evaluate=evaluate)


def test_what_would_be_there_anyway_may_be_said() -> None:
    run("reptile", train={"optimizer": "adam", "learning_rate": 1e-3, "iterations": 1}, options={"inner_steps": 1, "test_steps": 1})
    run("ncm", train={"batch_size": 7})


def run(strategy: str, options: dict[str, Any] | None = None, **request: Any) -> None:
    episodic = strategy in ("reptile", "maml", "baseline", "protonet")
    simulate(
        scenario=EPISODES if episodic else {"name": "split-digits", "train_examples": 6},
        strategy={"name": strategy, **(options or {})},
        **request,
    )
