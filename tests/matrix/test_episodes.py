"""Every learner of episodes with every variant of a run: each cell runs, or is refused in one line that says why."""

from __future__ import annotations

import re

import pytest

from runs import simulate
from runs.engine import finite
from scenarios.errors import UserError
from tests.matrix.cells import DEEP, EPISODES, EPISODIC, LEARNERS, episodic_refusal, merged


@pytest.mark.parametrize("variant", EPISODIC)
@pytest.mark.parametrize("strategy", LEARNERS)
def test_a_cell_runs_or_is_refused_in_one_line(strategy: str, variant: str) -> None:
    common = {"scenario": EPISODES, "strategy": {"name": strategy, **LEARNERS[strategy]}, "train": {"iterations": 1}}
    change = EPISODIC[variant]
    request = merged(common, {} if "network" in change else {"network": DEEP}, change)
    expected = episodic_refusal(strategy, variant)
    if expected is None:
        result = simulate(**request)
        assert 0 <= result.summary["few_shot_accuracy"]["mean"] <= 1
        assert finite(result.strategy.state_dict())
        assert ("few_shot_ensemble" in result.summary) is (variant == "ensemble")
        return
    with pytest.raises(UserError, match=re.escape(expected)) as refused:
        simulate(**request)
    assert "\n" not in str(refused.value) and len(str(refused.value)) <= 300
