"""What a piggybacker does to the weights before he trains them."""

from __future__ import annotations

import copy

import pytest
import torch

from scenarios.errors import UserError
from scenarios.random import Randomness
from strategies.probes import piggybackers
from strategies.probes.piggyback import Piggyback, PiggybackConfig
from strategies.probes.probe import ProbeSetup
from strategies.probes.trial import Trial
from tests.strategies.driver import equal, make_setup, tiny_scenario


def network(kind="mlp", **options):
    return make_setup(tiny_scenario(), kind, options=options or {"hidden": (12, 8)}).build_network()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_fresh_head_leaves_the_released_network_alone_and_its_trunk_is_the_same():
    released = network()
    before = copy.deepcopy(released.state_dict())
    made = piggybackers.with_fresh_head(released, 4, generator())
    assert made.head.width == 4 and float(made.head.blocks[0].weight.detach().std()) == pytest.approx(0.01, rel=0.4)
    assert equal(made.backbone.state_dict(), released.backbone.state_dict())
    with torch.no_grad():
        next(made.parameters()).zero_()
    assert equal(released.state_dict(), before)


def test_reinitialising_changes_the_last_block_alone():
    made = network()
    before = copy.deepcopy(made.backbone.state_dict())
    piggybackers.reinitialise_last(made, generator())
    changed = {name for name, value in made.backbone.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"3.layer.weight", "3.layer.bias"}


def test_rescaling_undoes_shrunken_layers_and_keeps_what_is_computed_up_to_scale():
    made, x = network(), torch.randn(40, 1, 8, 8, generator=generator())
    wanted = made.features(x)
    with torch.no_grad():
        for parameter in list(made.backbone.parameters())[:2]:
            parameter.mul_(1e-3)
    shrunken = made.features(x)
    piggybackers.rescale(made, x)
    found = made.features(x)
    assert float(found.detach().std(0).mean()) > 100 * float(shrunken.detach().std(0).mean())
    assert torch.allclose(found / found.norm(), shrunken / shrunken.norm(), atol=1e-5)
    assert found.shape == wanted.shape


def test_batch_norms_take_the_statistics_of_the_piggybackers_images():
    made, x = network("conv", channels=(4, 5)), torch.randn(30, 1, 8, 8, generator=generator())
    piggybackers.rescale(made, x)
    layer, norm = made.backbone[0].layer, made.backbone[0].norm
    flowing = layer(x)
    assert torch.allclose(norm.running_mean, flowing.mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(norm.running_var, flowing.var((0, 2, 3), correction=0), rtol=1e-4)


def test_a_trial_warms_up_in_two_stretches():
    trial = Trial(
        network=network(), classes=2, examples=None, order=torch.zeros(10, 2), test=None, first=0, rates=((2, 0.1), (8, 1.0)), looks=(5, 10)
    )
    assert trial.boundaries() == [0, 2, 5, 10] and [trial.rate_after(steps) for steps in (0, 1, 2, 9)] == [0.1, 0.1, 1.0, 1.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"piggybackers": ("fresh-haed",)}, "unknown piggybacker 'fresh-haed' in probe.piggybackers; did you mean fresh-head"),
        ({"per_class": (25,)}, "a piggyback subset of 25 per class is larger than the smallest class, which has 24"),
        ({"on": (3,)}, "probe.on=3 is none of the 3 experiences; choose from 0 to 2"),
        ({"side": "validation"}, "experience 0 has no validation examples"),
        ({"rates": ()}, "needs one of each"),
        ({"piggybackers": ("retain-only",)}, "put fresh-head before it"),
    ],
)
def test_what_cannot_be_measured_is_one_line_before_anything_is_trained(options, message):
    probe = Piggyback(PiggybackConfig(**{"per_class": (5,), **options}))
    with pytest.raises(UserError, match=message):
        probe.prepare(ProbeSetup(tiny_scenario(), Randomness(0)))


def test_subsets_are_the_same_for_every_method_and_differ_by_seed():
    def digests(seed):
        probe = Piggyback(PiggybackConfig(per_class=(3, 5)))
        probe.prepare(ProbeSetup(tiny_scenario(), Randomness(seed)))
        return probe.facts()["stolen"][0]["subsets"]

    assert digests(0) == digests(0) and digests(0) != digests(1)
    assert len(set(digests(0)["3"])) == 3
