"""MAML and L2F against derivations of their own in plain NumPy, with stored numbers, and the page that tells of all comparisons.

The case is written by formulas, so that the numbers hang on no generator: a network of 4, 5 and 3 units with ReLU, one episode of three
classes, one inner step. Outer gradients are compared along one direction with central differences of the outer loss.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scenarios.episodes.episodes import EpisodeBatch
from tests.agreement.written import BEGIN, END, tables
from tests.strategies.meta.episodes import learner, meta_gradient

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "agreement.md"
STORED = json.loads((Path(__file__).parent / "reference.json").read_text(encoding="utf-8"))
RATE, STEP = 0.5, 1e-5
Weights = dict[str, np.ndarray]
NAMES = {"backbone.1.layer.weight": (5, 4), "backbone.1.layer.bias": (5,), "head.blocks.0.weight": (3, 5), "head.blocks.0.bias": (3,)}


def wave(shape: tuple[int, ...], phase: float) -> np.ndarray:
    return np.sin(1.7 * np.arange(1, 1 + int(np.prod(shape))) + phase).reshape(shape)


THETA = {name: 0.6 * wave(shape, place) for place, (name, shape) in enumerate(NAMES.items())}
DIRECTION = {name: wave(shape, 10 + place) for place, (name, shape) in enumerate(NAMES.items())}
SUPPORT, QUERY, LABELS = wave((6, 4), 0.3), wave((6, 4), 2.9), np.array([0, 1, 2, 0, 1, 2])
ATTENUATOR = {"0.weight": wave((4, 4), 20), "0.bias": wave((4,), 21), "2.weight": wave((4, 4), 22), "2.bias": wave((4,), 23)}


def loss_and_gradient(theta: Weights, x: np.ndarray) -> tuple[float, Weights]:
    first, shift, last, offset = theta.values()
    before = x @ first.T + shift
    hidden = np.maximum(before, 0)
    logits = hidden @ last.T + offset
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    loss = -np.log(shares[np.arange(len(x)), LABELS]).mean()
    wrong = (shares - np.eye(3)[LABELS]) / len(x)
    back = (wrong @ last) * (before > 0)
    return float(loss), dict(zip(theta, (back.T @ x, back.sum(0), wrong.T @ hidden, wrong.sum(0))))


def moved(theta: Weights, step: float) -> Weights:
    return {name: value + step * DIRECTION[name] for name, value in theta.items()}


def maml(theta: Weights) -> float:
    gradient = loss_and_gradient(theta, SUPPORT)[1]
    return loss_and_gradient({name: value - RATE * gradient[name] for name, value in theta.items()}, QUERY)[0]


def l2f(theta: Weights) -> float:
    # The embedding is a constant for the outer gradient: it stays that of the weights where the gradient is taken.
    embedding = np.array([value.mean() for value in loss_and_gradient(THETA, SUPPORT)[1].values()])
    hidden = np.maximum(ATTENUATOR["0.weight"] @ embedding + ATTENUATOR["0.bias"], 0)
    scales = 1 / (1 + np.exp(-(ATTENUATOR["2.weight"] @ hidden + ATTENUATOR["2.bias"])))
    return maml({name: scale * value for scale, (name, value) in zip(scales, theta.items())})


DERIVED: dict[str, Callable[[Weights], float]] = {"maml": maml, "l2f": l2f}


def numbers(name: str) -> dict[str, float]:
    outer = DERIVED[name]
    slope = (outer(moved(THETA, STEP)) - outer(moved(THETA, -STEP))) / (2 * STEP)
    return {"outer_loss": outer(THETA), "outer_gradient_along": slope}


def ours(name: str) -> dict[str, float]:
    one = learner(name, net={"hidden": (5,), "norm": "none"}, shape=(1, 2, 2), inner_steps=1, inner_rate=RATE)
    assert {key: tuple(value.shape) for key, value in one.network.named_parameters()} == NAMES
    one.network.load_state_dict({key: torch.from_numpy(value) for key, value in THETA.items()})
    if name == "l2f":
        one.parts["initialise"].attenuator.load_state_dict({key: torch.from_numpy(value) for key, value in ATTENUATOR.items()})
    images: list[Any] = [torch.from_numpy(each).view(1, 6, 1, 2, 2) for each in (SUPPORT, QUERY)]
    labels = torch.from_numpy(LABELS)[None]
    loss, gradient = meta_gradient(one, EpisodeBatch(images[0], labels, images[1], labels, None, None, None, 3, None))
    along = sum(float((gradient[key] * torch.from_numpy(value)).sum()) for key, value in DIRECTION.items())
    return {"outer_loss": loss, "outer_gradient_along": along}


@pytest.mark.parametrize("name", DERIVED)
def test_one_outer_step_is_that_of_a_derivation_in_numpy_and_of_the_stored_numbers(name: str) -> None:
    derived, found = numbers(name), ours(name)
    for key, within in (("outer_loss", 1e-12), ("outer_gradient_along", 1e-8)):
        assert derived[key] == pytest.approx(STORED[name][key], abs=within)
        assert found[key] == pytest.approx(STORED[name][key], abs=within)


def test_the_page_shows_the_stored_numbers_and_names_tests_that_exist() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name, values in STORED.items():
        assert f"| `{name}` | {values['outer_loss']:.12f} | {values['outer_gradient_along']:.8f} |" in page
    between = page.split(BEGIN)[1].split(END)[0]
    assert between.strip() == tables().strip(), "python -m tests.agreement.written puts the stored numbers into the page"
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    assert len(named) > 10
    for file, test in named:
        assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{test}"
