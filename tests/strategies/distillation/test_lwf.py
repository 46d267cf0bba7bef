"""LwF holds the network to its old answers on the new data; at strength 0 it is naive bit for bit."""

from __future__ import annotations

import copy

import pytest
import torch

from strategies.phase import TrainConfig
from strategies.soft_targets import distillation, frozen_copy
from tests.strategies.driver import equal, make_setup, prepared, run_experience, run_stream, tiny_scenario

SETTINGS = ["task", "domain", "class"]


def test_distillation_is_the_divergence_from_the_teacher_times_the_squared_temperature():
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    p, q = torch.softmax(teacher / 3, 1), torch.softmax(student / 3, 1)
    expected = sum(float(p[n, k] * torch.log(p[n, k] / q[n, k])) for n in range(5) for k in range(3)) / 5 * 9
    assert abs(float(distillation(student, teacher, 3.0)) - expected) < 1e-12


def test_distillation_widens_half_precision():
    half = torch.randn(4, 3).bfloat16()
    assert distillation(half, half + 1, 2.0).dtype == torch.float32


def test_a_frozen_copy_shares_nothing():
    setup = make_setup(tiny_scenario(shape=(3, 16, 16)), "conv")
    network = setup.build_network()
    teacher = frozen_copy(network)
    assert not any(module.training for module in teacher.modules()) and not any(p.requires_grad for p in teacher.parameters())
    mine = {tensor.data_ptr() for tensor in network.state_dict().values()}
    assert not mine & {tensor.data_ptr() for tensor in teacher.state_dict().values()}


@pytest.mark.parametrize("setting", SETTINGS)
def test_at_strength_0_it_is_naive_bit_for_bit(setting):
    setup = make_setup(tiny_scenario(setting, shape=(3, 16, 16)), "conv")
    lwf, naive = run_stream(prepared("lwf", setup, strength=0)), run_stream(prepared("naive", setup))
    assert equal(lwf.network.state_dict(), naive.network.state_dict())


@pytest.mark.parametrize("setting", SETTINGS)
def test_it_acts(setting):
    setup = make_setup(tiny_scenario(setting), train=TrainConfig(epochs=1, batch_size=16))
    lwf, naive = run_stream(prepared("lwf", setup)), run_stream(prepared("naive", setup))
    assert not equal(lwf.network.state_dict(), naive.network.state_dict())


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_loss_is_cross_entropy_plus_a_divergence_for_each_old_head(setting):
    setup = make_setup(tiny_scenario(setting, dtype=torch.float64))
    strategy = prepared("lwf", setup, strength=0.7)
    for experience in setup.scenario.experiences[:2]:
        run_experience(strategy, experience)
    third = setup.scenario.experiences[2]
    phase = strategy.phases(third)[0]
    phase.begin()
    old = copy.deepcopy(strategy.network).eval()
    with torch.no_grad():
        for parameter in strategy.network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())).double())
    batch = third.train.batch(slice(0, 10))
    logits, wanted = strategy.network(batch.x), old(batch.x)
    heads = {"task": [(0, 2), (2, 4)], "class": [(0, 4)], "domain": [(0, 2)]}[setting]
    play = {"task": (4, 6), "class": (0, 6), "domain": (0, 2)}[setting]
    expected = torch.nn.functional.cross_entropy(logits[:, slice(*play)], batch.y - play[0])
    for head in heads:
        expected = expected + 0.7 * distillation(logits[:, slice(*head)], wanted[:, slice(*head)], 2.0)
    step = phase.updates[0].loss(batch)
    assert torch.allclose(step.loss, expected, rtol=0, atol=1e-12) and float(step.parts["distillation"]) > 1e-6


def test_distillation_is_0_at_the_first_step():
    setup = make_setup(tiny_scenario(dtype=torch.float64))
    strategy = prepared("lwf", setup)
    run_experience(strategy, setup.scenario.experiences[0])
    phase = strategy.phases(setup.scenario.experiences[1])[0]
    phase.begin()
    assert float(phase.updates[0].loss(setup.scenario.experiences[1].train.batch(slice(0, 8))).parts["distillation"]) == 0


def test_a_great_strength_keeps_the_old_answers():
    scenario = tiny_scenario("domain", noise=20.0)
    setup = make_setup(scenario, train=TrainConfig(epochs=4, batch_size=16, learning_rate=0.002))
    drift = {}
    for strength in (0.0, 100.0):
        strategy = prepared("lwf", setup, strength=strength)
        run_experience(strategy, setup.scenario.experiences[0])
        x = setup.scenario.experiences[1].train.batch(slice(None)).x
        before = strategy.logits(x).detach()
        run_experience(strategy, setup.scenario.experiences[1])
        drift[strength] = float((strategy.logits(x).detach() - before).norm())
    assert drift[100.0] < 0.2 * drift[0.0]


def test_the_old_network_is_never_trained_and_is_dropped_at_the_end():
    setup = make_setup(tiny_scenario(shape=(3, 16, 16)), "conv")
    strategy = prepared("lwf", setup)
    run_experience(strategy, setup.scenario.experiences[0])
    before = copy.deepcopy(strategy.network.state_dict())
    teachers = []
    run_experience(strategy, setup.scenario.experiences[1], at_boundary=lambda phase, epoch: teachers.append(strategy.teacher.copy))
    assert equal(before, teachers[-1].state_dict())
    assert strategy.teacher.copy is None and strategy.state_dict()["teacher"] is None


def test_resumed_between_passes_it_goes_on_bit_for_bit():
    setup = make_setup(tiny_scenario(shape=(3, 16, 16)), "conv", TrainConfig(epochs=3, batch_size=16, momentum=0.0))
    whole = prepared("lwf", setup)
    run_experience(whole, setup.scenario.experiences[0])
    saved = {}
    run_experience(
        whole, setup.scenario.experiences[1], at_boundary=lambda phase, epoch: saved.update({epoch: copy.deepcopy(whole.state_dict())})
    )
    resumed = prepared("lwf", setup)
    resumed.load_state_dict(saved[1])
    run_experience(resumed, setup.scenario.experiences[1], start=(0, 1))
    assert equal(whole.state_dict(), resumed.state_dict())


def test_answers_on_old_data_drift_less_than_by_fine_tuning():
    setup = make_setup(tiny_scenario("task", experiences=2, noise=70.0), train=TrainConfig(epochs=6, batch_size=16))
    drift = {}
    for name in ("lwf", "naive"):
        strategy = prepared(name, setup)
        first, second = setup.scenario.experiences
        run_experience(strategy, first)
        x = first.test.batch(slice(None)).x
        before = strategy.logits(x)[:, :2].detach()
        run_stream(strategy, [second])
        drift[name] = float((strategy.logits(x)[:, :2].detach() - before).norm())
    assert drift["lwf"] < 0.8 * drift["naive"]
