"""Every diagonal penalty: nothing at strength 0, something otherwise, its gradient that of its value, its state whole."""

from __future__ import annotations

import copy
import io

import pytest
import torch

from strategies.phase import TrainConfig
from tests.strategies.driver import equal, make_setup, prepared, run_experience, run_stream, tiny_scenario
from tests.strategies.penalties.watch import learn, penalty_gradient, shift, small

NAMES = ["ewc", "online-ewc", "si", "mas", "alasso"]
SETTINGS = ["task", "domain", "class"]
TRAIN = TrainConfig(epochs=2, batch_size=16, learning_rate=0.01, momentum=0.9, weight_decay=1e-3)
GENTLE = {"ewc": 1.0, "online-ewc": 1.0, "si": 0.1, "mas": 0.01, "alasso": 0.1}
pytestmark = pytest.mark.parametrize("name", NAMES)


@pytest.mark.parametrize("setting", SETTINGS)
def test_at_strength_0_it_is_naive_bit_for_bit(name, setting):
    setup = make_setup(tiny_scenario(setting, shape=(3, 8, 8)), "conv", TRAIN, options={"channels": (4, 6)})
    penalised, naive = run_stream(prepared(name, setup, strength=0)), run_stream(prepared("naive", setup))
    assert equal(penalised.network.state_dict(), naive.network.state_dict())


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_at_strength_0_it_is_naive_under_other_optimisers_too(name, optimizer):
    setup = make_setup(tiny_scenario(), train=TrainConfig(epochs=1, batch_size=16, optimizer=optimizer, learning_rate=1e-3))
    penalised, naive = run_stream(prepared(name, setup, strength=0)), run_stream(prepared("naive", setup))
    assert equal(penalised.network.state_dict(), naive.network.state_dict())


@pytest.mark.parametrize("setting", SETTINGS)
def test_it_acts_after_the_first_experience_and_not_before(name, setting):
    setup = make_setup(tiny_scenario(setting), train=TRAIN)
    penalised, naive = prepared(name, setup, strength=GENTLE[name]), prepared("naive", setup)
    optimizers = [run_experience(learner, setup.scenario.experiences[0]) for learner in (penalised, naive)]
    assert equal(penalised.network.state_dict(), naive.network.state_dict())
    assert float(penalised.penalty.value()) == 0
    shift(penalised, 0.05)
    assert float(penalised.penalty.value()) > 1e-6
    shift(naive, 0.05)
    for learner, kept in zip((penalised, naive), optimizers):
        run_experience(learner, setup.scenario.experiences[1], kept)
    assert not equal(penalised.network.state_dict(), naive.network.state_dict())


def test_a_great_strength_keeps_important_parameters_where_they_were(name):
    setup = make_setup(tiny_scenario("domain"), train=TrainConfig(epochs=15, batch_size=16, optimizer="adam", learning_rate=1e-3))
    moved, strength = [], 0.0
    for _ in range(2):
        learner = prepared(name, setup, strength=strength)
        optimizers = run_experience(learner, setup.scenario.experiences[0])
        importance = learner.penalty.importance.flat
        important = importance > importance.quantile(0.9)
        strength = 1e3 / float(importance[important].min())
        before = learner.penalty.flat.read()
        run_experience(learner, setup.scenario.experiences[1], optimizers)
        moved.append(float((learner.penalty.flat.read() - before)[important].abs().mean()))
    assert moved[1] < 0.3 * moved[0]


def test_the_added_gradient_is_the_gradient_of_the_value(name):
    strategy = small(name, strength=0.7)
    for experience in strategy.setup.scenario.experiences[:2]:
        learn(strategy, experience)
    shift(strategy)
    gradient = penalty_gradient(strategy)
    parameters = list(strategy.network.parameters())
    generator = torch.Generator().manual_seed(3)
    offset = 0
    with torch.no_grad():
        for parameter in parameters:
            place = int(torch.randint(parameter.numel(), (), generator=generator))
            kept, values = float(parameter.view(-1)[place]), []
            for step in (1e-5, -1e-5):
                parameter.view(-1)[place] = kept + step
                values.append(float(strategy.penalty.value()))
            parameter.view(-1)[place] = kept
            assert abs((values[0] - values[1]) / 2e-5 - float(gradient[offset + place])) < 1e-8 * (1 + abs(float(gradient[offset + place])))
            offset += parameter.numel()
    assert gradient.abs().max() > 1e-6


def test_blocks_out_of_play_get_no_gradient(name):
    strategy = small(name, "task")
    learn(strategy, strategy.setup.scenario.experiences[0])
    old = [parameter.clone() for parameter in strategy.network.head.blocks[0].parameters()]
    for parameter in strategy.network.parameters():
        parameter.grad = None
    batch = strategy.setup.scenario.experiences[1].train.batch(slice(0, 4))
    strategy.loss(batch).loss.backward()
    strategy.penalty.add_gradient_()
    assert all(parameter.grad is None for parameter in strategy.network.head.blocks[0].parameters())
    learn(strategy, strategy.setup.scenario.experiences[1])
    assert all(map(torch.equal, old, strategy.network.head.blocks[0].parameters()))


def test_measuring_leaves_weights_and_batch_norm_statistics_untouched(name):
    setup = make_setup(tiny_scenario(shape=(3, 8, 8)), "conv", TRAIN, options={"channels": (4, 6)})
    strategy = prepared(name, setup, strength=GENTLE[name])
    states = []
    phases = strategy.phases(setup.scenario.experiences[0])
    for phase in phases:
        if phase.begin:
            phase.begin()
        if phase.observe:
            states.append(copy.deepcopy(strategy.network.state_dict()))
            for batch in phase.batches.epoch(lambda purpose: torch.Generator().manual_seed(0)):
                phase.observe(batch)
            assert equal(states[-1], strategy.network.state_dict())
    assert bool(states) == (name in ("ewc", "online-ewc", "mas"))


@pytest.mark.parametrize("stop", [(0, 0, 1), (1, 0, 1), (2, 0, 1), (2, 0, 2)])
def test_a_run_resumed_inside_an_experience_ends_with_the_same_bits(name, stop):
    setup = make_setup(tiny_scenario("class", shape=(3, 8, 8)), "conv", TRAIN, options={"channels": (4, 6)})
    whole = prepared(name, setup, strength=GENTLE[name])
    saved = io.BytesIO()
    optimizers: dict = {}

    def save(experience, phase, epoch):
        if (experience, phase, epoch) == stop:
            torch.save({"strategy": whole.state_dict(), "optimizer": optimizers["network"][0].state_dict()}, saved)

    for experience in setup.scenario.experiences:
        run_experience(whole, experience, optimizers, at_boundary=lambda phase, epoch, index=experience.index: save(index, phase, epoch))
    saved.seek(0)
    state = torch.load(saved, weights_only=True)
    resumed = prepared(name, setup, strength=GENTLE[name])
    resumed.load_state_dict(state["strategy"])
    made = torch.optim.SGD(resumed.network.parameters(), lr=TRAIN.learning_rate, momentum=TRAIN.momentum, weight_decay=TRAIN.weight_decay)
    made.load_state_dict(state["optimizer"])
    kept = {"network": (made, [TRAIN.learning_rate])}
    for experience in setup.scenario.experiences[stop[0] :]:
        start = (stop[1], stop[2]) if experience.index == stop[0] else (0, 0)
        kept = run_experience(resumed, experience, kept, start)
    assert equal(whole.state_dict(), resumed.state_dict())


def test_the_report_says_what_the_strength_multiplies(name):
    assert "strength" in small(name).report()["penalty"]


def test_it_keeps_three_numbers_for_each_parameter_and_alasso_a_byte_more(name):
    strategy = small(name)
    learn(strategy, strategy.setup.scenario.experiences[0])

    def size(state):
        if isinstance(state, dict):
            return sum(map(size, state.values()))
        return state.numel() * state.element_size() if isinstance(state, torch.Tensor) and state.dim() else 0

    assert size(strategy.penalty.state_dict()) == len(strategy.penalty.flat) * (3 * 8 + (name == "alasso"))
