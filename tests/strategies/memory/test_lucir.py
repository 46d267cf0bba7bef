"""LUCIR's loss, imprinting and margins by hand in float64, its limit, and that it acts."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from scenarios.random import Randomness
from strategies.memory.lucir import margins
from strategies.networks.cosine import CosineLinear, make_cosine
from strategies.phase import TrainConfig
from tests.strategies.driver import accuracy, equal, make_setup, prepared, run_experience, run_stream, tiny_scenario
from tests.strategies.memory.states import copied


def setup_for(epochs=2, dtype=torch.float64, **options):
    return make_setup(tiny_scenario("class", dtype=dtype, **options), train=TrainConfig(epochs=epochs, batch_size=16, momentum=0.0))


def cosine(first, second):
    return (first @ second) / (first.norm() * second.norm())


def weights_of(strategy):
    return torch.cat([block.weight for block in strategy.network.head.blocks])


def test_the_loss_is_that_of_equations_4_to_8():
    setup = setup_for()
    strategy = prepared("lucir", setup, memory=12, strength=3.0, margin=0.7, negatives=1)
    first, second = setup.scenario.experiences[:2]
    run_experience(strategy, first)
    phase = strategy.phases(second)[0]
    assert len(phase.batches.examples) == 48 + 12
    phase.begin()
    old = prepared("lucir", setup, memory=12).network
    old.load_state_dict(copied(strategy.network.state_dict()))
    with torch.no_grad():
        for parameter in strategy.network.parameters():
            parameter.add_(0.1 * torch.sin(torch.arange(parameter.numel()).view_as(parameter)))
    batch = next(iter(phase.batches.epoch(lambda purpose: setup.randomness.generator(purpose))))
    f, before, theta = strategy.network.features(batch.x), old.features(batch.x), weights_of(strategy)
    eta, remembered = strategy.eta, [row for row, label in enumerate(batch.y.tolist()) if label < 2]
    total, apart = 0.0, 0.0
    for row, label in enumerate(batch.y.tolist()):
        near = torch.stack([cosine(f[row], theta[c]) for c in range(4)])
        total = total - torch.log_softmax(eta * near, 0)[label] + 3.0 * math.sqrt(2 / 2) * (1 - cosine(f[row], before[row]))
        if row in remembered:
            apart = apart + (0.7 - near[label] + near[2:].max()).clamp_min(0)
    assert remembered
    step = phase.updates[0].loss(batch)
    assert torch.allclose(step.loss, total / len(batch.y) + apart / len(remembered), rtol=1e-10)
    assert set(step.parts) == {"cross-entropy", "less-forget", "margin"}
    strategy.network.zero_grad()
    step.loss.backward()
    moved = [block.weight.grad is not None for block in strategy.network.head.blocks]
    assert moved == [False, True, False], "old classes' weights are held, and those to come out of play"


def test_the_weight_of_less_forget_grows_with_the_root_of_old_over_new():
    setup = setup_for()
    strategy = run_stream(prepared("lucir", setup, memory=12), setup.scenario.experiences[:2])
    phase = strategy.phases(setup.scenario.experiences[2])[0]
    phase.begin()
    with torch.no_grad():
        next(strategy.network.parameters()).mul_(-1.0)
    batch = setup.scenario.experiences[2].train.batch(slice(None))
    step = phase.updates[0].loss(batch)
    rest = step.loss - step.parts["cross-entropy"] - step.parts["margin"]
    assert step.parts["less-forget"] > 0.01
    assert torch.allclose(rest, 5.0 * math.sqrt(4 / 2) * step.parts["less-forget"], rtol=1e-10)


def test_margins_by_hand():
    generator = Randomness(0).generator("nearness")
    nearness = 2 * torch.rand(20, 7, generator=generator, dtype=torch.float64) - 1
    y = torch.randint(7, (20,), generator=generator)
    for negatives in (1, 3, 9):
        terms = []
        for row, label in zip(nearness.tolist(), y.tolist()):
            rivals = sorted(row[3:], reverse=True)[:negatives]
            terms += [max(0.0, 0.4 - row[label] + rival) for rival in rivals] if label < 3 else []
        assert margins(nearness, y, 3, negatives, 0.4).item() == pytest.approx(sum(terms) / len(terms))
    assert margins(nearness, torch.full((20,), 5), 3, 2, 0.4).item() == 0.0
    assert margins(nearness, y.clamp_max(6), 7, 2, 0.4).item() == 0.0


def test_new_classes_begin_at_their_mean_direction():
    setup = setup_for()
    first, second = setup.scenario.experiences[:2]
    strategy = run_stream(prepared("lucir", setup, memory=12), [first])
    before = weights_of(strategy).clone()
    phase = strategy.phases(second)[0]
    phase.begin()
    after = weights_of(strategy)
    batch = second.train.batch(slice(None))
    f = strategy.features(batch.x)
    length = before[:2].norm(dim=1).mean()
    for label in (2, 3):
        mean = torch.stack([each / each.norm() for each in f[batch.y == label]]).mean(0)
        assert torch.allclose(after[label], length * mean / mean.norm(), rtol=1e-10)
    assert torch.equal(after[:2], before[:2]) and torch.equal(after[4:], before[4:])
    random = run_stream(prepared("lucir", setup, memory=12, imprint=False), [first])
    random.phases(second)[0].begin()
    assert torch.equal(weights_of(random), before)


def test_without_memory_and_weights_it_is_fine_tuning_of_a_classifier_by_cosines():
    setup = setup_for()
    first = setup.scenario.experiences[0]
    lucir = run_stream(prepared("lucir", setup, memory=0, scale=2.0), [first])
    naive = prepared("naive", setup)
    make_cosine(naive.network.head, 2.0)
    run_stream(naive, [first])
    assert equal(lucir.network.state_dict(), naive.network.state_dict())


def test_each_part_acts_and_exemplars_are_not_forgotten():
    setup = setup_for(dtype=torch.float32, noise=70.0, epochs=6)
    ends = {}
    for name, options in {"all": {}, "free": {"strength": 0.0}, "near": {"margin": 0.0}, "random": {"imprint": False}}.items():
        ends[name] = run_stream(prepared("lucir", setup, memory=24, **options))
    for name in ("free", "near", "random"):
        assert not equal(ends["all"].network.state_dict(), ends[name].network.state_dict())
    first = setup.scenario.experiences[0]
    naive = run_stream(prepared("naive", setup))
    assert accuracy(ends["all"], first) > 0.7 > accuracy(naive, first)
    assert ends["all"].report()["replay_memory"]["examples"] == 24


def test_blocks_share_one_scale_and_answer_alone_as_together():
    setup = setup_for()
    strategy = prepared("lucir", setup, scale=4.0)
    blocks = strategy.network.head.blocks
    assert all(isinstance(block, CosineLinear) and block.scale is strategy.eta for block in blocks)
    batch = setup.scenario.experiences[0].test.batch(slice(None))
    f = strategy.features(batch.x)
    wanted = 4.0 * functional.normalize(f) @ functional.normalize(weights_of(strategy)).T
    assert torch.allclose(strategy.logits(batch.x), wanted)
    assert torch.allclose(strategy.network.head.narrow(f, range(2, 4)), wanted[:, 2:4])


def test_resumed_between_passes_it_goes_on_bit_for_bit():
    setup = setup_for(epochs=3, dtype=torch.float32)
    whole, saved = prepared("lucir", setup, memory=12), {}
    first, second = setup.scenario.experiences[:2]
    run_experience(whole, first)
    run_experience(whole, second, at_boundary=lambda phase, epoch: saved.update({epoch: copied(whole.state_dict())}))
    resumed = prepared("lucir", setup, memory=12)
    resumed.load_state_dict(saved[1])
    run_experience(resumed, second, start=(0, 1))
    assert equal(whole.state_dict(), resumed.state_dict())
