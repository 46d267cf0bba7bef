"""Joint training is the upper bound: nothing is left of the order, and no experience is preferred."""

from __future__ import annotations

import pytest
import torch

from scenarios.experience import concatenate
from strategies.networks.network import OUT_OF_PLAY
from strategies.phase import TrainConfig
from tests.strategies.driver import accuracy, equal, make_setup, prepared, run_experience, run_stream, tiny_scenario

LONGER = TrainConfig(epochs=4, batch_size=16)


@pytest.mark.parametrize("setting", ["task", "domain", "class"])
def test_all_experiences_are_remembered(setting):
    scenario = tiny_scenario(setting)
    strategy = run_stream(prepared("joint", make_setup(scenario, train=LONGER)))
    assert min(accuracy(strategy, experience) for experience in scenario.experiences) > 0.9


@pytest.mark.parametrize("setting", ["task", "domain", "class"])
def test_the_loss_of_a_mixed_batch_is_the_mean_of_each_examples_own_loss(setting):
    setup = make_setup(tiny_scenario(setting, dtype=torch.float64))
    strategy = prepared("joint", setup)
    first, second = (setup.scenario.experiences[index].train for index in (0, 1))
    strategy.phases(setup.scenario.experiences[1])
    batch = concatenate([first, second]).batch(torch.tensor([0, 30, 50, 90]))
    assert batch.task is None
    expected = []
    for x, y, task in zip(batch.x, batch.y, batch.tasks):
        play = range(4) if setting == "class" else setup.scenario.experiences[int(task)].outputs
        logits = strategy.network(x[None])[0, play.start : play.stop]
        expected.append(torch.logsumexp(logits, 0) - logits[y - play.start])
    assert torch.allclose(strategy.loss(batch).loss, torch.stack(expected).mean(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("setting", ["task", "class"])
def test_outputs_not_met_yet_are_neither_in_the_loss_nor_moved(setting):
    setup = make_setup(tiny_scenario(setting), train=TrainConfig(epochs=1, batch_size=16, weight_decay=0.1))
    strategy = prepared("joint", setup)
    before = strategy.network.head.blocks[2].weight.clone()
    run_experience(strategy, setup.scenario.experiences[1])
    assert torch.equal(before, strategy.network.head.blocks[2].weight)
    batch = concatenate([experience.train for experience in setup.scenario.experiences[:2]]).batch(torch.tensor([0, 60]))
    logits = strategy.loss(batch).logits
    assert logits.shape[1] == 4 if setting == "class" else (logits[:, 4:] == OUT_OF_PLAY).all()


def test_what_was_learned_before_leaves_no_trace():
    setup = make_setup(tiny_scenario())
    in_turn = run_stream(prepared("joint", setup))
    at_once = prepared("joint", setup)
    run_experience(at_once, setup.scenario.experiences[2])
    assert equal(in_turn.state_dict(), at_once.state_dict())


def test_on_the_first_experience_it_is_naive():
    setup = make_setup(tiny_scenario())
    joint, naive = (prepared(name, setup) for name in ("joint", "naive"))
    for strategy in (joint, naive):
        run_experience(strategy, setup.scenario.experiences[0])
    assert equal(joint.network.state_dict(), naive.network.state_dict())


def test_a_number_of_steps_counts_for_each_experience():
    setup = make_setup(tiny_scenario(), train=TrainConfig(iterations=7, batch_size=16))
    strategy = prepared("joint", setup)
    assert [strategy.phases(experience)[0].iterations for experience in setup.scenario.experiences] == [7, 14, 21]


def test_it_reads_only_what_has_been_met():
    setup = make_setup(tiny_scenario())
    strategy = prepared("joint", setup)
    assert strategy.phases(setup.scenario.experiences[1])[0].batches.examples.tasks.unique().tolist() == [0, 1]


@pytest.mark.parametrize("setting", ["task", "domain", "class"])
def test_trained_once_it_is_what_it_is_after_every_experience_and_answers_only_then(setting):
    setup = make_setup(tiny_scenario(setting))
    every, last = prepared("joint", setup), prepared("joint", setup, when="last")
    run_stream(every)
    *earlier, final = setup.scenario.experiences
    for experience in earlier:
        run_experience(last, experience)
        assert not last.answers(0)
    run_experience(last, final)
    assert last.answers(0)
    assert equal(every.state_dict(), last.state_dict())
