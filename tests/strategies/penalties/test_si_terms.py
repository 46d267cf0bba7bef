"""SI adds an experience's path before it cuts at 0: a negative path takes from what was important."""

from __future__ import annotations

import torch

from tests.strategies.penalties.watch import small


def test_a_negative_path_takes_importance_away_and_never_below_zero():
    strategy = small("si", xi=0.5)
    penalty = strategy.penalty
    penalty.before_experience(strategy.network)
    count = len(penalty.centre.flat)
    penalty.importance.flat.copy_(torch.linspace(0.1, 3.0, count))
    penalty.path.total.flat.copy_(torch.linspace(-2.0, 2.0, count))
    with torch.no_grad():
        for parameter in strategy.network.parameters():
            parameter.add_(1.0)
    before = penalty.importance.flat.clone()
    penalty.after_experience()
    expected = (before + torch.linspace(-2.0, 2.0, count, dtype=torch.float64) / 1.5).clamp(min=0)
    assert torch.allclose(penalty.importance.flat, expected, rtol=1e-5)
    assert (expected < before)[: count // 3].all() and (expected > 0)[count // 6 : count // 3].any()
