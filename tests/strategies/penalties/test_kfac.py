"""The penalty on the merged network: where it starts, what its gradient is, its limits, and what it may look at."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from scenarios.errors import UserError
from strategies.networks.norms import norms
from strategies.phase import TrainConfig
from tests.strategies.driver import equal, make_setup, prepared, run_experience, run_stream, tiny_scenario

BN = {"hidden": (6, 5), "norm": "batch"}
QUICK = {"factor_batches": 3, "input_tolerance": 0}
CONV = {"channels": (4, 6)}


def setup_for(setting="domain", network="mlp", options=None, dtype=torch.float64, shape=(1, 3, 3), **train):
    config = TrainConfig(**{"epochs": 2, "batch_size": 12, "learning_rate": 0.02, **train})
    return make_setup(tiny_scenario(setting, dtype=dtype, shape=shape), network, config, options=options or BN)


def after(experiences, name="kfac", setup=None, **options):
    """A strategy that has learned so many experiences."""
    setup = setup or setup_for()
    strategy = prepared(name, setup, **{**QUICK, **options})
    return run_stream(strategy, setup.scenario.experiences[:experiences])


def start(strategy, index):
    """Carry out what comes before the first training step of an experience; give the training phase."""
    for phase in strategy.phases(strategy.setup.scenario.experiences[index]):
        if phase.begin:
            phase.begin()
        if phase.updates:
            return phase
        for batch in phase.batches.epoch(lambda purpose: torch.Generator().manual_seed(0)):
            phase.observe(batch)
        phase.end()
    raise AssertionError


def perturb(network, size=0.1):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator).to(parameter.dtype))


def gradients(network):
    return {name: parameter.grad.clone() for name, parameter in network.named_parameters() if parameter.grad is not None}


def dense_quadratic(penalty):
    """The quadratic from dense blocks, with the graph through the merge."""
    total = 0.0
    for layer in penalty.layers:
        change = layer.parameters() - penalty.centre[layer.name]
        for each in penalty.terms[layer.name]:
            for block, part in zip(each.dense(), change):
                total = total + 0.5 * part.flatten() @ block @ part.flatten() / penalty.learned
    return total


@pytest.mark.parametrize("learned, expected", [(1, 1 / 2), (2, 2 / 3)])
def test_old_and_new_tasks_are_weighted_by_their_number(learned, expected):
    penalty = after(learned, scale="none").penalty
    assert penalty.importance == pytest.approx(expected)
    assert penalty.importance + penalty.task_weight(torch.zeros(())) == pytest.approx(1)


@pytest.mark.parametrize("name", ["kfac", "xkfac"])
@pytest.mark.parametrize("options, network", [(BN, "mlp"), (CONV, "conv")])
def test_the_penalty_and_its_gradient_start_at_0(name, options, network):
    setup = setup_for(network=network, options=options, shape=(1, 8, 8))
    strategy = after(1, name, setup, damping=0.3)
    phase = start(strategy, 1)
    strategy.train_mode()
    phase.updates[0].loss(setup.scenario.experiences[1].train.batch(slice(0, 12))).loss.backward()
    # The forward pass moved the running statistics: put them back to look at the penalty alone.
    start(strategy, 1)
    assert float(strategy.penalty.value()) == 0
    before = gradients(strategy.network)
    strategy.penalty.add_gradient_()
    assert equal(before, gradients(strategy.network))


def test_putting_norms_in_again_keeps_the_answers_and_gives_training_mode_the_same():
    strategy = after(1)
    x = strategy.setup.scenario.experiences[1].train.batch(slice(None)).x
    before = strategy.logits(x).detach()
    start(strategy, 1)
    assert torch.allclose(strategy.logits(x), before, rtol=0, atol=1e-12)
    assert torch.allclose(strategy.network.train()(x), before, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["kfac", "xkfac"])
@pytest.mark.parametrize("accumulate", ["list", "running"])
def test_the_gradient_is_that_of_the_dense_quadratic_through_the_merge(name, accumulate):
    strategy = after(2, name, scale="none", damping=0.01, accumulate=accumulate)
    phase, penalty = start(strategy, 2), strategy.penalty
    perturb(strategy.network)
    strategy.network.train()
    phase.updates[0].loss(strategy.setup.scenario.experiences[2].train.batch(slice(0, 12))).loss.backward()
    before = gradients(strategy.network)
    penalty.add_gradient_()
    if accumulate == "running":
        penalty.terms = {key: [terms[0]] for key, terms in penalty.terms.items()}
        quadratic = dense_quadratic(penalty) * penalty.learned
    else:
        quadratic = dense_quadratic(penalty)
    assert torch.allclose(penalty.value(), quadratic, rtol=1e-10) and float(quadratic.detach()) > 1e-4
    changes = [layer.parameters() - penalty.centre[layer.name] for layer in penalty.layers]
    total = 2 / 3 * quadratic + 0.005 * sum(change.square().sum() for change in changes)
    names, parameters = zip(*strategy.network.named_parameters())
    for key, wanted in zip(names, torch.autograd.grad(total, parameters)):
        found = gradients(strategy.network)[key] - before[key]
        assert torch.allclose(found, wanted, rtol=1e-9, atol=1e-11), key


def test_in_the_merged_space_the_hessian_is_the_curvature():
    strategy = after(2)
    start(strategy, 2)
    penalty = strategy.penalty
    layer = penalty.layers[0]
    v = torch.randn_like(layer.parameters())
    dense = sum(each.dense()[0] for each in penalty.terms[layer.name]) / 2
    assert torch.allclose(penalty.curvature(layer.name).product(v).flatten(), dense @ v.flatten(), rtol=1e-10)


def test_with_the_batchs_statistics_the_gradient_goes_through_them():
    strategy = after(1, merge_stats="batch", scale="none", damping=0.1)
    start(strategy, 1)
    penalty, batch = strategy.penalty, strategy.setup.scenario.experiences[1].train.batch(slice(0, 12))
    perturb(strategy.network)
    strategy.network.train()

    def total():
        with penalty.noting():
            task = nn.functional.cross_entropy(strategy.network(batch.x), batch.y)
        q = damping = 0.0
        for layer in penalty.layers:
            change = layer.parameters(penalty._noted.get(layer.name)) - penalty.centre[layer.name]
            q = q + 0.5 * change.flatten() @ penalty.terms[layer.name][0].dense()[0] @ change.flatten()
            damping = damping + 0.05 * change.square().sum()
        return 0.5 * task + 0.5 * q + damping

    parameters = list(strategy.network.parameters())
    wanted = torch.autograd.grad(total(), parameters)
    step = strategy.loss(batch)
    assert torch.allclose(step.loss, total(), rtol=1e-12)
    for found, expected in zip(torch.autograd.grad(step.loss, parameters), wanted):
        assert torch.allclose(found, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("merge_stats", ["running", "batch"])
def test_it_acts(merge_stats):
    setup = setup_for(epochs=4)
    strategy = after(2, setup=setup, merge_stats=merge_stats)
    perturb(strategy.network)
    assert float(strategy.penalty.value()) > 0
    naive = run_stream(prepared("naive", setup), setup.scenario.experiences[:2])
    x = setup.scenario.experiences[0].test.batch(slice(None)).x
    assert not torch.allclose(strategy.logits(x), naive.logits(x))


def test_the_first_task_is_learned_as_by_fine_tuning():
    setup, seen = setup_for(weight_decay=0.01), []
    strategy = prepared("kfac", setup, **QUICK)

    def note(phase, epoch):
        seen.append(copy.deepcopy(strategy.network.state_dict()))

    run_experience(strategy, setup.scenario.experiences[0], at_boundary=note)
    naive = run_stream(prepared("naive", setup), setup.scenario.experiences[:1])
    assert equal(seen[1], naive.network.state_dict())


def test_later_tasks_have_new_optimisers_and_no_weight_decay():
    strategy = after(1, setup=setup_for(weight_decay=0.5))
    phase = next(phase for phase in strategy.phases(strategy.setup.scenario.experiences[1]) if phase.updates)
    assert phase.fresh and phase.updates[0].optimizer.weight_decay == 0 and phase.updates[0].optimizer.momentum == 0.9


def test_without_curvature_damping_and_scales_it_is_fine_tuning_scaled_by_the_weight_of_the_new_task():
    setup = setup_for(momentum=0.0)
    strategy = after(1, setup=setup, damping=0, scale="none")
    for terms in strategy.penalty.terms.values():
        terms[0].left.zero_()
    phase = start(strategy, 1)
    strategy.network.zero_grad()
    plain = copy.deepcopy(strategy.network).train()
    batch = setup.scenario.experiences[1].train.batch(slice(0, 12))
    strategy.train_mode()
    phase.updates[0].loss(batch).loss.backward()
    strategy.penalty.add_gradient_()
    nn.functional.cross_entropy(plain(batch.x), batch.y).backward()
    for (_, found), (_, expected) in zip(strategy.network.named_parameters(), plain.named_parameters()):
        assert torch.allclose(found.grad, 0.5 * expected.grad, rtol=1e-12, atol=1e-14)


def test_great_damping_freezes_the_network():
    moved = {}
    for damping in (1e2, 1e4):
        # Steps that damping alone would not make unstable; the statistics are constants, so that nothing else moves the merged network.
        strategy = after(1, setup=setup_for(momentum=0.0), damping=damping, scale="none", bn="fixed")
        phase = start(strategy, 1)
        centre = {layer.name: layer.parameters().detach() for layer in strategy.penalty.layers}
        optimizer = torch.optim.SGD(strategy.network.parameters(), lr=0.05 / damping)
        strategy.train_mode()
        for _ in range(200):
            optimizer.zero_grad()
            phase.updates[0].loss(strategy.setup.scenario.experiences[1].train.batch(slice(0, 12))).loss.backward()
            strategy.penalty.add_gradient_()
            optimizer.step()
        moved[damping] = max(float((layer.parameters() - centre[layer.name]).detach().norm()) for layer in strategy.penalty.layers)
    assert moved[1e4] < 0.02 * moved[1e2] and moved[1e4] < 1e-3


@pytest.mark.parametrize("accumulate", ["list", "running"])
def test_tasks_that_are_all_the_same_give_the_penalty_of_one(accumulate):
    strategy = after(1, accumulate=accumulate)
    penalty = strategy.penalty
    perturb(strategy.network)
    one = penalty.value()
    measured = {name: terms[0] for name, terms in penalty.terms.items()}
    penalty.factors.curvature = lambda: measured
    penalty.factors.loss = lambda: torch.zeros(()).double()
    centre = dict(penalty.centre)
    for _ in range(3):
        penalty.after_experience()
    penalty.centre = centre
    assert penalty.learned == 4 and torch.allclose(penalty.value(), one, rtol=1e-10)
    assert all(len(terms) == (4 if accumulate == "list" else 1) for terms in penalty.terms.values())


def test_heads_of_their_own_are_not_penalised_and_shared_ones_are():
    def heads(strategy):
        return [name for name in strategy.penalty.terms if name.startswith("head.")]

    assert heads(after(2, setup=setup_for("task"))) == []
    assert heads(after(2, setup=setup_for("domain"))) == ["head.blocks.0"]
    classes = after(2, setup=setup_for("class"))
    assert heads(classes) == ["head.blocks.0", "head.blocks.1"]
    assert [len(classes.penalty.terms[name]) for name in heads(classes)] == [2, 1]


@pytest.mark.parametrize("setting", ["task", "domain", "class"])
@pytest.mark.parametrize("name", ["kfac", "xkfac"])
def test_it_works_in_every_setting(setting, name):
    strategy = after(3, name, setup_for(setting, "conv", CONV, torch.float32, (1, 8, 8)), accumulate="running")
    assert all(bool(torch.isfinite(tensor).all()) for tensor in strategy.network.state_dict().values())


def test_heads_out_of_play_are_left_alone():
    strategy = after(1, setup=setup_for("task"))
    before = copy.deepcopy(strategy.network.head.blocks[0].state_dict())
    run_experience(strategy, strategy.setup.scenario.experiences[1])
    assert equal(before, strategy.network.head.blocks[0].state_dict())


def test_fixed_norms_stay_in_evaluation_mode_after_the_first_task():
    strategy = after(1, bn="fixed")
    seen = []

    def note(phase, epoch):
        seen.append([(norm.running_mean.clone(), norm.training) for norm in norms(strategy.network).values()])

    at_start = [norm.running_mean.clone() for norm in norms(strategy.network).values()]
    run_experience(strategy, strategy.setup.scenario.experiences[1], at_boundary=note)
    for states in seen[:2]:
        assert all(torch.equal(mean, first) and not training for (mean, training), first in zip(states, at_start))


def test_every_phase_reads_the_new_task_alone():
    strategy = after(2)
    for phase in strategy.phases(strategy.setup.scenario.experiences[2]):
        assert phase.batches.examples.task == 2


@pytest.mark.parametrize("name", ["kfac", "xkfac"])
def test_resumed_anywhere_between_passes_it_goes_on_bit_for_bit(name):
    setup = setup_for(momentum=0.0)
    whole = after(1, name, setup)
    saved = {}
    second = setup.scenario.experiences[1]
    run_experience(whole, second, at_boundary=lambda phase, epoch: saved.update({(phase, epoch): copy.deepcopy(whole.state_dict())}))
    assert {phase for phase, _ in saved} == {0, 1, 2, 3}
    lengths = {phase: max(epoch for each, epoch in saved if each == phase) for phase, _ in saved}
    for (phase, epoch), state in saved.items():
        if epoch < lengths[phase]:
            resumed = prepared(name, setup, **QUICK)
            resumed.load_state_dict(state)
            run_experience(resumed, second, start=(phase, epoch))
            assert equal(resumed.state_dict(), whole.state_dict()), (phase, epoch)


def test_a_state_can_be_saved_between_experiences():
    setup = setup_for()
    whole = after(2, setup=setup)
    resumed = prepared("kfac", setup, **QUICK)
    resumed.load_state_dict(copy.deepcopy(whole.state_dict()))
    assert equal(resumed.state_dict(), whole.state_dict())
    for strategy in (whole, resumed):
        run_experience(strategy, setup.scenario.experiences[2])
    assert equal(resumed.state_dict(), whole.state_dict())


def test_norms_without_a_layer_before_them_are_refused_in_one_line():
    with pytest.raises(UserError, match="pre-activation"):
        prepared("kfac", make_setup(tiny_scenario(shape=(3, 8, 8)), "preact-resnet32"))


def test_the_base_loss_is_the_mean_of_the_tasks_final_losses():
    setup = setup_for()
    strategy, losses = prepared("kfac", setup, **QUICK), []
    loss = strategy.penalty.factors.loss
    strategy.penalty.factors.loss = lambda: losses.append(loss()) or losses[-1]
    run_stream(strategy)
    assert torch.allclose(strategy.penalty.scale.base, torch.stack(losses).mean(), rtol=1e-12) and len(losses) == 3
