"""Methods with a memory: their losses and gradients against values by hand in float64, without memory naive, resumed bit for bit."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch.nn import functional

from strategies.base import Strategy
from strategies.memory.rehearsal import divided
from strategies.phase import TrainConfig
from strategies.projection import nearest_allowed
from tests.strategies.driver import accuracy, equal, make_setup, prepared, run_experience, run_stream, tiny_scenario
from tests.strategies.memory.states import copied

METHODS = {
    "replay": {"batch_size": 5},
    "der": {"batch_size": 5},
    "der++": {"batch_size": 5},
    "mir": {"batch_size": 3, "candidates": 7},
    "agem": {"batch_size": 5},
    "gem": {},
}
CELLS = [*product(METHODS, ("task", "domain", "class")), ("er-ace", "class")]


def learned(name, setting, memory=20, **options):
    """A learner in float64 that has learned one experience, and a batch of the next."""
    setup = make_setup(tiny_scenario(setting, dtype=torch.float64), train=TrainConfig(epochs=2, batch_size=16))
    strategy = prepared(name, setup, memory=memory, **options)
    run_experience(strategy, setup.scenario.experiences[0])
    phase = strategy.phases(setup.scenario.experiences[1])[0]
    return strategy, phase, next(iter(phase.batches.epoch(lambda purpose: setup.randomness.generator(purpose))))


@pytest.mark.parametrize(("name", "setting"), CELLS)
def test_without_memory_it_is_naive_bit_for_bit(name, setting):
    setup = make_setup(tiny_scenario(setting, shape=(3, 16, 16)), "conv", TrainConfig(epochs=1, batch_size=16, augmentation="crop-flip"))
    ours, naive = run_stream(prepared(name, setup, memory=0)), run_stream(prepared("naive", setup))
    assert equal(ours.network.state_dict(), naive.network.state_dict())


@pytest.mark.parametrize(("name", "setting"), CELLS)
def test_it_acts_and_resumed_between_passes_it_goes_on_bit_for_bit(name, setting):
    setup = make_setup(tiny_scenario(setting), train=TrainConfig(epochs=3, batch_size=16, momentum=0.0))
    whole, saved = prepared(name, setup, memory=18, **METHODS.get(name, {})), {}
    first, second = setup.scenario.experiences[:2]
    run_experience(whole, first)
    run_experience(whole, second, at_boundary=lambda phase, epoch: saved.update({epoch: copied(whole.state_dict())}))
    resumed = prepared(name, setup, memory=18, **METHODS.get(name, {}))
    resumed.load_state_dict(saved[1])
    run_experience(resumed, second, start=(0, 1))
    assert equal(whole.state_dict(), resumed.state_dict())
    naive = run_stream(prepared("naive", setup), [first, second])
    # GEM and A-GEM have nothing to do where no gradient points against another.
    assert name in ("gem", "agem") or not equal(whole.network.state_dict(), naive.network.state_dict())


@pytest.mark.parametrize(("name", "least"), [("replay", 0.8), ("der++", 0.6), ("er-ace", 0.6), ("mir", 0.6), ("gem", 0.3)])
def test_it_keeps_the_first_experience_of_setting_class(name, least):
    setup = make_setup(tiny_scenario("class", noise=70.0), train=TrainConfig(epochs=12, batch_size=16))
    strategy = run_stream(prepared(name, setup, memory=40))
    assert accuracy(strategy, setup.scenario.experiences[0]) > least


@pytest.mark.parametrize("setting", ["task", "domain", "class"])
@pytest.mark.parametrize("name", ["der", "der++"])
def test_dark_experience_replay_is_equations_5_and_6(name, setting):
    strategy, phase, batch = learned(name, setting, alpha=0.7, batch_size=6)
    new, old = divided(batch, setting)
    network, slots, width = strategy.network, batch.origin.slots, strategy.setup.scenario.num_outputs
    blocks = {"task": range(2, 4), "domain": range(0, 2), "class": range(0, 6)}
    old_blocks = {**blocks, "task": range(0, 2)}

    def entropy(part, outputs):
        return functional.cross_entropy(network(part.x)[:, outputs.start : outputs.stop], part.y - outputs.start)

    kept = strategy.buffer.kept
    expected = entropy(new, blocks[setting])
    total = 0.0
    for number in range(6):
        place = int(slots[number])
        assert int(kept["targets"][place]) == int(old.y[number])
        answers = network(old.x[number : number + 1])[0]
        for output in old_blocks[setting]:
            total = total + (answers[output] - kept["logits"][place, output]) ** 2
    expected = expected + 0.7 * total / 6 / width
    if name == "der++":
        assert len(old.x) == 12
        expected = expected + 0.5 * entropy(old._replace(x=old.x[6:], y=old.y[6:]), old_blocks[setting])
    assert torch.allclose(phase.updates[0].loss(batch).loss, expected, rtol=1e-12)


def test_logits_are_remembered_as_they_were_before_the_step():
    setup = make_setup(tiny_scenario("class", dtype=torch.float64), train=TrainConfig(epochs=1, batch_size=48))
    strategy, answers = prepared("der", setup, memory=48), prepared("naive", setup).network
    experience = setup.scenario.experiences[0]
    run_experience(strategy, experience)
    kept = strategy.buffer.kept
    images = experience.train.select((kept["rows"][:, None] == experience.train.rows).long().argmax(1)).batch(slice(None))
    assert len(set(kept["rows"].tolist())) == 48 and torch.allclose(kept["logits"], answers(images.x), rtol=1e-12)


def test_er_ace_leaves_out_classes_that_are_not_in_the_new_batch():
    strategy, phase, batch = learned("er-ace", "class", batch_size=6)
    new, old = divided(batch, "class")
    x, y = new.x[:3], torch.full((3,), 2)
    origin = batch.origin._replace(new=3)
    own = batch._replace(x=torch.cat([x, old.x]), y=torch.cat([y, old.y]), tasks=torch.zeros(9), origin=origin)
    own = own._replace(origin=origin._replace(rows=origin.rows[:9]))
    logits = strategy.network(own.x)
    # one class alone is in the new batch: its loss is 0
    expected = functional.cross_entropy(logits[3:, :4], old.y)
    assert torch.allclose(phase.updates[0].loss(own).loss, expected, rtol=1e-12)


def gradient_of(strategy, batch):
    parameters = list(strategy.network.parameters())
    found = torch.autograd.grad(Strategy.loss(strategy, batch).loss, parameters, allow_unused=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(parameters, found)])


def stepped(strategy, phase, batch):
    strategy.network.zero_grad(set_to_none=True)
    update = phase.updates[0]
    update.loss(batch).loss.backward()
    update.after_backward()
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in strategy.network.parameters()])


@pytest.mark.parametrize("setting", ["task", "domain", "class"])
def test_agem_is_equation_11(setting):
    strategy, phase, batch = learned("agem", setting, batch_size=6)
    new, old = divided(batch, setting)
    g, m = gradient_of(strategy, new), gradient_of(strategy, old)
    for direction in (1.0, -1.0):
        # where the memory has the new examples with other answers, the gradients collide
        other = old if direction > 0 else new._replace(y=new.y.flip(0), present=old.present)
        joined = batch._replace(x=torch.cat([new.x, other.x]), y=torch.cat([new.y, other.y]), tasks=torch.cat([new.tasks, other.tasks]))
        m = gradient_of(strategy, divided(joined, setting)[1]) if setting != "task" else m
        if setting == "task" and direction < 0:
            continue
        expected = g - min(float(g @ m), 0.0) / float(m @ m) * m
        assert torch.allclose(stepped(strategy, phase, joined), expected, rtol=1e-9, atol=1e-12)


def test_gem_is_the_quadratic_programme():
    generator = torch.Generator().manual_seed(0)
    for size, margin in ((1, 0.0), (3, 0.0), (5, 0.0), (3, 0.5)):
        g, others = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((7,), (size, 7)))
        if (others @ g).min() >= 0:
            g = -g
        found = nearest_allowed(g, others, margin)
        wanted = minimize(
            lambda v, g=g, others=others: 0.5 * v @ (others @ others.T).numpy() @ v + (others @ g).numpy() @ v,
            np.full(size, margin + 0.1),
            bounds=[(margin, None)] * size,
            method="L-BFGS-B",
            options={"ftol": 1e-15, "gtol": 1e-12},
        )
        assert torch.allclose(found, g + torch.as_tensor(wanted.x) @ others, atol=1e-5)
        assert margin or float((others @ found).min()) > -1e-6
    assert nearest_allowed(g, g[None], margin=0.5) is g


def test_gem_allows_no_step_that_raises_a_memory():
    strategy, phase, batch = learned("gem", "class", memory=60, margin=0.0)
    memory = strategy.memories[0].batch(slice(None))
    m = gradient_of(strategy, memory._replace(present=batch.present, task=None))
    colliding = batch._replace(y=batch.y.flip(0))
    z = stepped(strategy, phase, colliding)
    g = gradient_of(strategy, colliding)
    expected = g - min(float(g @ m), 0.0) / float(m @ m) * m
    assert len(strategy.memories[0]) == 20 and torch.allclose(z, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("setting", ["task", "domain", "class"])
def test_mir_replays_what_the_step_to_come_interferes_with_most(setting):
    strategy, _, batch = learned("mir", setting, batch_size=4, candidates=11)
    new, old = divided(batch, setting)
    assert len(old.x) == 11
    network, rate = strategy.network, strategy.setup.train.learning_rate
    saved = copied(network.state_dict())
    outputs = {"task": range(0, 2), "domain": range(0, 2), "class": range(0, 4)}[setting]

    def losses():
        with torch.no_grad():
            logits = network(old.x)[:, outputs.start : outputs.stop]
            return functional.cross_entropy(logits, old.y - outputs.start, reduction="none")

    before = losses()
    network.zero_grad()
    Strategy.loss(strategy, new).loss.backward()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.grad is not None:
                parameter -= rate * parameter.grad
    scores = losses() - before
    network.load_state_dict(saved)
    assert torch.allclose(strategy.interference(new, old), scores, rtol=1e-9, atol=1e-12)
    step, _ = strategy.rehearse(batch)
    chosen = scores.topk(4).indices.sort().values
    assert torch.equal(step.targets[len(new.x) :], old.y[chosen])
