"""SI, ALASSO, MAS and EWC against stored numbers of a reference in plain NumPy, over three experiences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scenarios.experience import Batch
from strategies.phase import TrainConfig
from tests.agreement import streams
from tests.agreement.written import flattened
from tests.strategies.driver import make_setup, prepared, tiny_scenario

STORED = json.loads((Path(__file__).parent / "streams.json").read_text(encoding="utf-8"))


def ours(case: str) -> dict[str, Any]:
    name, options = streams.CASES[case]
    scenario = tiny_scenario("domain", shape=(1, 2, 2), dtype=torch.float64)
    train = TrainConfig(learning_rate=streams.RATE, momentum=streams.MOMENTUM)
    strategy: Any = prepared(name, make_setup(scenario, train=train, options={"hidden": (3,)}), scale="published", **options)
    parameters = list(strategy.network.parameters())
    assert {key: tuple(value.shape) for key, value in strategy.network.named_parameters()} == streams.SHAPES
    put(parameters, streams.START)
    optimizer = torch.optim.SGD(parameters, lr=streams.RATE, momentum=streams.MOMENTUM)
    importances, ends = [], []
    for experience in scenario.experiences:
        batches = [batch(streams.images(experience.index, step), experience.index) for step in range(streams.STEPS)]
        for phase in strategy.phases(experience):
            if phase.begin:
                phase.begin()
            for each in batches:
                if phase.observe:
                    phase.observe(each)
                for update in phase.updates:
                    optimizer.zero_grad()
                    update.loss(each).loss.backward()
                    update.after_backward()
                    optimizer.step()
                    update.after_step()
            if phase.updates:
                ends.append(read(parameters))
            if phase.end:
                phase.end()
        importances.append(strategy.penalty.importance.flat.tolist())
    put(parameters, np.array(ends[-1]) + streams.ELSEWHERE)
    return {"importance": importances, "parameters": ends, "penalty_elsewhere": float(strategy.penalty.value())}


def batch(x: np.ndarray, experience: int) -> Batch:
    labels = torch.from_numpy(streams.LABELS)
    return Batch(torch.from_numpy(x).view(-1, 1, 2, 2), labels, torch.full_like(labels, experience), experience)


def read(parameters: list[Any]) -> list[float]:
    return torch.cat([each.detach().flatten() for each in parameters]).tolist()


def put(parameters: list[Any], values: np.ndarray) -> None:
    with torch.no_grad():
        torch.nn.utils.vector_to_parameters(torch.from_numpy(values).clone(), parameters)  # it shares memory


@pytest.mark.parametrize("case", streams.CASES)
def test_importances_and_parameters_are_the_stored_ones(case: str) -> None:
    assert flattened(ours(case)) == pytest.approx(flattened(STORED["outputs"][case]), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("case", streams.CASES)
def test_the_reference_still_yields_the_stored_numbers(case: str) -> None:
    assert flattened(streams.outputs(case)) == pytest.approx(flattened(STORED["outputs"][case]), rel=1e-12, abs=1e-14)


def test_the_stored_inputs_are_those_of_the_reference() -> None:
    assert json.loads(json.dumps(streams.inputs())) == STORED["inputs"]


def test_every_case_acts_and_no_two_are_the_same() -> None:
    ends = [tuple(STORED["outputs"][case]["parameters"][-1]) for case in streams.CASES]
    assert len(set(ends)) == len(ends)
    assert all(max(STORED["outputs"][case]["importance"][-1]) > 0.01 for case in streams.CASES)
