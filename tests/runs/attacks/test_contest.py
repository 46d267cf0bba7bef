"""Attacked and defended runs: what must not change does not, and an interruption changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from runs.plan import make_plan
from runs.showing.progress import Progress
from runs.simulation import carry_out, simulate
from scenarios.errors import UserError
from tests.runs.test_resume import interrupted, same_bits

ASKED = {
    "scenario": {"name": "permuted-digits", "tasks": 3, "train_examples": 100},
    "strategy": {"name": "ewc"},
    "train": {"epochs": 2, "batch_size": 16},
    "network": {"hidden": "16"},
}
NOISE = {"name": "noise", "epsilon": 0.3}
POISON = {"name": "task-poison", "steps": 1}


def run(folder: Path | None = None, **asked: object):
    return carry_out(make_plan({**ASKED, **asked}, Progress()), folder, resume=False, progress=Progress())


@pytest.mark.parametrize("nothing", [{"epsilon": 0}, {"fraction": 0}])
def test_an_attack_without_size_or_share_is_the_clean_run_bit_for_bit(nothing):
    clean, attacked = run(), run(attack={**NOISE, **nothing})
    for one, two in zip(clean.strategy.network.parameters(), attacked.strategy.network.parameters()):
        assert torch.equal(one, two)
    assert attacked.summary["attack"]["drop"] == 0 and "poisoned" not in attacked.summary["data"]


def test_a_run_is_paired_with_its_clean_twin_and_both_are_found_again(tmp_path):
    result = run(tmp_path / "first", attack=NOISE)
    attack = result.summary["attack"]
    clean = run()
    assert attack["clean"] == pytest.approx(float(clean.matrix[-1, 0]))
    assert attack["attacked"] == pytest.approx(float(result.matrix[-1, 0]))
    assert attack["drop"] == pytest.approx(attack["clean"] - attack["attacked"])
    assert result.summary["data"]["poisoned"] is True
    manifest = json.loads((tmp_path / "first" / "poison" / "manifest.json").read_text())
    assert manifest["options"]["epsilon"] == 0.3 and manifest["experiences"][0]["altered"] == 100
    run(tmp_path / "second", attack={**NOISE, "epsilon": 0.1})
    assert not (tmp_path / "second" / "controls").exists()
    run(tmp_path / "third", attack=NOISE, seed=1)
    assert (tmp_path / "third" / "controls" / "clean" / "summary.json").exists()


@pytest.mark.parametrize(
    ("strategy", "attack", "defence", "steps"),
    [
        ({"name": "si"}, {**POISON, "schedule": "online"}, {"name": "agem"}, 33),
        ({"name": "ewc"}, {"name": "label-flip", "fraction": 0.2}, {"name": "rollback", "tolerance": 0.0}, 40),
        ({"name": "joint"}, {**POISON, "experiences": "later", "fraction": 0.5}, {"name": "outlier", "kind": "spectral"}, 30),
    ],
)
def test_every_kind_of_state_is_taken_up_again(strategy, attack, defence, steps, tmp_path):
    asked = {**ASKED, "strategy": strategy, "attack": attack, "defence": defence}
    carry_out(make_plan(asked, Progress()), tmp_path / "whole", resume=False, progress=Progress())
    interrupted(asked, tmp_path / "run", steps)
    carry_out(make_plan(asked, Progress()), tmp_path / "run", resume=True, progress=Progress())
    same_bits(tmp_path / "whole", tmp_path / "run")


def test_poisoned_images_that_are_loaded_as_data_say_so_in_every_summary(tmp_path):
    run(tmp_path / "run", attack={**NOISE, "fraction": 0.7})
    own = {"data": f"npz:{tmp_path / 'run' / 'poison' / 'experience-2.npz'}", "scenario": {"name": "permuted-digits", "tasks": 2}}
    summary = run(tmp_path / "own", **own).summary
    assert summary["data"]["poisoned"] is True and summary["data"]["examples"] < 70
    assert "poisoned" not in run().summary["data"]


@pytest.mark.parametrize("steps", [15, 29, 40])
def test_an_attacked_and_defended_run_resumes_to_the_same_bits(steps, tmp_path):
    asked = {
        **ASKED,
        "strategy": {"name": "replay", "memory": 50},
        "attack": {**NOISE, "experiences": "later"},
        "defence": {"name": "noise"},
    }
    carry_out(make_plan(asked, Progress()), tmp_path / "whole", resume=False, progress=Progress())
    interrupted(asked, tmp_path / "run", steps)
    carry_out(make_plan(asked, Progress()), tmp_path / "run", resume=True, progress=Progress())
    same_bits(tmp_path / "whole", tmp_path / "run")


@pytest.mark.parametrize(
    ("attack", "line"),
    [
        ({"epsilon": 0.1}, "no attack was named"),
        ({"name": "noize"}, "unknown attack 'noize'"),
        ({**NOISE, "target": 2}, "attack.target=2 has no later experience"),
        ({**NOISE, "target": 1, "experiences": "1"}, "attack.experiences=1 must lie from 2 to 2"),
        ({**NOISE, "epsilon": -1}, "attack.epsilon must be at least 0"),
        ({**POISON, "surrogate_steps": 5}, "attack.surrogate_steps is read with attack.access=surrogate alone"),
        ({**POISON, "unroll_rate": 0.5}, "attack.unroll_rate is read with attack.objective=unroll alone"),
        ({**POISON, "adaptive": True}, "attack.adaptive=true reckons with a defence"),
    ],
)
def test_a_mistake_in_an_attack_is_told_before_anything_is_learned(attack, line):
    with pytest.raises(UserError, match=line):
        make_plan({**ASKED, "attack": attack}, Progress())


def test_an_adversary_and_a_defence_of_the_users_own_run(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from strategies.attacks import register as attack\nfrom strategies.defences import register as defence\n"
        "from strategies.attacks.noise import Noise\nfrom strategies.defences.noise import Noise as Blur\n"
        "@attack('my-attack', 'mine')\nclass Mine(Noise):\n    pass\n@defence('my-defence', 'mine')\nclass Ours(Blur):\n    pass\n"
    )
    result = simulate(
        scenario=ASKED["scenario"],
        strategy="naive",
        train={"epochs": 1},
        attack="my-attack",
        defence={"name": "my-defence", "sigma": 0.1},
        imports=[tmp_path / "mine.py"],
    )
    assert "drop" in result.summary["attack"]
