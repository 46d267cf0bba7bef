"""iCaRL's loss and classifier by hand in float64, its limit LwF.MC, and GDumb's sampler and limit."""

from __future__ import annotations

import pytest
import torch

from scenarios.errors import UserError
from scenarios.random import Randomness
from strategies.memory.buffer import greedy
from strategies.phase import TrainConfig
from tests.strategies.driver import accuracy, equal, make_setup, prepared, run_experience, run_stream, tiny_scenario
from tests.strategies.memory.states import copied


def setup_for(epochs=2, dtype=torch.float64, **options):
    return make_setup(tiny_scenario("class", dtype=dtype, **options), train=TrainConfig(epochs=epochs, batch_size=16, momentum=0.0))


def test_the_loss_is_algorithm_3():
    setup = setup_for()
    strategy = prepared("icarl", setup, memory=12)
    run_experience(strategy, setup.scenario.experiences[0])
    old = copied(strategy.network.state_dict())
    phase = strategy.phases(setup.scenario.experiences[1])[0]
    assert len(phase.batches.examples) == 48 + 12
    phase.begin()
    with torch.no_grad():
        for parameter in strategy.network.parameters():
            parameter.mul_(1.1)
    batch = next(iter(phase.batches.epoch(lambda purpose: setup.randomness.generator(purpose))))
    before = prepared("icarl", setup).network
    before.load_state_dict(old)
    q, g = torch.sigmoid(before(batch.x)), torch.sigmoid(strategy.network(batch.x))
    total = 0.0
    for row, label in enumerate(batch.y.tolist()):
        for output in range(4):
            wanted = q[row, output] if output < 2 else float(output == label)
            total = total - wanted * g[row, output].log() - (1 - wanted) * (1 - g[row, output]).log()
    assert torch.allclose(phase.updates[0].loss(batch).loss, total / len(batch.y), rtol=1e-10)


def test_an_image_belongs_to_the_class_of_the_nearest_mean_of_exemplars():
    setup = setup_for()
    strategy = run_stream(prepared("icarl", setup, memory=13), setup.scenario.experiences[:2])
    memory = strategy.memory
    assert torch.bincount(memory.targets).tolist() == [4, 3, 3, 3]
    x = setup.scenario.experiences[1].test.batch(slice(None)).x
    phi, own = strategy.features(x), strategy.features(memory.batch(slice(None)).x)
    phi, own = phi / phi.norm(dim=1, keepdim=True), own / own.norm(dim=1, keepdim=True)
    means = torch.stack([own[memory.targets == label].mean(0) for label in range(4)])
    distances = torch.cdist(phi, means / means.norm(dim=1, keepdim=True)) ** 2
    logits = strategy.logits(x)
    assert torch.allclose(logits[:, :4], -distances, atol=1e-10) and (logits[:, 4:] < -1e8).all()
    assert [strategy.answers(task) for task in range(3)] == [True, True, False]


def test_without_memory_it_is_the_multiclass_form_of_lwf_bit_for_bit():
    setup = setup_for(dtype=torch.float32)
    ours, lwf = run_stream(prepared("icarl", setup, memory=0)), run_stream(prepared("lwf", setup, form="multiclass"))
    assert equal(ours.network.state_dict(), lwf.network.state_dict())
    x = setup.scenario.experiences[0].test.batch(slice(None)).x
    assert torch.equal(ours.logits(x), lwf.logits(x))


@pytest.mark.parametrize(("name", "options"), [("icarl", {"memory": 12}), ("lwf", {"form": "multiclass"})])
def test_resumed_between_passes_it_goes_on_bit_for_bit(name, options):
    setup = setup_for(epochs=3, dtype=torch.float32)
    whole, saved = prepared(name, setup, **options), {}
    first, second = setup.scenario.experiences[:2]
    run_experience(whole, first)
    run_experience(whole, second, at_boundary=lambda phase, epoch: saved.update({epoch: copied(whole.state_dict())}))
    resumed = prepared(name, setup, **options)
    resumed.load_state_dict(saved[1])
    run_experience(resumed, second, start=(0, 1))
    assert equal(whole.state_dict(), resumed.state_dict())


def test_it_remembers_by_means_what_the_network_alone_forgets():
    setup = make_setup(tiny_scenario("class", noise=70.0), train=TrainConfig(epochs=6, batch_size=16))
    icarl, lwf = run_stream(prepared("icarl", setup, memory=24)), run_stream(prepared("lwf", setup, form="multiclass"))
    first = setup.scenario.experiences[0]
    assert accuracy(icarl, first) > 0.8 and accuracy(icarl, first) >= accuracy(lwf, first)


@pytest.mark.parametrize(
    ("setting", "options", "message"),
    [("task", {}, "is for setting 'class'"), ("class", {"strength": 2.0}, "strategy.strength is read with strategy.form=softmax alone")],
)
def test_the_multiclass_form_is_refused_where_it_means_nothing(setting, options, message):
    with pytest.raises(UserError, match=message):
        prepared("lwf", make_setup(tiny_scenario(setting)), form="multiclass", **options)


def test_the_greedy_sampler_is_even_and_first_come_first_served():
    labels = [0] * 10 + [1] * 3 + [2] * 10
    kept, held = torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
    for start in range(0, len(labels), 5):
        new = torch.arange(start, min(start + 5, len(labels)))
        both = torch.cat([held, new])
        kept = greedy([labels[each] for each in both.tolist()], len(held), 9, Randomness(0).generator(start))
        held = both[kept]
    assert torch.bincount(torch.tensor(labels)[held]).tolist() == [3, 3, 3]
    # of class 2 the first three; those of class 0 were the first nine before they made room
    assert held[-3:].tolist() == [13, 14, 15] and set(held[:3].tolist()) < set(range(9))


@pytest.mark.parametrize("setting", ["task", "domain", "class"])
def test_gdumb_that_remembers_everything_is_joint_bit_for_bit(setting):
    setup = make_setup(tiny_scenario(setting), train=TrainConfig(epochs=2, batch_size=16))
    gdumb, joint = run_stream(prepared("gdumb", setup, memory=1000)), run_stream(prepared("joint", setup))
    assert equal(gdumb.network.state_dict(), joint.network.state_dict())
    assert gdumb.report() == {"replay_memory": {"examples": 144, "bytes": 144 * 64}}
    small = prepared("gdumb", setup, memory=12)
    assert torch.bincount(small.gathered(setup.scenario.experiences).rows // 24).tolist() == [2] * 6


def test_cumulative_training_goes_on_from_the_current_weights():
    setup = make_setup(tiny_scenario("class"), train=TrainConfig(epochs=1, batch_size=16))
    first = setup.scenario.experiences[0]
    cumulative, joint, naive = (run_stream(prepared(name, setup), [first]) for name in ("cumulative", "joint", "naive"))
    assert equal(cumulative.network.state_dict(), naive.network.state_dict())
    assert equal(joint.network.state_dict(), naive.network.state_dict())
    run_stream(cumulative), run_stream(joint)
    assert not equal(cumulative.network.state_dict(), joint.network.state_dict())
    with pytest.raises(UserError, match="strategy.start is read with strategy.when=every alone"):
        prepared("joint", setup, when="last", start="current")
