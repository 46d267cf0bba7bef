"""The stacked network: parts that do not overlap, that no optimiser of another task can move, and that do not hear of later tasks."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import nn
from torch.nn import functional

from scenarios.errors import UserError
from strategies.networks import build
from strategies.networks.network import Network
from strategies.networks.registry import networks
from strategies.networks.stacked import StackedNetwork
from strategies.networks.stacking import Plan, StackedLayer, StackedNorm
from strategies.networks.unit import Unit

BLOCKS = [range(0, 2), range(2, 4), range(4, 6)]
CASES = [
    ("mlp", {"hidden": (9, 12)}, (1, 6, 6)),
    ("mlp", {"hidden": (9, 12), "norm": "batch"}, (1, 6, 6)),
    ("mlp", {"hidden": ()}, (1, 6, 6)),
    ("conv", {"channels": (6, 7)}, (3, 8, 8)),
    ("conv", {"channels": (6, 7), "norm": "none"}, (3, 8, 8)),
    ("conv4", {"filters": 5}, (3, 16, 16)),
    ("resnet18", {"width": 4}, (3, 8, 8)),
    ("resnet32", {"width": 4}, (3, 8, 8)),
    ("resnet32", {"width": 5, "shortcut": "projection"}, (3, 8, 8)),
    ("preact-resnet18", {"width": 4}, (3, 8, 8)),
    ("preact-resnet32", {"width": 4}, (3, 8, 8)),
]
IDS = [f"{name}-{number}" for number, (name, _, _) in enumerate(CASES)]


def equal_shares(tasks: int) -> tuple[Fraction, ...]:
    return tuple(Fraction(task + 1, tasks) for task in range(tasks))


def full(name, options, shape, blocks):
    return build(name, networks.load(name)[0].Config(**options), shape, blocks, 0)


def stacked(case, columns=True, blocks=BLOCKS, shares=None):
    name, options, shape = case
    return StackedNetwork(full(name, options, shape, blocks), shape[0], blocks, Plan(shares or equal_shares(len(blocks)), columns)).double()


def images(case, count=6):
    return torch.randn(count, *case[2], dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def train(network, task, x, make, steps=3):
    optimizer = make(network.of_task(task))
    network.train()
    own = network.outputs[task]
    for _ in range(steps):
        optimizer.zero_grad()
        functional.cross_entropy(network(x, task), torch.arange(len(x)) % len(own) + own.start).backward()
        optimizer.step()
    network.eval()


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1),
    "adam": lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1),
}


@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_old_answers_and_everything_old_stay_the_same_bits(case, columns):
    network, x = stacked(case, columns), images(case)
    train(network, 0, x, OPTIMIZERS["sgd"])
    before = network(x, 0)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    train(network, 1, x, OPTIMIZERS["adam"])
    second = network(x, 1)
    train(network, 2, x, OPTIMIZERS["sgd"])
    assert torch.equal(network(x, 0), before) and torch.equal(network(x, 1), second)
    mine = {id(part) for task in (1, 2) for part in network.of_task(task)}
    buffers = {f"{name}.norms.{task}" for name, part in network.named_modules() if isinstance(part, StackedNorm) for task in (1, 2)}
    for name, value in network.state_dict(keep_vars=True).items():
        if id(value) not in mine and not any(name.startswith(prefix) for prefix in buffers):
            assert torch.equal(value, state[name]), name


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_no_optimiser_moves_what_is_frozen(kind):
    case = CASES[3]
    network, x = stacked(case), images(case)
    train(network, 0, x, OPTIMIZERS[kind])
    frozen = [(part, part.detach().clone()) for part in network.of_task(0)]
    train(network, 1, x, OPTIMIZERS[kind])
    assert all(torch.equal(part, value) and part.grad is not None for part, value in frozen)
    assert all(part.grad is None for part in network.of_task(2))


@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_later_tasks_parts_do_not_reach_earlier_answers(case, columns):
    network, x = stacked(case, columns).eval(), images(case)
    before = [network(x, task) for task in range(3)]
    for task in (2, 1):
        for part in network.of_task(task):
            part.data.fill_(torch.nan)
        for norm in (part for part in network.modules() if isinstance(part, StackedNorm)):
            norm.norms[task].running_mean.fill_(torch.nan)
        assert network(x, task).isnan().any()
        for earlier in range(task):
            assert torch.equal(network(x, earlier), before[earlier])


@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_parts_are_disjoint_and_make_up_the_active_block_and_count_as_the_formula_says(case, columns):
    network = stacked(case, columns)
    for layer in network.layers().values():
        assert isinstance(layer, StackedLayer)
        rows, inputs = layer.row_bounds, layer.input_bounds
        assert rows[0] == 0 and all(old < own for old, own in zip(rows, rows[1:])) and rows[-1] == layer.weight(2).shape[0]
        for task in range(3):
            weight = layer.weight(task)
            kernel = weight[0, 0].numel()
            assert weight.shape[:2] == (rows[task + 1], inputs[task + 1])
            trained = layer.rows[task].numel() + (layer.columns[str(task)].numel() if str(task) in layer.columns else 0)
            active = rows[task + 1] * inputs[task + 1] * kernel
            old = rows[task] * inputs[task] * kernel
            absent = 0 if columns else rows[task] * (inputs[task + 1] - inputs[task]) * kernel
            if task and inputs[1] == inputs[-1]:
                old, absent = rows[task] * inputs[-1] * kernel, 0
            assert trained == active - old - absent
    parts = [id(part) for task in range(3) for part in network.of_task(task)]
    assert len(parts) == len(set(parts)) and set(parts) == {id(part) for part in network.parameters()}


def test_weights_are_the_full_layers_up_to_the_scale_of_their_birth():
    case = CASES[3]
    whole = full(*case, BLOCKS).backbone[3].layer.weight.double()
    layer = list(stacked(case).layers().values())[1]
    bounds, inputs = layer.row_bounds, layer.input_bounds
    expected = torch.zeros_like(whole)
    for row in range(7):
        for column in range(6):
            born = next(task for task in range(3) if row < bounds[task + 1] and column < inputs[task + 1])
            expected[row, column] = whole[row, column] * (6 / inputs[born + 1]) ** 0.5
    torch.testing.assert_close(layer.weight(2).detach(), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("case", [case for case in CASES if case[1].get("hidden") != ()], ids=[i for i in IDS if i != "mlp-2"])
def test_without_columns_old_filters_answer_alike_for_all_later_tasks(case):
    network, x = stacked(case, columns=False), images(case)
    for task in range(3):
        train(network, task, x, OPTIMIZERS["sgd"])
    seen: dict[int, list[torch.Tensor]] = {}
    for task in range(3):
        outputs = seen.setdefault(task, [])
        layers = network.layers().values()
        hooks = [layer.register_forward_hook(lambda module, x, y, outputs=outputs: outputs.append(y)) for layer in layers]
        network(x, task)
        for hook in hooks:
            hook.remove()
    for layer, *outputs in zip(network.layers().values(), *(seen[task] for task in range(3))):
        for task in range(2):
            old = layer.row_bounds[task + 1]
            torch.testing.assert_close(outputs[task + 1][:, :old], outputs[task][:, :old], atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_one_task_with_all_filters_is_the_network_itself(case):
    name, options, shape = case
    plain, x = full(name, options, shape, [range(3)]), images(case).float()
    alone = StackedNetwork(full(name, options, shape, [range(3)]), shape[0], [range(3)], Plan(equal_shares(1), True))
    assert torch.equal(alone(x, 0), plain(x)) and torch.equal(alone.eval()(x, 0), plain.eval()(x))


def test_too_many_tasks_and_bad_shares_are_refused_before_training():
    with pytest.raises(UserError, match="nothing left for experience"):
        stacked(("mlp", {"hidden": (2,)}, (1, 6, 6)))
    with pytest.raises(UserError, match="nothing left for experience 2"):
        stacked(CASES[0], shares=(Fraction(1, 2), Fraction(1), Fraction(1)))


@pytest.mark.parametrize("wrapped", [0, 1])
def test_a_network_with_parameters_outside_of_units_is_refused(wrapped):
    layers = [nn.Linear(36, 9), nn.Linear(9, 9)]
    layers[:wrapped] = map(Unit, layers[:wrapped])
    with pytest.raises(UserError, match=rf"'{1 + wrapped}' \(Linear\) lies in none; wrap"):
        StackedNetwork(Network(nn.Sequential(nn.Flatten(), *layers), 9, BLOCKS), 1, BLOCKS, Plan(equal_shares(3), True))


@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_a_tasks_part_is_a_network_by_itself_that_answers_alike_and_shares_nothing(case, columns):
    network, x = stacked(case, columns), images(case)
    for task in (0, 1):
        train(network, task, x, lambda parameters: torch.optim.SGD(parameters, lr=0.1))
    network.eval()
    for task, own in enumerate(BLOCKS):
        part = network.part(task).eval()
        assert isinstance(part, Network) and part.head.ranges == (own,) and all(each.requires_grad for each in part.parameters())
        with torch.no_grad():
            assert torch.allclose(part.features(x), network.features(x, task), atol=1e-12)
            assert torch.allclose(part.head.narrow(part.features(x), own), network(x, task)[:, own.start : own.stop], atol=1e-12)
    before = [parameter.clone() for parameter in network.parameters()]
    with torch.no_grad():
        for parameter in network.part(None).parameters():
            parameter.zero_()
    assert all(torch.equal(one, other) for one, other in zip(before, network.parameters()))
