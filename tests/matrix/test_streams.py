"""Every strategy for streams in every setting with every variant of a run: each cell runs, or is refused in one line that says why.

`pytest tests/matrix -m "full or not full"` tries all cells; otherwise all refusals are tried, and of the cells that run all with plain and
blurry streams and one setting of the others.
"""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch

from runs import simulate
from runs.engine import finite
from runs.result import RunResult
from scenarios.errors import UserError
from strategies.registry import strategies
from tests.matrix.cells import LEARNERS, MLP, ONLY_IN, QUICK, STREAMS, UNTRAINED, merged, refusal

SETTINGS = ("task", "class", "domain")
EVERY_SETTING = ("plain", "blurry")


def cells() -> list[Any]:
    chosen = []
    for i, strategy in enumerate(QUICK):
        for k, variant in enumerate(STREAMS):
            for setting in SETTINGS:
                possible = ONLY_IN.get(strategy, SETTINGS)
                turn = possible[(i + k) % len(possible)]
                usual = variant in EVERY_SETTING or setting == turn
                refused = setting in possible and refusal(strategy, setting, variant)
                marks = () if usual or refused else (pytest.mark.full,)
                chosen.append(pytest.param(strategy, setting, variant, marks=marks, id=f"{strategy}-{setting}-{variant}"))
    return chosen


@pytest.mark.parametrize(("strategy", "setting", "variant"), cells())
def test_a_cell_runs_or_is_refused_in_one_line(strategy: str, setting: str, variant: str) -> None:
    common = {
        "scenario": {"name": "tiny", "tasks": 3, "setting": setting},
        "strategy": {"name": strategy, **({} if (strategy, setting) == ("hnet-cnet", "task") else QUICK[strategy])},
        "train": {"batch_size": 8, **({} if strategy in UNTRAINED else {"epochs": 1, "learning_rate": 0.01})},
    }
    change = STREAMS[variant]
    request = merged(common, {} if "network" in change else {"network": MLP}, change)
    expected = refusal(strategy, setting, variant)
    if expected is None:
        check(simulate(**request))
        return
    with pytest.raises(UserError, match=re.escape(expected)) as refused:
        simulate(**request)
    assert "\n" not in str(refused.value) and len(str(refused.value)) <= 300


def check(result: RunResult) -> None:
    """A result is whole: all numbers are there and finite, what is frozen has not moved, and something else has."""
    experiences = len(result.scenario.experiences)
    assert result.matrix.shape == (experiences, experiences)
    for learned, row in enumerate(result.matrix.tolist()):
        assert all(0 <= value <= 1 for value in row[: learned + 1])
        assert all(math.isnan(value) or 0 <= value <= 1 for value in row)
    assert finite(result.strategy.state_dict())
    before = result.strategy.setup.build_network()
    after = result.strategy.network.state_dict()
    # A head of cosines has no biases that could be frozen.
    frozen = {name for name, parameter in before.named_parameters() if not parameter.requires_grad and name in after}
    for name, tensor in before.state_dict().items():
        if name in frozen or name.rpartition(".")[0] in {each.rpartition(".")[0] for each in frozen if ".norm." in each}:
            assert torch.equal(tensor, after[name]), f"{name} is frozen and has moved"
    if frozen:
        assert {name for name, parameter in result.strategy.network.named_parameters() if not parameter.requires_grad} == frozen
    same = [name for name, parameter in before.named_parameters() if name in after and torch.equal(parameter, after[name])]
    untrained = result.summary["strategy"] in UNTRAINED
    assert (set(same) == set(dict(before.named_parameters()))) is untrained, "nothing has been learned, or something that is frozen"


def others() -> list[str]:
    return [name for name in strategies.names() if name not in {**QUICK, **LEARNERS} and not any(part.isupper() for part in name)]


@pytest.mark.parametrize("strategy", ["gc", "scrub"])
def test_a_disposal_of_a_frozen_network_is_refused_in_one_line(strategy: str) -> None:
    with pytest.raises(UserError, match="leave network.freeze out"):
        simulate(scenario="transfer-split-digits", strategy=strategy, network={**MLP, "freeze": ("backbone",)})


@pytest.mark.parametrize("variant", ["plain", "blurry", "norms"])
@pytest.mark.parametrize("strategy", others())
def test_a_strategy_for_streams_of_another_kind_is_refused_in_one_line(strategy: str, variant: str) -> None:
    change = STREAMS[variant]
    request = merged({"scenario": {"name": "tiny", "tasks": 3}, "strategy": {"name": strategy}}, {"network": MLP}, change)
    with pytest.raises(UserError, match="transfer-") as refused:
        simulate(**request)
    assert "\n" not in str(refused.value) and len(str(refused.value)) <= 300
