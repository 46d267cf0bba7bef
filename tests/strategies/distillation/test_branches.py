"""The combination of units, its special points, its gradients, and the merge, against two branches written out."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from strategies.distillation.branches import Combination, combinations, combine, merge
from strategies.networks import build, networks
from strategies.networks.norms import Moments, affine, norms, standardise_by
from strategies.networks.unit import Unit, replace_units, units

DOUBLE = torch.float64
NETWORKS = [
    ("mlp", {"hidden": (7, 6), "norm": "none"}),
    ("mlp", {"hidden": (7, 6), "norm": "batch"}),
    ("conv", {"channels": (4, 6), "norm": "none"}),
    ("conv", {"channels": (4, 6), "norm": "batch"}),
    ("resnet18", {"width": 4}),
    ("resnet32", {"width": 4, "shortcut": "projection"}),
    ("preact-resnet18", {"width": 4}),
]
UNITS = {
    "linear": lambda: Unit(nn.Linear(6, 4)),
    "linear without bias": lambda: Unit(nn.Linear(6, 4, bias=False)),
    "linear, norm": lambda: Unit(nn.Linear(6, 4), nn.BatchNorm1d(4)),
    "norm of vectors": lambda: Unit(None, nn.BatchNorm1d(6)),
    "conv": lambda: Unit(nn.Conv2d(6, 4, 3, padding=1)),
    "strided conv in groups, norm": lambda: Unit(nn.Conv2d(6, 4, 3, stride=2, padding=1, groups=2, bias=False), nn.BatchNorm2d(4)),
    "conv with bias, norm": lambda: Unit(nn.Conv2d(6, 4, 3), nn.BatchNorm2d(4)),
    "projection": lambda: Unit(nn.Conv2d(6, 4, 1, stride=2, bias=False), nn.BatchNorm2d(4)),
    "bare projection": lambda: Unit(nn.Conv2d(6, 4, 1, stride=2, bias=False)),
    "dilated conv": lambda: Unit(nn.Conv2d(6, 4, 3, padding=2, dilation=2)),
    "norm of images": lambda: Unit(None, nn.BatchNorm2d(6)),
}


def scramble(module, seed, dtype=DOUBLE):
    """Random weights, random statistics, and gammas of both signs."""
    generator = torch.Generator().manual_seed(seed)
    module.to(dtype)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=DOUBLE) / max(1, parameter[0].numel()) ** 0.5)
        for norm in norms(module).values():
            norm.running_mean.copy_(torch.randn(norm.num_features, generator=generator, dtype=DOUBLE))
            norm.running_var.copy_(torch.rand(norm.num_features, generator=generator, dtype=DOUBLE) + 0.2)
    return module


def input_for(unit, batch=5, seed=9, dtype=DOUBLE):
    vectors = isinstance(unit.layer, nn.Linear) or isinstance(unit.norm, nn.BatchNorm1d)
    return torch.randn(batch, 6, *(() if vectors else (6, 6)), generator=torch.Generator().manual_seed(seed), dtype=dtype)


def set_alpha(double, source, target):
    for unit in combinations(double):
        with torch.no_grad():
            unit.alpha_source.fill_(source)
            unit.alpha_target.fill_(target)
    return double


def random_alpha(double, seed=4):
    generator = torch.Generator().manual_seed(seed)
    for unit in combinations(double):
        with torch.no_grad():
            for alpha in (unit.alpha_source, unit.alpha_target):
                alpha.copy_(torch.randn(alpha.shape, generator=generator, dtype=DOUBLE))
    return double


def pair(name, options, dtype=DOUBLE):
    component, _ = networks.load(name)
    config = component.Config(**options)
    made = [build(name, config, (3, 16, 16), (range(0, 2), range(2, 5)), seed) for seed in (0, 1)]
    return [scramble(network, seed, dtype) for seed, network in enumerate(made)]


def images(batch=6, dtype=DOUBLE):
    return torch.randn(batch, 3, 16, 16, generator=torch.Generator().manual_seed(3), dtype=dtype)


@pytest.mark.parametrize("kind", UNITS)
def test_a_combination_mixes_both_branches_channel_by_channel(kind):
    source, target = (scramble(UNITS[kind](), seed).eval() for seed in (0, 1))
    both = random_alpha(Combination(source, target, "train")).eval()
    x = input_for(source)
    shape = (-1, *[1] * (x.dim() - 2))
    expected = (1 + both.alpha_source).view(shape) * source(x) + both.alpha_target.view(shape) * target(x)
    assert torch.allclose(both(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", [kind for kind in UNITS if "norm" in kind])
def test_in_training_the_target_branch_normalises_by_the_batch_and_the_source_branch_never(kind):
    source, target = (scramble(UNITS[kind](), seed) for seed in (0, 1))
    both = random_alpha(Combination(source, target, "train")).train()
    x = input_for(source)
    shape = (-1, *[1] * (x.dim() - 2))
    expected = (1 + both.alpha_source).view(shape) * source.eval()(x) + both.alpha_target.view(shape) * target.train()(x)
    assert torch.allclose(both(x), expected, rtol=0, atol=1e-12)
    assert torch.equal(both.target.norm.running_mean, target.norm.running_mean)
    assert torch.equal(both.target.norm.running_var, target.norm.running_var)
    assert torch.equal(both.source.norm.running_mean, source.norm.running_mean)
    still = Combination(source, target, "eval").train()
    before = still.target.norm.running_mean.clone()
    still(x)
    assert torch.equal(before, still.target.norm.running_mean)


@pytest.mark.parametrize("name, options", NETWORKS)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_at_alpha_0_the_combination_is_the_source_network(name, options, mode):
    source, target = pair(name, options)
    double = set_alpha(combine(source, target, "train"), 0.0, 0.0).train(mode == "train")
    assert torch.allclose(double(images()), source.eval()(images()), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name, options", NETWORKS)
def test_at_alpha_minus_1_and_1_the_combination_has_the_target_networks_features(name, options):
    source, target = pair(name, options)
    double = set_alpha(combine(source, target, "train"), -1.0, 1.0).eval()
    assert torch.allclose(double.features(images()), target.eval().features(images()), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name, options", NETWORKS)
@pytest.mark.parametrize("share", [0.5, 0.1, 2.0])
def test_of_equal_branches_any_mix_with_opposite_alphas_is_the_source_network(name, options, share):
    source, _ = pair(name, options)
    double = set_alpha(combine(source, source, "train"), -share, share).eval()
    assert torch.allclose(double(images()), source.eval()(images()), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name, options", NETWORKS)
def test_coefficients_start_at_the_mean_and_have_one_entry_for_each_channel(name, options):
    source, target = pair(name, options)
    double = combine(source, target, "train")
    for unit, mixed in zip(units(source).values(), combinations(double)):
        assert torch.equal(mixed.alpha_source, torch.full((unit.out_channels,), -0.5, dtype=DOUBLE))
        assert torch.equal(mixed.alpha_target, torch.full((unit.out_channels,), 0.5, dtype=DOUBLE))
    assert len(combinations(double)) == len(units(source))


@pytest.mark.parametrize("name, options", NETWORKS)
def test_merging_changes_nothing_in_evaluation_mode(name, options):
    source, target = pair(name, options)
    double = random_alpha(combine(source, target, "train")).eval()
    single = merge(double).eval()
    expected, merged = double(images()).detach(), single(images()).detach()
    assert float((merged - expected).abs().max()) < 1e-10 * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("name, options", NETWORKS)
def test_merging_changes_little_in_single_precision(name, options):
    source, target = pair(name, options, torch.float32)
    double = random_alpha(combine(source, target, "train")).eval()
    x = images(dtype=torch.float32)
    expected, merged = double.features(x).detach(), merge(double).eval().features(x).detach()
    assert float((merged - expected).abs().max()) < 1e-4 * float(expected.abs().max())


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(UNITS)), st.integers(0, 10_000))
def test_merging_any_unit_with_any_statistics_changes_nothing(kind, seed):
    source, target = (scramble(UNITS[kind](), seed + number) for number in (0, 1))
    both = random_alpha(Combination(source, target, "train"), seed).eval()
    x = input_for(source, seed=seed)
    assert torch.allclose(both.merged().eval()(x), both(x), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name, options", NETWORKS)
def test_the_merged_network_has_the_sources_tensors_and_is_trainable(name, options):
    source, target = pair(name, options)
    single = merge(combine(source, target, "train"))
    kinds = [{name: tensor.shape for name, tensor in network.state_dict().items()} for network in (source, single)]
    assert kinds[0] == kinds[1]
    assert all(parameter.requires_grad for parameter in single.parameters())


def test_combining_and_merging_leave_the_networks_alone_and_share_nothing_with_them():
    source, target = pair("preact-resnet18", {"width": 4})
    before = [copy.deepcopy(network.state_dict()) for network in (source, target)]
    double = combine(source, target, "train").train()
    merged = merge(double)
    double(images()).sum().backward()
    for network, state in zip((source, target), before):
        assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    mine = [{tensor.data_ptr() for tensor in network.state_dict().values()} for network in (source, target, double, merged)]
    assert len(set.union(*mine)) == sum(map(len, mine))


@pytest.mark.parametrize("name, options", NETWORKS)
def test_gradients_reach_alphas_and_the_target_branch_but_not_the_source_branch(name, options):
    source, target = pair(name, options)
    double = combine(source, target, "train").train()
    double(images()).square().sum().backward()
    for unit in combinations(double):
        trained = [unit.alpha_source, unit.alpha_target, *unit.target.parameters()]
        assert all(parameter.grad is not None for parameter in trained)
        assert all(parameter.grad is None and not parameter.requires_grad for parameter in unit.source.parameters())


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("kind", UNITS)
def test_the_gradient_of_alpha_is_the_sum_of_delta_times_the_branchs_output(kind, mode):
    source, target = (scramble(UNITS[kind](), seed) for seed in (0, 1))
    both = random_alpha(Combination(source, target, "train")).train(mode == "train")
    x = input_for(source)
    y = both(x)
    delta = torch.randn(y.shape, generator=torch.Generator().manual_seed(8), dtype=DOUBLE)
    (y * delta).sum().backward()
    axes = [0, *range(2, y.dim())]
    assert torch.allclose(both.alpha_source.grad, (delta * source.eval()(x)).sum(axes), rtol=0, atol=1e-11)
    assert torch.allclose(both.alpha_target.grad, (delta * target.train(mode == "train")(x)).sum(axes), rtol=0, atol=1e-11)


@pytest.mark.parametrize("name, options", [("conv", {"channels": (3, 4)}), ("preact-resnet18", {"width": 2}), ("mlp", {"hidden": (4,)})])
def test_the_gradient_of_alpha_agrees_with_finite_differences_through_a_network(name, options):
    source, target = pair(name, options)
    double = combine(source, target, "train").train()
    x = images(4)

    def value():
        return double(x).square().mean()

    value().backward()
    for unit in combinations(double)[::3]:
        for alpha in (unit.alpha_source, unit.alpha_target):
            with torch.no_grad():
                kept = alpha[0].clone()
                ends = []
                for step in (1e-6, -1e-6):
                    alpha[0] = kept + step
                    ends.append(float(value()))
                alpha[0] = kept
            difference = (ends[0] - ends[1]) / 2e-6
            assert abs(difference - float(alpha.grad[0])) < 1e-5 * max(1.0, abs(difference))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_a_norm_expressed_by_other_statistics_is_the_same_map(seed):
    norm = scramble(nn.BatchNorm1d(5), seed).eval()
    x = torch.randn(7, 5, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)
    expected, (scale, shift) = norm(x), affine(norm)
    assert torch.allclose(expected, scale * x + shift, rtol=1e-12, atol=1e-12)
    standardise_by(norm, x.mean(0) + 1, x.var(0) + 3)
    assert torch.allclose(norm(x), expected, rtol=1e-11, atol=1e-11)


def test_a_dead_channel_survives_being_expressed_by_its_statistics():
    norm = scramble(nn.BatchNorm1d(2), 0).eval()
    x = torch.zeros(6, 2, dtype=DOUBLE)
    expected = norm(x)
    standardise_by(norm, x.mean(0), x.var(0))
    assert torch.allclose(norm(x), expected, rtol=0, atol=1e-12) and torch.isfinite(norm.weight).all()


def test_moments_of_unequal_batches_are_those_of_all_examples_at_once():
    network = scramble(build("conv", networks.load("conv")[0].Config(channels=(4, 6)), (3, 16, 16), (range(2),), 0), 0)
    x = images(11)
    parts, whole = Moments(), Moments()
    for part in x.split(4):
        parts.observe(network, part)
    whole.observe(network, x)
    assert parts.count == whole.count == 11 and not network.training
    first = network.eval().backbone[0].layer(x)
    assert torch.allclose(whole.mean["backbone.0.norm"], first.mean([0, 2, 3]), rtol=0, atol=1e-12)
    assert torch.allclose(whole.variance["backbone.0.norm"], first.var([0, 2, 3], correction=0), rtol=0, atol=1e-12)
    for name in norms(network):
        assert torch.allclose(parts.mean[name], whole.mean[name], rtol=0, atol=1e-12)
        assert torch.allclose(parts.variance[name], whole.variance[name], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name, options", [entry for entry in NETWORKS if entry[1].get("norm") != "none"])
def test_after_merge_and_measuring_both_modes_compute_the_same_on_the_measured_data(name, options):
    source, target = pair(name, options)
    single = merge(random_alpha(combine(source, target, "train")))
    expected = single.eval()(images()).detach()
    moments = Moments()
    moments.observe(single, images())
    moments.standardise(single)
    size = max(1.0, float(expected.abs().max()))
    for mode, bound in ((False, 1e-10), (True, 1e-6)):
        assert float((single.train(mode)(images()).detach() - expected).abs().max()) < bound * size


def test_mixing_outputs_of_two_networks_is_something_else():
    source, target = (network.eval() for network in pair("mlp", {"hidden": (7, 6)}))
    double = combine(source, target, "train").eval()
    ensemble = 0.5 * source.features(images()) + 0.5 * target.features(images())
    assert not torch.allclose(double.features(images()), ensemble, rtol=0, atol=1e-2)


def test_units_that_were_replaced_can_be_found_again():
    network = nn.Sequential(Unit(nn.Linear(2, 3)), nn.ReLU())
    replace_units(network, lambda name, unit: Combination(unit, unit, "train"))
    assert len(combinations(network)) == 1
