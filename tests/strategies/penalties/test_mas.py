"""MAS's importance against one backward pass per example."""

from __future__ import annotations

import pytest
import torch

from strategies.penalties import mas
from tests.strategies.driver import make_setup, prepared, tiny_scenario
from tests.strategies.penalties.watch import flat, learn, small


def sensitivity(strategy, experience):
    parameters = list(strategy.network.parameters())
    play = strategy.setup.scenario.in_play(experience.index)
    strategy.network.eval()
    total = torch.zeros_like(flat(parameters))
    for n in range(len(experience.train)):
        answer = strategy.network(experience.train.batch(slice(n, n + 1)).x, play)[:, play.start : play.stop]
        found = torch.autograd.grad(answer.square().sum(), parameters, allow_unused=True)
        total += torch.cat([torch.zeros_like(p).flatten() if g is None else g.flatten() for p, g in zip(parameters, found)]).abs()
    return total / len(experience.train)


@pytest.mark.parametrize("setting", ["task", "class"])
def test_importance_is_the_summed_mean_size_of_per_example_gradients(setting, monkeypatch):
    monkeypatch.setattr(mas, "MEASURING_BATCH", 20)
    strategy = small("mas", setting, strength=0.01)
    expected = torch.zeros(len(strategy.penalty.flat), dtype=torch.float64)
    for experience in strategy.setup.scenario.experiences[:2]:
        watched = learn(strategy, experience)
        expected = expected + sensitivity(strategy, experience)
        assert torch.allclose(strategy.penalty.importance.flat, expected, rtol=1e-10, atol=1e-15)
        assert torch.equal(strategy.penalty.centre.flat, watched.end)


def test_convolutions_and_batch_norms_are_measured_alike():
    scenario = tiny_scenario(shape=(2, 6, 6), train=6, dtype=torch.float64)
    strategy = prepared("mas", make_setup(scenario, "conv", options={"channels": (3, 4)}), strength=0.01)
    learn(strategy, scenario.experiences[0])
    vector = strategy.penalty.flat.zeros()
    start = 0
    expected = sensitivity(strategy, scenario.experiences[0])
    for view, parameter in zip(vector.views, strategy.penalty.flat.parameters):
        view.copy_(expected[start : start + parameter.numel()].view_as(parameter))
        start += parameter.numel()
    assert torch.allclose(strategy.penalty.importance.flat, vector.flat, rtol=1e-10, atol=1e-15)
