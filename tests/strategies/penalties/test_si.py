"""SI's importance against the formula, from a watched path."""

from __future__ import annotations

import torch

from tests.strategies.penalties.watch import learn, penalty_gradient, shift, small


def test_importance_and_centre_follow_the_recursion():
    strategy = small("si", strength=0.5, xi=0.01)
    importance = torch.zeros(len(strategy.penalty.flat), dtype=torch.float64)
    for experience in strategy.setup.scenario.experiences:
        watched = learn(strategy, experience)
        importance = (importance + watched.path / (watched.displacement**2 + 0.01)).clamp(min=0)
        assert torch.allclose(strategy.penalty.importance.flat, importance, rtol=1e-9, atol=1e-15)
        assert torch.equal(strategy.penalty.centre.flat, watched.end)
    assert importance.max() > 0


def test_the_gradient_has_no_factor_one_half():
    strategy = small("si", strength=0.5)
    end = learn(strategy, strategy.setup.scenario.experiences[0]).end
    theta = shift(strategy)
    assert torch.allclose(penalty_gradient(strategy), 2 * 0.5 * strategy.penalty.importance.flat * (theta - end), rtol=1e-12, atol=0)


def test_heads_that_are_not_learned_have_no_importance():
    strategy = small("si", "task")
    learn(strategy, strategy.setup.scenario.experiences[0])
    vector = strategy.penalty.importance
    heads = {id(parameter) for block in strategy.network.head.blocks[1:] for parameter in block.parameters()}
    untouched = [view for view, parameter in zip(vector.views, strategy.penalty.flat.parameters) if id(parameter) in heads]
    assert untouched and all(bool((view == 0).all()) for view in untouched)
