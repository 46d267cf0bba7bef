"""How strong the attack is, where the specification says what must hold: order, specificity, and a victim that cannot move."""

from __future__ import annotations

from typing import Any

import torch

from runs.engine import Position
from runs.plan import make_plan
from runs.run import Run
from runs.showing.progress import Progress
from runs.simulation import carry_out

ASKED: dict[str, Any] = {
    "scenario": {"name": "permuted-digits", "tasks": 3},
    "strategy": {"name": "ewc", "strength": 1000},
    "train": {"epochs": 12},
    "network": {"hidden": "128,128"},
    "attack": {"name": "task-poison", "epsilon": 0.1, "steps": 8},
}


def attacked(**asked: Any) -> dict[str, Any]:
    return carry_out(make_plan({**ASKED, **asked}, Progress()), None, resume=False, progress=Progress()).summary["attack"]


def test_offline_poison_costs_the_target_more_than_noise_and_more_than_another_old_experience() -> None:
    found = [attacked(seed=seed) for seed in range(3)]
    mean = {name: sum(each[name] for each in found) / 3 for name in ("noise_drop", "drop", "specificity", "plasticity")}
    assert mean["drop"] > mean["noise_drop"] + 0.1
    assert mean["specificity"] > 0
    assert mean["plasticity"] < 0.12 < mean["drop"]


def test_without_strength_an_attacked_penalty_is_attacked_fine_tuning_bit_for_bit() -> None:
    short = {"scenario": {"name": "permuted-digits", "tasks": 2, "train_examples": 100}, "train": {"epochs": 2}}
    networks = []
    for strategy in ({"name": "ewc", "strength": 0}, {"name": "naive"}):
        plan = make_plan({**ASKED, **short, "strategy": strategy}, Progress())
        networks.append(carry_out(plan, None, resume=False, progress=Progress()).strategy.network)
    assert all(torch.equal(one, two) for one, two in zip(networks[0].parameters(), networks[1].parameters()))


def test_a_victim_held_at_its_anchor_loses_nothing_to_any_attack() -> None:
    train = {"epochs": 3, "optimizer": "sgd", "learning_rate": 1e-3, "momentum": 0.0}
    for online in ("offline", "online"):
        attack = {**ASKED["attack"], "schedule": online, "epsilon": 0.5}
        asked = {**ASKED, "scenario": {"name": "permuted-digits", "tasks": 2}, "train": train, "attack": attack}
        plan = make_plan({**asked, "strategy": {"name": "ewc", "strength": 1000.0}}, Progress())
        run = Run(plan, None, Progress())
        first, second = plan.scenario.experiences
        run.engine.learn(first, Position(0))
        plan.strategy.penalty.importance.flat.fill_(1.0)  # type: ignore[attr-defined]
        before = run.test(1).row[0]
        run.engine.learn(second, Position(1))
        assert abs(before - run.test(2).row[0]) <= 0.01
