"""Where boundaries are blurred, each example still looks at its own outputs; blocks of the head that no example needs stay untouched."""

from __future__ import annotations

import pytest
import torch

from runs import simulate
from runs.engine import Engine, Position
from runs.plan import make_plan
from runs.showing.progress import Progress
from scenarios.experience import concatenate
from strategies.networks.network import OUT_OF_PLAY, Head, Mixture, narrowed, renumbered
from strategies.phase import TrainConfig
from tests.strategies.driver import make_setup, prepared, tiny_scenario

SMALL = {"name": "mlp", "hidden": "8"}
QUICK = {"naive": {}, "replay": {"memory": 12}, "ewc": {"strength": 1.0}, "si": {}, "kfac": {"factor_batches": 1}}


@pytest.mark.parametrize("strategy", QUICK)
def test_a_head_that_no_example_needs_any_more_is_moved_by_neither_decay_nor_momentum(strategy):
    request = {
        "scenario": {"name": "tiny", "tasks": 6, "classes": 12, "blurry": 0.3},
        "strategy": {"name": strategy, **QUICK[strategy]},
        "network": SMALL,
        "train": {"epochs": 1, "batch_size": 8, "optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.1},
    }
    plan = make_plan(request, Progress())
    engine = Engine(plan.strategy, plan.train, plan.randomness, plan.device, Progress(), lambda position, boundary: None)
    blocks = plan.strategy.network.head.blocks
    kept = {}
    for experience in plan.scenario.experiences[:5]:
        before = blocks[0].weight.clone()
        engine.learn(experience, Position(experience.index))
        kept[experience.index] = blocks[0].weight.clone()
        present = experience.train.present if strategy != "replay" else (*experience.train.present, *plan.strategy.memory.tasks.tolist())
        assert torch.equal(before, kept[experience.index]) is (0 not in present)
    if strategy != "replay":
        assert torch.equal(kept[2], kept[4]) and not torch.equal(kept[1], kept[0])


def test_replay_whose_memory_has_forgotten_a_task_leaves_its_head_alone():
    setup = make_setup(tiny_scenario(experiences=4), train=TrainConfig(epochs=1, batch_size=16))
    strategy = prepared("replay", setup, memory=4)
    remembered = [setup.scenario.experiences[index].train.select(torch.arange(2)) for index in (0, 2)]
    strategy.buffer.remember(torch.arange(4), concatenate(remembered))
    phase = strategy.phases(setup.scenario.experiences[3])[0]
    batch = next(iter(phase.batches.epoch(lambda purpose: setup.randomness.generator(purpose))))
    strategy.loss(batch).loss.backward()
    assert [block.weight.grad is not None for block in strategy.network.head.blocks] == [True, False, True, True]


@pytest.mark.parametrize("present", [(0, 1), (1, 2), (0, 2), (2,)])
def test_a_mixture_of_tasks_is_each_examples_own_head(present):
    torch.manual_seed(0)
    head = Head(5, [range(0, 2), range(2, 5), range(5, 6)]).double()
    features, tasks = torch.randn(6, 5, dtype=torch.float64), torch.tensor(present * 6)[:6]
    y = torch.tensor([head.ranges[task].stop - 1 for task in tasks.tolist()])
    mask = torch.zeros(6, 6, dtype=torch.bool)
    for row, task in enumerate(tasks.tolist()):
        mask[row, head.ranges[task].start : head.ranges[task].stop] = True
    mixture = Mixture(mask, tuple(head.ranges[task] for task in present))
    logits = head(features, mixture)
    whole = head(features)
    assert torch.allclose(logits[mask], whole[mask], rtol=0, atol=1e-12)
    assert (logits[~mask] == OUT_OF_PLAY).all()
    short, columns = narrowed(logits, mixture), renumbered(y, mixture)
    assert short.shape[1] == sum(len(block) for block in mixture.blocks)
    assert torch.equal(short.gather(1, columns[:, None]), logits.gather(1, y[:, None]))


@pytest.mark.parametrize("estimator", ["exact", "empirical"])
def test_the_fisher_of_a_mixture_is_the_mean_of_each_tasks_own(estimator):
    setup = make_setup(tiny_scenario(dtype=torch.float64), "mlp", options={"hidden": (4,)})
    strategy = prepared("ewc", setup, fisher=estimator)
    first, second = (setup.scenario.experiences[index].train.select(torch.arange(5)) for index in (0, 2))
    fisher, sums = strategy.penalty.fisher, []
    for part in (first, second, concatenate([first, second])):
        fisher.reset()
        batch = part.batch(slice(None))
        fisher.observe(batch.x, batch.y, strategy.in_play(batch))
        sums.append(fisher.mean().clone())
    assert torch.allclose(sums[2], (sums[0] + sums[1]) / 2, rtol=1e-9, atol=1e-15)


def test_the_sensitivity_of_a_mixture_is_the_mean_of_each_tasks_own():
    setup = make_setup(tiny_scenario(dtype=torch.float64), "mlp", options={"hidden": (4,)})
    strategy = prepared("mas", setup)
    first, second = (setup.scenario.experiences[index].train.select(torch.arange(5)) for index in (0, 2))
    sums = []
    for part in (first, second, concatenate([first, second])):
        strategy.penalty._reset()
        strategy.penalty._observe(part.batch(slice(None)))
        sums.append(strategy.penalty._sum.flat.clone())
    assert torch.allclose(sums[2], sums[0] + sums[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("strategy", ["ewc", "online-ewc", "mas", "kfac", "xkfac"])
def test_penalties_measured_on_mixed_tasks_act(strategy):
    quick = {"factor_batches": 2} if "kfac" in strategy else {"strength": 50.0}
    common = {
        "scenario": {"name": "tiny", "blurry": 0.4, "tasks": 3},
        "network": SMALL,
        "train": {"epochs": 1, "batch_size": 8, "optimizer": "sgd"},
    }
    held = simulate(strategy={"name": strategy, **quick}, setting="class", **common).strategy.network
    free = simulate(strategy="naive", setting="class", **common).strategy.network
    assert not torch.equal(held.backbone[1].layer.weight, free.backbone[1].layer.weight)
