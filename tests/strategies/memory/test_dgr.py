"""Deep Generative Replay: both losses by hand in float64, the first experience as naive, resumed bit for bit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from scenarios.errors import UserError
from strategies.phase import TrainConfig
from tests.strategies.driver import equal, make_setup, prepared, run_experience, run_stream, tiny_scenario
from tests.strategies.memory.states import copied

SMALL = {"latent": 3, "width": 8}


def setup_for(setting, dtype=torch.float32, momentum=0.0):
    return make_setup(tiny_scenario(setting, dtype=dtype), train=TrainConfig(epochs=2, batch_size=16, momentum=momentum))


@pytest.mark.parametrize("distill", [False, True])
@pytest.mark.parametrize("setting", ["task", "domain", "class"])
def test_solver_and_generator_learn_from_new_and_generated_images_by_their_shares(setting, distill):
    setup = setup_for(setting, torch.float64)
    strategy = run_stream(prepared("dgr", setup, batch_size=5, distill=distill, **SMALL), setup.scenario.experiences[:2])
    phase = strategy.phases(setup.scenario.experiences[2])[0]
    phase.begin()
    teacher, dreamer = strategy.teacher.copy, strategy.dreamer
    with torch.no_grad():
        for parameter in [*strategy.network.parameters(), *strategy.vae.parameters()]:
            parameter.mul_(1.2)
    batch = next(iter(phase.batches.epoch(lambda purpose: setup.randomness.generator(purpose))))
    solver, generator = (update.loss(batch).loss for update in phase.updates)

    drawn = torch.Generator().manual_seed(batch.origin.key)
    noise = torch.randn(5, 3, generator=drawn).double()
    images = dreamer.decoder(noise).sigmoid()
    storage = setup.scenario.experiences[0].train.storage
    x = images * 255 * storage.scale + storage.shift
    own = {"task": range(4, 6), "domain": range(0, 2), "class": range(0, 6)}[setting]
    heads = {"task": [(range(0, 2),) * 2, (range(2, 4),) * 2], "domain": [(range(0, 2),) * 2], "class": [(range(0, 4), range(0, 6))]}
    new = functional.cross_entropy(strategy.network(batch.x)[:, own.start : own.stop], batch.y - own.start)
    losses = []
    for old, now in heads[setting]:
        answers, wanted = strategy.network(x)[:, now.start : now.stop], teacher(x)[:, old.start : old.stop]
        if distill:
            p, log_p = (wanted / 2).softmax(1), (wanted / 2).log_softmax(1)
            losses.append(4 * (p * (log_p - (answers / 2).log_softmax(1)[:, : len(old)])).sum(1).mean())
        else:
            losses.append(functional.cross_entropy(answers, wanted.argmax(1)))
    assert torch.allclose(solver, new / 3 + 2 / 3 * sum(losses) / len(losses), rtol=1e-9)

    pictures = torch.cat([strategy.images(batch.x), images])
    mean, log_variance = strategy.vae.encoder(pictures).chunk(2, 1)
    codes = mean + (log_variance / 2).exp() * torch.randn(len(pictures), 3, generator=drawn).double()
    seen = strategy.vae.decoder(codes).sigmoid()
    bounds = -(pictures * seen.log() + (1 - pictures) * (1 - seen).log()).flatten(1).sum(1)
    bounds = bounds + 0.5 * (mean**2 + log_variance.exp() - log_variance - 1).sum(1)
    n = len(batch.x)
    assert torch.allclose(generator, bounds[:n].mean() / 3 + 2 / 3 * bounds[n:].mean(), rtol=1e-9)


@pytest.mark.parametrize("setting", ["task", "domain", "class"])
def test_the_first_experience_is_naive_bit_for_bit_and_it_goes_on_bit_for_bit(setting):
    setup = setup_for(setting)
    whole, naive = prepared("dgr", setup, **SMALL), prepared("naive", setup)
    first, second = setup.scenario.experiences[:2]
    optimizers = run_experience(whole, first)
    run_experience(naive, first)
    assert equal(whole.network.state_dict(), naive.network.state_dict())
    optimizers.pop("generator")
    saved = {}
    run_experience(whole, second, dict(optimizers), at_boundary=lambda phase, epoch: saved.update({epoch: copied(whole.state_dict())}))
    resumed = prepared("dgr", setup, **SMALL)
    resumed.load_state_dict(saved[1])
    phase = resumed.phases(second)[0]
    batches = list(phase.batches.epoch(lambda purpose: setup.randomness.generator(purpose, 1, 0, 1)))
    again = prepared("dgr", setup, **SMALL)
    again.load_state_dict(saved[1])
    for one, other in zip(phase.updates, again.phases(second)[0].updates):
        assert torch.equal(one.loss(batches[0]).loss, other.loss(batches[0]).loss)
    run_experience(naive, second)
    assert not equal(whole.network.state_dict(), naive.network.state_dict())


def test_images_come_back_from_the_networks_normalisation():
    setup = setup_for("class", torch.float64)
    strategy, train = prepared("dgr", setup, **SMALL), setup.scenario.experiences[0].train
    pixels = train.storage.images.images[train.rows[:4]].double() / 255
    assert torch.allclose(strategy.images(train.batch(slice(0, 4)).x), pixels, atol=1e-12)


def test_features_and_small_images_are_refused():
    scenario = tiny_scenario("class")
    with pytest.raises(UserError, match="dgr generates images, and these are features"):
        prepared("dgr", make_setup(replace(scenario, data={**scenario.data, "kind": "features"})))
    with pytest.raises(UserError, match="set strategy.generator=mlp"):
        prepared("dgr", make_setup(tiny_scenario("class", shape=(1, 3, 8))), generator="conv")
