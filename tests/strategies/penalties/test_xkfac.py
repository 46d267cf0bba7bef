"""XK-FAC differs from K-FAC by the pairs of examples that batch norm couples, and by nothing else."""

from __future__ import annotations

import pytest
import torch

from scenarios.errors import UserError
from tests.strategies.driver import equal, prepared
from tests.strategies.penalties.test_kfac import BN, CONV, QUICK, after, perturb, setup_for, start


def test_without_norms_it_is_kfac_bit_for_bit():
    setup = setup_for(options={"hidden": (6, 5)})
    assert equal(after(3, "xkfac", setup).state_dict(), after(3, "kfac", setup).state_dict())


def test_with_fixed_norms_it_is_kfac_bit_for_bit():
    setup = setup_for(options=BN)
    assert equal(after(3, "xkfac", setup, bn="fixed").state_dict(), after(3, "kfac", setup, bn="fixed").state_dict())


def test_with_norms_in_training_mode_pairs_have_terms_where_a_norm_lies_behind():
    strategy = after(1, "xkfac")
    assert [terms[0].left.shape[1] for terms in strategy.penalty.terms.values()] == [2, 1, 1]
    assert list(strategy.report()["pair_shares"]) == ["backbone.1"]
    assert not equal(after(2, "xkfac").network.state_dict(), after(2, "kfac").network.state_dict())


def test_without_the_gate_pairs_have_terms_everywhere():
    strategy = after(1, "xkfac", gate=False)
    assert [terms[0].left.shape[1] for terms in strategy.penalty.terms.values()] == [2, 2, 2]


def test_three_kinds_of_pairs_in_convolutions():
    setup = setup_for(network="conv", options=CONV, shape=(1, 8, 8))
    strategy = after(1, "xkfac", setup, conv_inter="three")
    assert [terms[0].left.shape[1] for terms in strategy.penalty.terms.values()] == [3, 1, 1]


def test_the_square_of_the_mean_input_comes_near_to_measured_pairs_and_costs_one_dense_term():
    curvatures = {}
    for pairs in ("measured", "mean"):
        strategy = after(1, "xkfac", setup_for(), input_pairs=pairs, factor_batches=60)
        curvatures[pairs] = strategy.penalty.terms["backbone.1"][0]
    measured, mean = curvatures["measured"].dense(), curvatures["mean"].dense()
    assert float((measured - mean).norm() / measured.norm()) < 0.1
    assert curvatures["mean"].left.shape[1] == 1 and list(curvatures["mean"].low_rank) == ["squared mean"]
    assert float(torch.linalg.eigvalsh(mean).min()) > -1e-12


def test_the_square_of_the_mean_input_is_accumulated_both_ways():
    for accumulate in ("list", "running"):
        strategy = after(3, "xkfac", setup_for(), input_pairs="mean", accumulate=accumulate)
        perturb(strategy.network)
        assert float(strategy.penalty.value()) > 0
        assert strategy.penalty.curvature("backbone.1").low_rank["squared mean"].left.shape[1] == 3


@pytest.mark.parametrize("accumulate", ["list", "running"])
def test_a_small_tolerance_of_input_factors_hardly_changes_the_penalty(accumulate):
    values = []
    for tolerance in (0.0, 0.03):
        strategy = after(2, "xkfac", setup_for(shape=(1, 9, 9)), accumulate=accumulate, input_tolerance=tolerance, factor_batches=2)
        terms = strategy.penalty.curvature("backbone.1")
        assert bool(terms.low_rank) == (tolerance > 0)
        start(strategy, 2)
        perturb(strategy.network)
        values.append(float(strategy.penalty.value()))
    assert values[1] == pytest.approx(values[0], rel=0.2) and values[1] != values[0]


@pytest.mark.parametrize("tap", ["post_bn", "pre_bn"])
def test_in_front_of_the_norm_the_bias_is_free(tap):
    strategy = after(1, "xkfac", tap=tap)
    bias_alone = torch.zeros_like(strategy.penalty.centre["backbone.1"])
    bias_alone[..., -1] = 1
    curvature = float(strategy.penalty.curvature("backbone.1").quadratic(bias_alone))
    assert abs(curvature) < 1e-12 if tap == "pre_bn" else curvature > 1e-6


REFUSED = [({"conv_inter": "image"}, "negative"), ({"conv_inter": "three", "input_pairs": "mean"}, "virtual")]


@pytest.mark.parametrize("options, message", REFUSED)
def test_forms_that_are_none_are_refused_in_one_line(options, message):
    with pytest.raises(UserError, match=message):
        prepared("xkfac", setup_for(), **options, **QUICK)
