"""ResCL as a learner: its limits, its objective, what it may read and what it may change, and resuming in every stage."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from runs.plan import make_plan
from runs.showing.progress import Progress
from runs.simulation import carry_out
from scenarios.experience import Examples
from strategies.distillation import branches
from strategies.distillation.branches import combinations
from strategies.networks.unit import units
from strategies.phase import TrainConfig
from strategies.soft_targets import distillation
from tests.runs.test_resume import interrupted, same_bits
from tests.strategies.driver import accuracy, equal, make_setup, prepared, run_experience, run_stream, tiny_scenario

TRAIN = TrainConfig(epochs=2, batch_size=16, learning_rate=0.02)
NETWORKS = [
    ("mlp", (1, 8, 8), {"hidden": (12, 8)}),
    ("mlp", (1, 8, 8), {"hidden": (12, 8), "norm": "batch"}),
    ("conv", (3, 16, 16), {"channels": (6, 8)}),
    ("preact-resnet18", (3, 16, 16), {"width": 4}),
]
CONV = NETWORKS[2]


def setup_for(network, train=TRAIN, dtype=torch.float32, **options):
    name, shape, network_options = network
    return make_setup(tiny_scenario("task", shape=shape, dtype=dtype, **options), name, train, options=network_options)


def in_stage(setup, phase, **options):
    """A strategy that has learned the first experience and stands at the start of a phase of the second; and the phase."""
    strategy = prepared("rescl", setup, **options)
    run_experience(strategy, setup.scenario.experiences[0])
    phases = strategy.phases(setup.scenario.experiences[1])
    names = [each.name for each in phases]
    if phase == "fine-tune":
        phases[0].begin()
    else:
        state = {}

        def keep(number, epoch):
            if number == names.index(phase) and epoch == 1:
                state.update(copy.deepcopy(strategy.state_dict()))

        run_experience(strategy, setup.scenario.experiences[1], at_boundary=keep)
        strategy.load_state_dict(state)
        phases = strategy.phases(setup.scenario.experiences[1])
    return strategy, phases[names.index(phase)]


@pytest.mark.parametrize("network", NETWORKS)
def test_at_alpha_minus_1_and_1_without_combining_steps_it_is_naive_with_new_optimisers(network, monkeypatch):
    monkeypatch.setattr(branches, "START", (-1.0, 1.0))
    setup = setup_for(network, train=replace(TRAIN, reset_optimizer=True, weight_decay=1e-3))
    rescl = prepared("rescl", setup, combine_iterations=0)
    naive = prepared("naive", setup)
    for strategy in (rescl, naive):
        run_stream(strategy, setup.scenario.experiences[:2])
    for experience in setup.scenario.experiences:
        x = experience.test.batch(slice(None)).x
        assert torch.allclose(rescl.logits(x), naive.logits(x), rtol=0, atol=1e-5)


def test_on_the_first_experience_it_is_naive_bit_for_bit():
    setup = setup_for(CONV)
    rescl, naive = (prepared(name, setup) for name in ("rescl", "naive"))
    for strategy in (rescl, naive):
        run_experience(strategy, setup.scenario.experiences[0])
    assert equal(rescl.network.state_dict(), naive.network.state_dict())


@pytest.mark.parametrize("network", NETWORKS[:3])
def test_it_acts_and_leaves_a_network_of_the_same_size(network):
    setup = setup_for(network)
    rescl, naive = (run_stream(prepared(name, setup)) for name in ("rescl", "naive"))
    sizes = [{name: tensor.shape for name, tensor in strategy.network.state_dict().items()} for strategy in (rescl, naive)]
    assert sizes[0] == sizes[1]
    assert not equal(rescl.network.state_dict(), naive.network.state_dict())
    assert rescl.source is None and rescl.target is None and not combinations(rescl.network)
    assert all(parameter.requires_grad for parameter in rescl.network.parameters())


def test_the_same_seed_gives_the_same_bits():
    first, again = (run_stream(prepared("rescl", setup_for(CONV))) for _ in range(2))
    assert equal(first.state_dict(), again.state_dict())


def test_the_stages_of_an_experience():
    setup = setup_for(CONV)
    strategy = prepared("rescl", setup, combine_epochs=5)
    first, second = setup.scenario.experiences[:2]
    assert [phase.name for phase in strategy.phases(first)] == ["train"]
    phases = strategy.phases(second)
    assert [phase.name for phase in phases] == ["fine-tune", "combine", "measure"]
    assert phases[1].epochs == 5 and not phases[2].updates and all(phase.fresh for phase in phases[:2])
    without_norms = prepared("rescl", setup_for(NETWORKS[0]))
    assert [phase.name for phase in without_norms.phases(second)] == ["fine-tune", "combine"]


def test_it_starts_from_half_of_each_with_the_old_heads_of_the_source_and_the_new_of_the_target():
    setup = setup_for(CONV)
    strategy = prepared("rescl", setup)
    run_experience(strategy, setup.scenario.experiences[0])
    source = copy.deepcopy(strategy.network)
    phases = strategy.phases(setup.scenario.experiences[1])
    phases[0].begin()
    with torch.no_grad():
        for parameter in strategy.network.parameters():
            parameter.add_(0.1)
    target = copy.deepcopy(strategy.network)
    phases[0].end()
    assert all(torch.equal(alpha.abs(), torch.full_like(alpha, 0.5)) for alpha in strategy.alphas())
    wanted = [source.head.blocks[0], target.head.blocks[1], source.head.blocks[2]]
    assert all(equal(block.state_dict(), other.state_dict()) for block, other in zip(strategy.network.head.blocks, wanted))
    for unit, old, new in zip(combinations(strategy.network), units(source).values(), units(target).values()):
        assert equal(unit.source.state_dict(), old.state_dict()) and equal(unit.target.state_dict(), new.state_dict())


@pytest.mark.parametrize("l1_step", ["proximal", "subgradient"])
def test_the_objective_is_both_divergences_and_the_decay_of_alpha(l1_step):
    setup = setup_for(CONV, dtype=torch.float64)
    strategy = prepared("rescl", setup, l1=0.01, l1_step=l1_step, temperature=3.0)
    run_stream(strategy, setup.scenario.experiences[:2])
    third = setup.scenario.experiences[2]
    phases = strategy.phases(third)
    phases[0].begin()
    with torch.no_grad():
        for parameter in strategy.network.parameters():
            parameter.mul_(1.1)
    phases[0].end()
    batch = third.train.batch(slice(0, 12))
    mixed, source, target = (network(batch.x) for network in (strategy.network, strategy.source, strategy.target))
    step = phases[1].updates[0].loss(batch)
    expected = sum(distillation(mixed[:, old], source[:, old], 3.0) for old in (slice(0, 2), slice(2, 4)))
    expected = expected + distillation(mixed[:, 4:6], target[:, 4:6], 3.0)
    if l1_step == "subgradient":
        expected = expected + 0.01 * sum(alpha.abs().sum() for alpha in strategy.alphas())
    assert torch.allclose(step.loss, expected, rtol=0, atol=1e-9)
    assert float(step.parts["source"]) > 0 and float(step.parts["target"]) > 0


def test_labels_have_no_part_in_combining():
    strategy, phase = in_stage(setup_for(CONV, dtype=torch.float64), "combine", target_bn="eval")
    batch = strategy.setup.scenario.experiences[1].train.batch(slice(0, 30))
    loss = phase.updates[0].loss
    assert torch.equal(loss(batch).loss, loss(batch._replace(y=batch.y.flip(0))).loss)


def test_without_fine_tuning_both_data_terms_start_at_0():
    setup = setup_for(CONV, dtype=torch.float64)
    strategy = prepared("rescl", setup)
    run_experience(strategy, setup.scenario.experiences[0])
    phases = strategy.phases(setup.scenario.experiences[1])
    phases[0].begin()
    phases[0].end()
    strategy.network.eval()
    parts = phases[1].updates[0].loss(setup.scenario.experiences[1].train.batch(slice(0, 12))).parts
    assert float(parts["source"]) < 1e-14 and float(parts["target"]) < 1e-14


def test_at_alpha_minus_1_and_1_the_target_term_is_0(monkeypatch):
    monkeypatch.setattr(branches, "START", (-1.0, 1.0))
    strategy, phase = in_stage(setup_for(CONV, dtype=torch.float64), "fine-tune")
    with torch.no_grad():
        for parameter in strategy.network.parameters():
            parameter.mul_(1.2)
    phase.end()
    strategy.network.eval()
    combining = strategy.phases(strategy.setup.scenario.experiences[1])[1]
    batch = strategy.setup.scenario.experiences[1].train.batch(slice(0, 12))
    assert float(combining.updates[0].loss(batch).parts["target"]) < 1e-14


def test_lwf_as_first_stage_adds_the_distance_from_the_source():
    strategy, phase = in_stage(setup_for(CONV, dtype=torch.float64), "fine-tune", stage1="lwf")
    batch = strategy.setup.scenario.experiences[1].train.batch(slice(0, 12))
    strategy.network.eval()
    at_start = phase.updates[0].loss(batch).loss
    assert torch.allclose(at_start, strategy.loss(batch).loss, rtol=0, atol=1e-12)
    with torch.no_grad():
        for parameter in strategy.network.parameters():
            parameter.mul_(1.2)
    distance = distillation(strategy.network(batch.x)[:, :2], strategy.source(batch.x)[:, :2], 2.0)
    assert torch.allclose(phase.updates[0].loss(batch).loss, strategy.loss(batch).loss + distance, rtol=0, atol=1e-12)
    assert float(distance.detach()) > 0


def test_combining_changes_neither_source_branch_nor_teachers_and_trains_all_else():
    setup = setup_for(CONV)
    strategy = prepared("rescl", setup)
    run_experience(strategy, setup.scenario.experiences[0])
    states = []

    def keep(number, epoch):
        if number == 1:
            states.append(copy.deepcopy(strategy.state_dict()))

    before = copy.deepcopy(strategy.network.state_dict())
    run_experience(strategy, setup.scenario.experiences[1], at_boundary=keep)
    first, last = states[0], states[-1]
    assert equal(first["source"], before) and equal(last["source"], before) and equal(first["target"], last["target"])
    for name, tensor in last["network"].items():
        if ".source." in name:
            assert torch.equal(tensor, before[name.replace(".source.", ".")])
        elif "num_batches" not in name and not name.startswith("head.blocks.2"):
            assert not torch.equal(tensor, first["network"][name]), name


def test_the_norms_of_the_source_branch_keep_their_statistics_while_those_of_the_target_branch_follow():
    strategy, phase = in_stage(setup_for(CONV), "combine")
    unit = combinations(strategy.network)[0]
    before = [unit.source.norm.running_mean.clone(), unit.target.norm.running_mean.clone()]
    strategy.train_mode()
    phase.updates[0].loss(strategy.setup.scenario.experiences[1].train.batch(slice(0, 12)))
    assert torch.equal(unit.source.norm.running_mean, before[0]) and not torch.equal(unit.target.norm.running_mean, before[1])


@pytest.mark.parametrize("heads, trained", [("all", [True, True, True]), ("new", [False, True, False]), ("none", [False, False, False])])
def test_the_switch_decides_which_heads_are_trained(heads, trained):
    strategy, phase = in_stage(setup_for(CONV), "combine", train_heads=heads)
    given = {id(parameter) for group in phase.updates[0].parameters() for parameter in group["params"]}
    assert [id(block.weight) in given for block in strategy.network.head.blocks] == trained
    assert all(parameter.requires_grad for parameter in branches.merge(strategy.network).parameters())


def test_only_the_target_branch_decays_and_all_of_alpha_is_trained():
    strategy, phase = in_stage(setup_for(CONV), "combine", weight_decay=0.3)
    branch, rest = phase.updates[0].parameters()
    assert branch["weight_decay"] == 0.3 and rest["weight_decay"] == 0
    targets = [parameter for unit in combinations(strategy.network) for parameter in unit.target.parameters()]
    assert [id(parameter) for parameter in branch["params"]] == [id(parameter) for parameter in targets]
    coefficients = sum(alpha.numel() for alpha in strategy.alphas())
    assert coefficients == 2 * sum(unit.source.out_channels for unit in combinations(strategy.network))
    heads = sum(parameter.numel() for parameter in strategy.network.head.parameters())
    assert sum(parameter.numel() for parameter in rest["params"]) == coefficients + heads


def test_the_proximal_step_shrinks_by_step_size_times_l1_and_stops_at_0():
    strategy, phase = in_stage(setup_for(CONV), "combine", l1=2.0)
    with torch.no_grad():
        for alpha in strategy.alphas():
            alpha.copy_(torch.linspace(-1, 1, len(alpha)))
    before = [alpha.clone() for alpha in strategy.alphas()]
    phase.updates[0].proximal(0.1)
    for alpha, old in zip(strategy.alphas(), before):
        assert torch.allclose(alpha, old.sign() * (old.abs() - 0.2).clamp(min=0), rtol=0, atol=1e-7)
    assert any((alpha == 0).any() for alpha in strategy.alphas())


@pytest.mark.parametrize("network", [NETWORKS[0], CONV])
def test_a_great_l1_gives_the_source_network_back(network):
    setup = setup_for(network)
    strategy = prepared("rescl", setup, l1=1e3, train_heads="new")
    run_experience(strategy, setup.scenario.experiences[0])
    x = setup.scenario.experiences[0].test.batch(slice(None)).x
    before = strategy.logits(x)[:, :2].detach()
    run_experience(strategy, setup.scenario.experiences[1])
    assert torch.allclose(strategy.logits(x)[:, :2].detach(), before, rtol=0, atol=1e-4)
    assert strategy.report()["combination"] == {"source": 1.0, "target": 0.0, "zeros": 1.0}


def test_more_l1_keeps_nearer_to_the_source_and_farther_from_the_target():
    setup = setup_for(CONV, train=replace(TRAIN, epochs=4), noise=60.0)
    distances = []
    for l1 in (0.0, 1.0, 100.0):
        strategy = prepared("rescl", setup, l1=l1)
        run_experience(strategy, setup.scenario.experiences[0])
        x = setup.scenario.experiences[1].train.batch(slice(None)).x
        source = strategy.features(x).detach()
        run_experience(strategy, setup.scenario.experiences[1])
        distances.append(float((strategy.features(x).detach() - source).norm()))
    assert distances[0] > distances[1] > distances[2]


class GuardedExamples(Examples):
    """Examples that may not be read."""

    def batch(self, positions, augment=None):
        raise AssertionError("examples of another experience were read")

    def select(self, positions):
        raise AssertionError("examples of another experience were read")


def test_no_data_of_other_experiences_are_read():
    setup = setup_for(CONV)
    strategy = prepared("rescl", setup)
    stream = setup.scenario.experiences

    def guarded(examples):
        return GuardedExamples(examples.storage, *(torch.full_like(rows, -1) for rows in (examples.rows, examples.targets, examples.tasks)))

    for experience in stream:
        others = [
            experience if other is experience else replace(other, train=guarded(other.train), test=guarded(other.test)) for other in stream
        ]
        strategy.setup = replace(setup, scenario=replace(setup.scenario, experiences=tuple(others)))
        run_experience(strategy, experience)


@pytest.mark.parametrize("network", [NETWORKS[0], CONV])
def test_resumed_at_any_boundary_it_goes_on_bit_for_bit(network):
    setup = setup_for(network, train=replace(TRAIN, momentum=0.0, augmentation="flip"))
    whole = prepared("rescl", setup)
    run_experience(whole, setup.scenario.experiences[0])
    saved = {}
    run_experience(
        whole,
        setup.scenario.experiences[1],
        at_boundary=lambda phase, epoch: saved.update({(phase, epoch): copy.deepcopy(whole.state_dict())}),
    )
    assert len(saved) >= 4
    for start, state in saved.items():
        resumed = prepared("rescl", setup)
        resumed.load_state_dict(state)
        assert equal(resumed.state_dict(), state)
        run_experience(resumed, setup.scenario.experiences[1], start=start)
        assert equal(resumed.state_dict(), whole.state_dict()), start


def test_it_answers_in_every_stage_and_the_double_branch_answers_as_its_merge():
    strategy, _ = in_stage(setup_for(CONV, dtype=torch.float64), "combine")
    x = strategy.setup.scenario.experiences[0].test.batch(slice(None)).x
    before = strategy.logits(x)
    strategy._merge()
    assert torch.allclose(strategy.logits(x), before, rtol=0, atol=1e-10)


def test_half_precision_is_learned_from():
    setup = setup_for(CONV, train=replace(TRAIN, precision="bf16"))
    strategy = run_stream(prepared("rescl", setup))
    assert all(torch.isfinite(parameter).all() and parameter.dtype == torch.float32 for parameter in strategy.network.parameters())


def test_the_newest_experience_is_learned_and_the_old_ones_are_kept():
    scenario = tiny_scenario("task", experiences=4, noise=60.0)
    setup = make_setup(scenario, train=TrainConfig(epochs=8, batch_size=16))
    strategy = run_stream(prepared("rescl", setup))
    assert min(accuracy(strategy, experience) for experience in scenario.experiences) > 0.85


def test_interrupted_by_the_user_within_each_stage_it_goes_on_bit_for_bit(tmp_path):
    asked = {
        "scenario": {"name": "split-digits", "tasks": 2},
        "strategy": {"name": "rescl"},
        "train": {"epochs": 2, "batch_size": 256, "optimizer": "sgd", "learning_rate": 0.05},
        "network": {"hidden": "16", "norm": "batch"},
    }
    carry_out(make_plan(asked, Progress()), tmp_path / "whole", resume=False, progress=Progress())
    for steps in (7, 11, 15):
        folder = tmp_path / str(steps)
        interrupted(asked, folder, steps)
        carry_out(make_plan(asked, Progress()), folder, resume=True, progress=Progress())
        same_bits(tmp_path / "whole", folder)
