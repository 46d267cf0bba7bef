"""BiC: both losses by hand in float64, what is held out is even, the correction moves nothing else, resumed bit for bit."""

from __future__ import annotations

import torch
from torch.nn import functional

from strategies.phase import TrainConfig
from tests.strategies.driver import equal, make_setup, prepared, run_experience, run_stream, tiny_scenario
from tests.strategies.memory.states import copied


def setup_for(dtype=torch.float64):
    return make_setup(tiny_scenario("class", dtype=dtype), train=TrainConfig(epochs=2, batch_size=16, momentum=0.0))


def test_the_losses_are_equations_1_to_5():
    setup = setup_for()
    strategy = run_stream(prepared("bic", setup, memory=24, bias_iterations=5), setup.scenario.experiences[:2])
    assert (strategy.scale[2:4] != 1).all() and (strategy.scale[:2] == 1).all() and (strategy.shift[4:] == 0).all()
    train, bias = strategy.phases(setup.scenario.experiences[2])
    assert torch.bincount(bias.batches.examples.targets).tolist() == [1] * 6 and len(train.batches.examples) == 48 + 24 - 6
    train.begin()
    teacher = strategy.teacher.copy
    with torch.no_grad():
        for parameter in strategy.network.parameters():
            parameter.mul_(1.1)
    batch = next(iter(train.batches.epoch(lambda purpose: setup.randomness.generator(purpose))))
    own, old = (network(batch.x) * strategy.scale + strategy.shift for network in (strategy.network, teacher))
    p, log_p = (old[:, :4] / 2).softmax(1), (old[:, :4] / 2).log_softmax(1)
    distance = (p * (log_p - (own[:, :4] / 2).log_softmax(1))).sum(1).mean()
    expected = 4 / 6 * distance + 2 / 6 * functional.cross_entropy(own, batch.y)
    assert torch.allclose(train.updates[0].loss(batch).loss, expected, rtol=1e-9)

    batch = next(iter(bias.batches.epoch(lambda purpose: setup.randomness.generator(purpose))))
    with torch.no_grad():
        strategy.pair.copy_(torch.tensor([0.8, -0.3], dtype=torch.float64))
    own = strategy.network(batch.x) * strategy.scale + strategy.shift
    answers = torch.cat([own[:, :4], 0.8 * own[:, 4:] - 0.3], 1)
    found = bias.updates[0].loss(batch).loss
    assert torch.allclose(found, functional.cross_entropy(answers, batch.y), rtol=1e-9)
    strategy.network.zero_grad(set_to_none=True)
    found.backward()
    assert all(parameter.grad is None for parameter in strategy.network.parameters())
    bias.end()
    assert torch.allclose(strategy.logits(batch.x), answers, rtol=1e-9)


def test_resumed_between_passes_it_goes_on_bit_for_bit():
    setup = setup_for(torch.float32)
    whole, saved = prepared("bic", setup, memory=20, bias_iterations=3), {}
    first, second = setup.scenario.experiences[:2]
    run_experience(whole, first)
    run_experience(whole, second, at_boundary=lambda phase, epoch: saved.update({(phase, epoch): copied(whole.state_dict())}))
    resumed = prepared("bic", setup, memory=20, bias_iterations=3)
    resumed.load_state_dict(saved[0, 1])
    run_experience(resumed, second, start=(0, 1))
    assert equal(whole.state_dict(), resumed.state_dict())
