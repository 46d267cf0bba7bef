"""Reptile: each task's training by PyTorch's own optimisers, the outer step, minibatches, and joint training as its limit."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch.nn import functional

from scenarios.errors import UserError
from strategies import make
from strategies.meta.episodic import engines
from strategies.meta.reptile import pooled
from tests.strategies.meta.episodes import difference, episodes, learner, meta_gradient, padded


def _displacement(one: Any, batch: Any, steps: int, optimizer: Any) -> dict[str, torch.Tensor]:
    """Minus the mean of what each task's training by PyTorch moves."""
    drawn = one.minibatches(batch)
    ends = []
    for e in range(len(batch.support_x)):
        network = copy.deepcopy(one.network).train()
        stepping = optimizer(network.parameters())
        for k in range(steps):
            rows = slice(None) if drawn is None else drawn[e, k]
            stepping.zero_grad()
            functional.cross_entropy(network(batch.support_x[e, rows]), batch.support_y[e, rows]).backward()
            stepping.step()
        ends.append(dict(network.named_parameters()))
    return {name: (value - torch.stack([end[name] for end in ends]).mean(0)).detach() for name, value in one.network.named_parameters()}


@pytest.mark.parametrize("kind", ["adam", "sgd"])
@pytest.mark.parametrize("inner_batch", [4, 100])
@pytest.mark.parametrize("engine", ["loop", "batched"])
def test_the_outer_step_is_towards_the_mean_of_what_tasks_end_at(kind: str, inner_batch: int, engine: str) -> None:
    one = learner("reptile", "conv", inner_optimizer=kind, inner_batch=inner_batch, inner_steps=4, inner_rate=0.02, engine=engine)
    expected = _displacement(one, pooled(episodes()), 4, {
        "adam": lambda parameters: torch.optim.Adam(parameters, 0.02, betas=(0.0, 0.999)),
        "sgd": lambda parameters: torch.optim.SGD(parameters, 0.02),
    }[kind])  # fmt: skip
    found = meta_gradient(one, episodes())[1]
    assert difference(found, expected) < 1e-7
    assert float(found["backbone.0.norm.weight"].abs().max()) > 0


def test_one_step_of_sgd_on_everything_is_joint_training() -> None:
    options = {"inner_optimizer": "sgd", "inner_steps": 1, "inner_batch": 100, "inner_rate": 0.25, "pool": False}
    one, batch = learner("reptile", net={"hidden": (5,), "norm": "none"}, **options), episodes()
    loss = functional.cross_entropy(one.network(batch.support_x.flatten(0, 1)), batch.support_y.flatten())
    expected = torch.autograd.grad(loss, list(one.network.parameters()))
    named = {name: 0.25 * value for (name, _), value in zip(one.network.named_parameters(), expected)}
    assert difference(meta_gradient(one, batch)[1], named) < 1e-12


def test_chunks_change_nothing_and_the_sum_is_the_mean_times_the_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    mean = meta_gradient(learner("reptile", "conv"), episodes())
    with monkeypatch.context() as patch:
        patch.setattr(engines, "tasks_at_once", lambda *_: 2)
        few = meta_gradient(learner("reptile", "conv"), episodes())
    total = meta_gradient(learner("reptile", "conv", over_tasks="sum"), episodes())
    assert difference(mean[1], few[1]) < 1e-10 and abs(3 * mean[0] - total[0]) < 1e-9
    assert difference({name: 3 * value for name, value in mean[1].items()}, total[1]) < 1e-9


def test_minibatches_are_drawn_anew_in_each_step_and_iteration_and_from_real_images_alone() -> None:
    one, batch = learner("reptile", inner_batch=5), padded(episodes(shots=3))
    first = one.minibatches(batch)
    assert first is not None and first.shape == (3, 5, 5) and int(first.max()) < 9
    assert all(len(set(rows.tolist())) == 5 for rows in first.flatten(0, 1)) and not torch.equal(first[:, 0], first[:, 1])
    assert torch.equal(first, one.minibatches(batch))
    one.iteration = 1
    assert not torch.equal(first, one.minibatches(batch))


def test_padding_changes_nothing_where_steps_take_all_images() -> None:
    found = [meta_gradient(learner("reptile", "conv", inner_batch=100), batch) for batch in (episodes(), padded(episodes()))]
    assert abs(found[0][0] - found[1][0]) < 1e-9 and difference(found[0][1], found[1][1]) < 1e-7


def test_the_outer_rate_falls_linearly_and_is_its_own() -> None:
    (phase,) = learner("reptile", outer_rate=0.5).phases(type("Experience", (), {"train": None})())
    optimizer = phase.updates[0].optimizer
    assert optimizer is not None and (optimizer.kind, optimizer.learning_rate, optimizer.momentum) == ("sgd", 0.5, 0)
    assert [optimizer.schedule.share(step, 4) for step in range(4)] == [1, 0.75, 0.5, 0.25]


@pytest.mark.parametrize("option", ["learn_rates", "first_order"])
def test_options_of_differentiation_are_refused(option: str) -> None:
    with pytest.raises(UserError, match=f"leave strategy.{option} out"):
        make("reptile", **{option: True})
