"""Altered support sets: inside the ball, worse than noise for what compares features, queries untouched."""

from __future__ import annotations

import torch

from runs.plan import make_plan
from runs.showing.progress import Progress
from runs.simulation import carry_out
from strategies.attacks.ball import Ball
from strategies.attacks.episodes import grey_levels, noisy_support, poisoned_support

ASKED = {
    "scenario": {"name": "digits", "queries": 5, "test_episodes": 30},
    "strategy": {"name": "protonet"},
    "network": {"name": "mlp", "hidden": "32"},
    "train": {"iterations": 60},
    "attack": {"name": "task-poison", "epsilon": 0.2, "steps": 5},
}


def test_support_sets_are_altered_within_the_ball_and_hurt_more_than_noise() -> None:
    result = carry_out(make_plan(ASKED, Progress()), None, resume=False, progress=Progress())
    attack = result.summary["attack"]
    assert attack["name"] == "task-poison" and attack["episodes"] == 30
    assert attack["attacked"] < attack["noise"] - 0.1 and attack["drop"] > 0.1
    stream = result.scenario.experiences[-1].test  # type: ignore[attr-defined]
    clean = stream.batch(0, 3)
    ball = Ball("linf", 0.2)
    noisy = noisy_support(clean, stream.storage, ball, torch.Generator().manual_seed(0))
    poisoned = poisoned_support(clean, stream.storage, ball, result.strategy.features, steps=3, size=0.1)
    for altered in (noisy, poisoned):
        change = grey_levels(altered.support_x, stream.storage).int() - grey_levels(clean.support_x, stream.storage).int()
        assert 0 < int(change.abs().max()) <= 51
        assert altered.query_x is clean.query_x and altered.support_y is clean.support_y
