"""A user's own network: what the page on networks shows runs as it stands, and what cannot work is told in one line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from runs import simulate
from runs.building import Builder
from runs.plan import import_file, make_plan
from runs.showing.progress import Progress
from scenarios.errors import UserError
from scenarios.random import Randomness
from strategies.networks import build, networks
from strategies.networks.layout import channels_last
from strategies.networks.network import Network
from strategies.networks.own import component
from strategies.networks.unit import Unit
from tests.matrix.cells import QUICK, UNITS
from tests.strategies.driver import tiny_scenario

PAGE = Path(__file__).parents[2] / "docs" / "networks.md"
BLOCKS = [range(0, 2), range(2, 4)]


def own(make, shape=(1, 4, 4)):
    return component("mine", make).build(component("mine", make).Config(), shape, BLOCKS)


@pytest.fixture
def pages(tmp_path):
    """The page's files, written down and imported; what they register is forgotten afterwards."""
    rows, loaded = dict(networks.rows), dict(networks._loaded)
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        path = tmp_path / code.splitlines()[0].removeprefix("# ")
        path.write_text(code, encoding="utf-8")
        import_file(path)
    yield
    networks.rows, networks._loaded = rows, loaded


def test_the_page_on_networks_shows_what_runs(pages):
    for name, strategy in (("small", "lwf"), ("wide", "ewc"), ("in-units", "rescl"), ("in-units", "hnet-cnet")):
        result = simulate(scenario={"name": "tiny", "tasks": 3}, strategy=strategy, network=name, train={"iterations": 1})
        assert result.summary["network"] == name
    small = PAGE.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    assert len([line for line in small.splitlines() if line.strip()]) < 15
    wide = simulate(scenario={"name": "tiny", "tasks": 3}, strategy="naive", network={"name": "wide", "width": 3}, train={"iterations": 1})
    assert wide.strategy.network.num_features == 3
    with pytest.raises(UserError, match="network.width must be at least 1"):
        simulate(scenario={"name": "tiny", "tasks": 3}, strategy="naive", network={"name": "wide", "width": 0})


def test_the_page_on_networks_names_the_strategies_that_need_more_than_a_module():
    rows = dict(re.findall(r"^\| ([a-z+, -]+) \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    listed = {strategy: need for names, need in rows.items() for strategy in names.split(", ")}
    assert {strategy for strategy, need in listed.items() if "units*" in need} == set(UNITS)
    known = {"ewc", "ewc+replay", "online-ewc", "mas"}
    assert {strategy for strategy, need in listed.items() if need == "any module"} == set(QUICK) - set(UNITS) - known


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda shape: nn.Conv2d(1, 2, 3), "into a tensor of shape (2, 2, 2, 2), not into features [2, F]; end it with torch.nn.Flatten()"),
        (lambda shape: nn.Linear(5, 2), "network 'mine' fails on images of shape (1, 4, 4) (RuntimeError: mat1 and mat2"),
        (lambda shape: 3, "network 'mine' is to give a torch.nn.Module, not int"),
        (lambda: nn.Flatten(), "network 'mine' fails on images of shape (1, 4, 4) (TypeError:"),
    ],
)
def test_a_backbone_that_gives_no_features_is_refused_in_one_line(make, message):
    with pytest.raises(UserError) as refused:
        own(make)
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_norms_are_as_new_after_the_features_have_been_counted():
    network = own(lambda shape: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16, affine=False)))
    assert network.training and int(network.backbone[1].num_batches_tracked) == 0 and network.num_features == 16


def test_the_seed_alone_decides_an_own_networks_initialisation():
    first, again, other = (
        build("tiny-plain", networks.load("tiny-plain")[0].Config(), (1, 4, 4), BLOCKS, seed).state_dict() for seed in (0, 0, 1)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["backbone.convolution.weight"], other["backbone.convolution.weight"])


def test_a_name_that_is_taken_is_refused(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from strategies import register\nfrom strategies.naive import Naive\n@register('naive', 'mine')\nclass Mine(Naive):\n    pass\n"
    )
    with pytest.raises(UserError, match="there is a strategy 'naive' already .strategies.naive:Naive.; register yours under another name"):
        import_file(tmp_path / "mine.py")
    with pytest.raises(UserError, match="there is a network 'mlp' already"):
        networks.register("mlp", "mine")(lambda shape: nn.Flatten())


def frozen(*patterns, name="mlp", **options):
    made = networks.load(name)[0]
    return build(name, made.Config(freeze=patterns, **options), (1, 8, 8), BLOCKS, 0)


def test_patterns_freeze_what_they_name():
    names = {"backbone.1.layer.weight", "backbone.1.layer.bias", "backbone.3.layer.weight", "backbone.3.layer.bias"}
    heads = {f"head.blocks.{block}.{part}" for block in (0, 1) for part in ("weight", "bias")}
    for patterns, expected in (
        (("backbone",), names),
        (("backbone.1",), {name for name in names if ".1." in name}),
        (("*.bias",), {name for name in names | heads if name.endswith("bias")}),
        (("head", "backbone.3.layer.weight"), {*heads, "backbone.3.layer.weight"}),
    ):
        network = frozen(*patterns)
        assert {name for name, parameter in network.named_parameters() if not parameter.requires_grad} == expected
    for patterns, message in ((("backbon",), "the name of no parameter; they are called backbone.1"), (("*",), "nothing to be trained")):
        with pytest.raises(UserError, match=message):
            frozen(*patterns)
    with pytest.raises(UserError, match="nothing to be trained"):
        frozen("backbone", "head.blocks.1")


def test_frozen_norms_keep_their_statistics_in_training():
    network = frozen("backbone.0", name="conv", channels=(4, 4)).train()
    first, second = (network.backbone[place].norm for place in (0, 3))
    before = first.running_mean.clone(), second.running_mean.clone()
    network(torch.randn(8, 1, 8, 8))
    assert torch.equal(before[0], first.running_mean) and not torch.equal(before[1], second.running_mean)


def test_a_frozen_backbone_is_a_linear_classifier_on_its_features():
    plan = make_plan(
        {
            "scenario": {"name": "tiny", "tasks": 3},
            "strategy": {"name": "ewc", "strength": 3.0},
            "network": {"name": "mlp", "hidden": (8,), "freeze": ("backbone",)},
        },
        Progress(),
    )
    penalty = plan.strategy.penalty
    assert len(penalty.flat) == sum(parameter.numel() for parameter in plan.strategy.network.head.parameters())
    batch = plan.scenario.experiences[0].train.batch(slice(None))
    penalty.fisher.observe(batch.x, batch.y, plan.strategy.in_play(batch))
    features = plan.strategy.features(batch.x)
    p = plan.strategy.network.head.narrow(features, range(0, 2)).softmax(1)
    # d log p_c / d bias_k = [c = k] - p_k: its square's mean over c is p_k (1 - p_k)
    expected = (p * (1 - p)).mean(0)
    assert torch.allclose(penalty.fisher.mean()[16:18], expected, rtol=1e-5)


class Strided(Network):
    channels_last = True


@pytest.mark.parametrize(
    ("convolution", "expected"),
    [
        (nn.Conv2d(4, 8, 1, stride=2), False),
        (nn.Conv2d(8, 8, 1, stride=2), True),
        (nn.Conv2d(4, 8, 3, stride=2), True),
        (nn.Conv2d(4, 8, 1), True),
        (nn.Conv2d(16, 16, 1, stride=(1, 2), groups=4), False),
    ],
)
def test_a_network_that_would_corrupt_memory_channels_last_is_run_in_the_plain_layout_on_a_cpu(convolution, expected):
    network = Strided(nn.Sequential(Unit(convolution), nn.Flatten()), 8, BLOCKS)
    assert channels_last(network, torch.device("cpu")) is expected
    assert channels_last(network, torch.device("cuda"))
    network.channels_last = False
    assert not channels_last(network, torch.device("cuda"))


def test_the_first_network_is_the_one_that_showed_its_layout_and_all_are_alike():
    scenario = tiny_scenario(shape=(3, 8, 8))
    options = networks.load("conv")[0].Config(channels=(4,))
    builder = Builder("conv", options, scenario, Randomness(0), torch.device("cpu"))
    first, second = builder(), builder()
    assert first is not second and builder.channels_last
    for one, other in zip(first.parameters(), second.parameters()):
        assert torch.equal(one, other) and one.stride() == other.stride()
    assert first.backbone[0].layer.weight.is_contiguous(memory_format=torch.channels_last)
