"""CxGrad against stored numbers of its loop written out in plain NumPy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from scenarios.episodes.episodes import EpisodeBatch
from tests.agreement import context
from tests.agreement.written import flattened
from tests.strategies.meta.episodes import learner, meta_gradient

STORED = json.loads((Path(__file__).parent / "context.json").read_text(encoding="utf-8"))
EXACT = ("outer_loss", "log_gamma", "context_norm")


def ours(engine: str) -> dict[str, Any]:
    options: dict[str, Any] = {"inner_steps": context.INNER_STEPS, "inner_rate": context.INNER_RATE, "bn_eps": context.EPS}
    options |= {"context": context.CONTEXT, "context_rate": context.CONTEXT_RATE, "engine": engine}
    one = learner("cxgrad", net={"hidden": (5, 4), "norm": "batch"}, shape=(1, 2, 2), **options)
    assert {key: tuple(value.shape) for key, value in one.network.named_parameters()} == context.SHAPES
    one.network.load_state_dict({key: torch.from_numpy(value) for key, value in context.NETWORK.items()}, strict=False)
    one.parts["step"].generator.load_state_dict({key: torch.from_numpy(value) for key, value in context.GENERATOR.items()})
    support, query = (torch.from_numpy(each).view(1, 6, 1, 2, 2) for each in (context.SUPPORT, context.QUERY))
    labels = torch.from_numpy(context.LABELS)[None]
    episode = EpisodeBatch(support, labels, query, labels, None, None, None, 3, None)
    loss, gradient = meta_gradient(one, episode)
    seen = one.diagnostics(episode)
    generator = {f"parts.step.generator.{name}": value for name, value in context.ALONG_GENERATOR.items()}
    return {
        "outer_loss": loss,
        "log_gamma": seen["log_gamma"][0].tolist(),
        "context_norm": seen["context_norm"][0].tolist(),
        "outer_gradient_along_network": along(gradient, context.ALONG_NETWORK),
        "outer_gradient_along_generator": along(gradient, generator),
    }


def along(gradient: dict[str, torch.Tensor], direction: dict[str, Any]) -> float:
    return sum(float((gradient[name] * torch.from_numpy(value)).sum()) for name, value in direction.items())


@pytest.mark.parametrize("engine", ["loop", "batched"])
def test_one_outer_step_is_the_stored_one(engine: str) -> None:
    found, stored = ours(engine), STORED["outputs"]
    assert found.keys() == stored.keys()
    for name, value in stored.items():
        within = 1e-11 if name in EXACT else 1e-8
        assert flattened({name: found[name]}) == pytest.approx(flattened({name: value}), abs=within), name


def test_the_reference_still_yields_the_stored_numbers() -> None:
    found = context.outputs()
    for name, value in STORED["outputs"].items():
        within = 1e-13 if name in EXACT else 1e-9
        assert flattened({name: found[name]}) == pytest.approx(flattened({name: value}), abs=within), name


def test_the_stored_inputs_are_those_of_the_reference() -> None:
    assert json.loads(json.dumps(context.inputs())) == STORED["inputs"]


def test_the_context_moves_and_differs_from_step_to_step() -> None:
    sizes = STORED["outputs"]["context_norm"]
    assert min(sizes) > 1e-4 and len(set(sizes)) == len(sizes)
