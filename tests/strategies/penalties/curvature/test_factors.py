"""The forms of pairs against sums over all pairs, their positivity, and the pass that measures them."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from scenarios.errors import UserError
from strategies.penalties.curvature.factor_pass import FactorConfig, FactorPass
from strategies.penalties.curvature.factors import LayerSums, coefficients, moments
from strategies.penalties.curvature.merge import MergedLayer, merged_layers
from strategies.penalties.curvature.taps import input_rows, output_rows
from tests.strategies.penalties.curvature.curvature_cases import conv, images, mlp


def data(n: int, t: int, groups: int = 1, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(groups, n, t, 3, generator=generator).double() + 0.7, torch.randn(groups, n, t, 2, generator=generator).double()


def pair_means(rows, same_image, same_position):
    """E[x x'^T] over the pairs asked for, by a loop over all of them."""
    n, t = rows.shape[:2]
    total, count = torch.zeros(rows.shape[2], rows.shape[2]).double(), 0
    for i in range(n):
        for j in range(n):
            for s in range(t):
                for u in range(t):
                    if (i == j) == same_image and (same_position is None or (s == u) == same_position):
                        total, count = total + torch.outer(rows[i, s], rows[j, u]), count + 1
    return total / count


def curvature(a, g, form, mean_pairs=False):
    sums = LayerSums(form)
    sums.add(a, g[None], 1.0)
    return sums.curvature(mean_pairs)


def test_both_forms_of_the_two_terms_are_the_same_for_any_data():
    a, g = data(7, 1)
    a0, a1 = pair_means(a[0], True, True), pair_means(a[0], False, None)
    b0, b1 = pair_means(g[0], True, True), pair_means(g[0], False, None)
    expected = torch.kron(b0, a0) + 6 * torch.kron(b1, a1)
    assert torch.allclose(curvature(a, g, "virtual").dense()[0], expected, rtol=0, atol=1e-13)


def test_positions_are_virtual_examples():
    a, g = data(3, 4)
    flat_a, flat_g = a.view(1, 12, 1, 3), g.view(1, 12, 1, 2)
    a0, a1 = pair_means(flat_a[0], True, True), pair_means(flat_a[0], False, None)
    b0, b1 = pair_means(flat_g[0], True, True), pair_means(flat_g[0], False, None)
    expected = 12 / 3 * (torch.kron(b0, a0) + 11 * torch.kron(b1, a1))
    assert torch.allclose(curvature(a, g, "virtual").dense()[0], expected, rtol=0, atol=1e-12)


def test_three_kinds_of_pairs_have_factors_of_their_own():
    n, t = 4, 3
    a, g = data(n, t)
    pairs = [(True, True, 1), (True, False, t - 1), (False, None, (n - 1) * t)]
    expected = sum(t * weight * torch.kron(pair_means(g[0], *kind), pair_means(a[0], *kind)) for *kind, weight in pairs)
    assert torch.allclose(curvature(a, g, "three").dense()[0], expected, rtol=0, atol=1e-12)


def test_for_one_position_three_is_virtual():
    a, g = data(6, 1)
    assert torch.allclose(curvature(a, g, "three").dense(), curvature(a, g, "virtual").dense(), rtol=0, atol=1e-13)


def test_without_pairs_it_is_kfac():
    a, g = data(5, 4)
    expected = 4 * torch.kron(pair_means(g[0], True, True), pair_means(a[0], True, True))
    assert torch.allclose(curvature(a, g, "plain").dense()[0], expected, rtol=0, atol=1e-13)
    assert coefficients("plain", 5, 4) == [4]


@pytest.mark.parametrize("form", ["plain", "virtual", "three"])
@pytest.mark.parametrize("mean_pairs", [False, True])
def test_every_form_is_positive_semi_definite(form, mean_pairs):
    for seed in range(5):
        sums = LayerSums(form)
        for batch in range(3):
            a, g = data(4, 3, groups=2, seed=10 * seed + batch)
            sums.add(a, g[None], 1.0)
        assert float(torch.linalg.eigvalsh(sums.curvature(mean_pairs).dense()).min()) >= -1e-12


def test_mean_pairs_takes_the_mean_of_pairs_for_the_square_of_the_mean():
    a, g = data(6, 2)
    flat_a, flat_g = a.view(1, 12, 1, 3), g.view(1, 12, 1, 2)
    m = flat_a.mean((0, 1, 2))
    a0, b0, b1 = pair_means(flat_a[0], True, True), pair_means(flat_g[0], True, True), pair_means(flat_g[0], False, None)
    expected = 2 * (torch.kron(b0, a0) + 11 * torch.kron(b1, torch.outer(m, m)))
    assert torch.allclose(curvature(a, g, "virtual", mean_pairs=True).dense()[0], expected, rtol=0, atol=1e-12)


def test_matrices_are_averaged_over_batches_before_the_block_is_formed_in_any_order():
    batches = [data(6, 1, seed=seed) for seed in range(4)]
    forwards, backwards = LayerSums("virtual"), LayerSums("virtual")
    for a, g in batches:
        forwards.add(a, g[None], 1.0)
    for a, g in reversed(batches):
        backwards.add(a, g[None], 1.0)
    right = sum(moments(a, "virtual") for a, _ in batches) / 4
    left = sum(moments(g, "virtual") for _, g in batches) / 4
    expected = 6 / 5 * torch.kron(left[0, 0], right[0, 0]) + 6 * torch.kron(left[0, 1], right[0, 1])
    assert torch.allclose(forwards.curvature(False).dense()[0], expected, rtol=1e-12)
    assert torch.allclose(backwards.curvature(False).dense(), forwards.curvature(False).dense(), rtol=1e-12)


@pytest.mark.parametrize("groups", [1, 2])
def test_a_layer_is_its_rows_times_its_weight_and_its_gradient_the_sum_of_outer_products(groups):
    layer = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=groups).double()
    unit, x = MergedLayer("conv", layer, None, layer), images(3, (4, 5, 5))
    y = layer(x)
    rows = input_rows(unit, x)
    assert torch.allclose(rows @ unit.parameters()[:, None].mT, output_rows(unit, y), rtol=0, atol=1e-12)
    upstream = torch.randn_like(y)
    y.backward(upstream)
    summed = torch.einsum("gnto,gntd->god", output_rows(unit, upstream), rows).flatten(0, 1)
    assert torch.allclose(summed[:, :-1], layer.weight.grad.flatten(1), atol=1e-12)
    assert torch.allclose(summed[:, -1], layer.bias.grad, atol=1e-12)


def measured(network, batches, *, coupled=True, **options):
    layers = merged_layers(network)
    factors = FactorPass(network, layers, FactorConfig(**options))
    for number, x in enumerate(batches):
        factors.observe(x, torch.zeros(len(x), dtype=torch.int64), range(3), torch.Generator().manual_seed(number), coupled=coupled)
    return factors


def test_the_pass_leaves_weights_statistics_and_gradients_alone():
    network = conv().train()
    before = copy.deepcopy(network.state_dict())
    measured(network, [images(6, (2, 4, 4))], linear="virtual", conv="virtual")
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert network.training and all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("make", [lambda: mlp(norm=False), lambda: conv(norm=False)])
def test_without_norms_the_gate_leaves_kfac_bit_for_bit(make):
    network = make()
    shape = (1, 2, 2) if network.num_features == 5 else (2, 4, 4)
    batches = [images(6, shape, seed=seed) for seed in range(3)]
    plain = measured(network, batches).curvature()
    extended = measured(network, batches, linear="virtual", conv="virtual").curvature()
    for name, curvature_ in plain.items():
        assert torch.equal(extended[name].left, curvature_.left) and torch.equal(extended[name].right, curvature_.right)


def test_with_norms_in_evaluation_mode_the_gate_leaves_kfac_bit_for_bit():
    network, batches = mlp(), [images(6, (1, 2, 2))]
    plain = measured(network, batches, coupled=False).curvature()
    extended = measured(network, batches, coupled=False, linear="virtual").curvature()
    assert all(torch.equal(extended[name].right, plain[name].right) for name in plain)


def test_the_gate_is_open_where_a_norm_lies_behind_the_tap():
    batches = [images(6, (1, 2, 2))]
    for tap, expected in (("post_bn", ["virtual", "plain", "plain"]), ("pre_bn", ["virtual", "virtual", "plain"])):
        factors = measured(mlp(), batches, tap=tap, linear="virtual")
        assert [sums.form for sums in factors.sums.values()] == expected
    factors = measured(mlp(), batches, linear="virtual", gate=False)
    assert [sums.form for sums in factors.sums.values()] == ["virtual"] * 3


def test_in_front_of_a_norm_derivatives_sum_to_zero_and_the_bias_has_no_curvature():
    for network, shape in ((mlp(), (1, 2, 2)), (conv(bias=True), (2, 4, 4))):
        factors = measured(network, [images(6, shape)], tap="pre_bn", linear="virtual", conv="virtual")
        name = next(iter(factors.sums))
        assert float(factors.sums[name].left[:, 1].abs().max()) <= 1e-24
        curvature_ = factors.curvature()[name]
        dense = curvature_.dense()[0].view(curvature_.left.shape[2], curvature_.right.shape[2], -1)
        assert float(dense[:, -1].abs().max()) <= 1e-12


def test_drawn_labels_give_pairs_without_norms_that_vanish_with_the_number_of_draws():
    network, batch = mlp(norm=False), [images(16, (1, 2, 2))]
    shares = {}
    for draws in (1, 200):
        factors = measured(network, batch, linear="virtual", gate=False, draws=draws)
        shares[draws] = factors.pair_shares()["head.blocks.0"]
    assert shares[200] < 0.3 and shares[200] < 0.5 * shares[1]


def test_labels_are_drawn_from_the_networks_own_softmax():
    network = mlp()
    factors = FactorPass(network, merged_layers(network), FactorConfig(draws=20000))
    log_p = torch.randn(4, 3).double().log_softmax(1)
    labels = torch.cat(factors._draw(log_p, torch.Generator().manual_seed(0)), 1)
    frequencies = nn.functional.one_hot(labels, 3).double().mean(1)
    assert torch.allclose(frequencies, log_p.exp(), atol=0.02)


def test_the_loss_is_the_mean_loss_of_the_true_labels():
    network, x = mlp(norm=False), images(8, (1, 2, 2))
    expected = nn.functional.cross_entropy(network(x), torch.zeros(8, dtype=torch.int64))
    assert torch.allclose(measured(network, [x]).loss(), expected, rtol=1e-12)


def test_a_pass_goes_on_from_its_saved_state_bit_for_bit():
    batches = [images(6, (1, 2, 2), seed=seed) for seed in range(4)]
    whole = measured(mlp(), batches, linear="virtual")
    network = mlp()
    resumed = FactorPass(network, merged_layers(network), FactorConfig(linear="virtual"))
    resumed.load_state_dict(copy.deepcopy(measured(mlp(), batches[:2], linear="virtual").state_dict()))
    for number in (2, 3):
        y = torch.zeros(6, dtype=torch.int64)
        resumed.observe(batches[number], y, range(3), torch.Generator().manual_seed(number), coupled=True)
    for name, curvature_ in whole.curvature().items():
        assert torch.equal(resumed.curvature()[name].left, curvature_.left)
    assert torch.equal(resumed.loss(), whole.loss())


def test_a_batch_of_one_is_refused_in_one_line():
    with pytest.raises(UserError, match="at least 2 examples"):
        measured(mlp(), [images(1, (1, 2, 2))])
