"""Every learner of episodes learns: on classes that are easily told apart it comes above chance, by the means that it ships with."""

from __future__ import annotations

import pytest

import runs
from strategies.registry import strategies

LEARNERS = [
    name
    for name in strategies.names()
    if not any(letter.isupper() for letter in name) and "episodic" in strategies.component(strategies.find(name)[0]).settings
]


@pytest.mark.parametrize("name", LEARNERS)
def test_a_learner_of_episodes_comes_above_chance(name: str) -> None:
    result = runs.simulate(
        scenario={"name": "digits", "ways": 3, "shots": 1, "queries": 3, "test_episodes": 40},
        strategy=name,
        network={"name": "mlp", "norm": "batch" if name == "cxgrad" else "none"},
        train={"iterations": 60},
        evaluate={"validate_every": 0},
    )
    assert result.summary["few_shot_accuracy"]["mean"] > 0.42, "chance is a third, within five hundredths"
