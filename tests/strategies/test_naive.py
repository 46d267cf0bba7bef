"""Naive fine-tuning learns each experience, forgets the ones before, and leaves other blocks of the head alone."""

from __future__ import annotations

import pytest
import torch

from strategies.phase import TrainConfig
from tests.strategies.driver import accuracy, equal, make_setup, prepared, run_experience, run_stream, tiny_scenario


@pytest.mark.parametrize("setting", ["task", "domain", "class"])
def test_the_newest_experience_is_learned(setting):
    scenario = tiny_scenario(setting)
    strategy = run_stream(prepared("naive", make_setup(scenario)))
    assert accuracy(strategy, scenario.experiences[-1]) > 0.9


def test_without_task_labels_the_first_experience_is_forgotten():
    scenario = tiny_scenario("class")
    strategy = prepared("naive", make_setup(scenario))
    run_experience(strategy, scenario.experiences[0])
    run_experience(strategy, scenario.experiences[1])
    run_experience(strategy, scenario.experiences[2])
    assert accuracy(strategy, scenario.experiences[0]) < 0.1


def test_blocks_out_of_play_do_not_move_even_with_momentum_and_weight_decay():
    setup = make_setup(tiny_scenario("task"), train=TrainConfig(epochs=2, batch_size=16, momentum=0.9, weight_decay=0.1))
    strategy = prepared("naive", setup)
    optimizers = run_experience(strategy, setup.scenario.experiences[0])
    first = [parameter.clone() for parameter in strategy.network.head.blocks[0].parameters()]
    run_experience(strategy, setup.scenario.experiences[1], optimizers)
    assert all(map(torch.equal, first, strategy.network.head.blocks[0].parameters()))


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    scenario = tiny_scenario()
    first, again, other = (run_stream(prepared("naive", make_setup(scenario, seed=seed))) for seed in (0, 0, 1))
    assert equal(first.state_dict(), again.state_dict())
    assert not equal(first.state_dict(), other.state_dict())
