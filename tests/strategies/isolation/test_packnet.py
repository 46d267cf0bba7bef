"""PackNet: what is pruned is the smallest, what is owned never moves, and an experience's answers stay bit for bit."""

from __future__ import annotations

import pytest
import torch

from strategies.phase import TrainConfig
from tests.strategies.driver import accuracy, equal, make_setup, prepared, run_experience, run_stream, tiny_scenario
from tests.strategies.memory.states import copied

NETWORK = {"hidden": (12,), "norm": "batch"}


def setup_for(momentum=0.9, **train):
    return make_setup(
        tiny_scenario(), train=TrainConfig(epochs=4, batch_size=16, momentum=momentum, weight_decay=0.01, **train), options=NETWORK
    )


def test_the_smallest_free_weights_of_a_layer_are_pruned():
    strategy = prepared("packnet", setup_for(), prune=0.25)
    name, weight = next(iter(strategy.weights.items()))
    strategy._prune(1)
    owners, before = strategy.owners[name], strategy.setup.build_network().backbone.get_parameter(name)
    bound = before.abs().flatten().sort().values[weight.numel() // 4]
    assert torch.equal(owners == 1, before.abs() >= bound) and torch.equal(weight, before * (owners == 1))
    strategy._prune(2)
    assert int((owners == 1).sum()) == int((strategy.owners[name] == 1).sum())
    # all free ones are 0: a quarter of them stays free
    assert int((strategy.owners[name] == 0).sum()) == round(round(0.25 * weight.numel()) * 0.25)


def test_answers_to_an_experience_stay_bit_for_bit_while_others_are_learned():
    setup = setup_for()
    strategy, optimizers, answers = prepared("packnet", setup), None, {}
    for experience in setup.scenario.experiences:
        optimizers = run_experience(strategy, experience, optimizers)
        x = experience.test.batch(slice(None)).x
        with torch.no_grad():
            answers[experience.index] = strategy.logits(x, experience.index)
            for index, wanted in answers.items():
                own = setup.scenario.experiences[index]
                again = strategy.logits(own.test.batch(slice(None)).x, index)
                assert torch.equal(again[:, own.outputs], wanted[:, own.outputs])
        assert accuracy(strategy, experience) > 0.8
    assert [strategy.answers(task) for task in range(3)] == [True] * 3
    free = strategy.report()["free_weights"]
    assert abs(free - 0.125) < 0.01 and strategy.report()["owner_bytes"] == 64 * 12 * 2 // 8
    name = next(iter(strategy.weights))
    assert (strategy.weights[name][strategy.owners[name] == 0] == 0).all()


def test_its_first_training_is_naive_bit_for_bit():
    setup = setup_for()
    strategy, naive = prepared("packnet", setup), prepared("naive", setup)
    first = setup.scenario.experiences[0]
    strategy._prune = lambda number: None
    phases = strategy.phases(first)
    strategy.phases = lambda experience: phases[:1]
    run_experience(strategy, first), run_experience(naive, first)
    assert equal(strategy.network.state_dict(), naive.network.state_dict())


@pytest.mark.parametrize("place", [(0, 1), (1, 1)])
def test_resumed_it_goes_on_bit_for_bit(place):
    setup = setup_for(momentum=0.0)
    whole, saved = run_stream(prepared("packnet", setup), setup.scenario.experiences[:1]), {}
    second = setup.scenario.experiences[1]
    run_experience(whole, second, at_boundary=lambda phase, epoch: saved.update({(phase, epoch): copied(whole.state_dict())}))
    resumed = prepared("packnet", setup)
    resumed.load_state_dict(saved[place])
    run_experience(resumed, second, start=place)
    assert equal(whole.state_dict(), resumed.state_dict())
