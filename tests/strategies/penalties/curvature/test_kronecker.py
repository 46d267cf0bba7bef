"""Sums of Kronecker products agree with the dense blocks that they stand for."""

from __future__ import annotations

import pytest
import torch

from strategies.penalties.curvature.kronecker import Kronecker, LowRank, from_state, mean, running_mean, truncated


def symmetric(*shape: int, seed: int) -> torch.Tensor:
    made = torch.randn(*shape, shape[-1], generator=torch.Generator().manual_seed(seed)).double()
    return made @ made.mT


def example(groups: int = 1, terms: int = 2, outer: int = 0, seed: int = 0) -> Kronecker:
    columns = symmetric(groups, outer, 4, seed=seed + 3)[..., :2]
    low_rank = {"some": LowRank(symmetric(groups, outer, 3, seed=seed + 2), columns, columns[..., 0, 0] ** 2)} if outer else {}
    return Kronecker(symmetric(groups, terms, 3, seed=seed), symmetric(groups, terms, 4, seed=seed + 1), low_rank)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("outer", [0, 3])
def test_the_product_is_that_of_the_dense_block_with_vec_row_by_row(groups, outer):
    curvature, delta = example(groups, outer=outer), torch.randn(groups, 3, 4).double()
    dense = curvature.dense()
    expected = torch.stack([dense[g] @ delta[g].flatten() for g in range(groups)]).view_as(delta)
    assert torch.allclose(curvature.product(delta), expected, rtol=1e-12, atol=1e-12)
    quadratic = sum(delta[g].flatten() @ dense[g] @ delta[g].flatten() for g in range(groups))
    assert torch.allclose(curvature.quadratic(delta), quadratic, rtol=1e-12)


def test_the_trace_form_is_the_quadratic_form():
    left, right, delta = symmetric(1, 1, 3, seed=0), symmetric(1, 1, 4, seed=1), torch.randn(1, 3, 4).double()
    trace = torch.trace(delta[0].T @ left[0, 0] @ delta[0] @ right[0, 0])
    dense = torch.kron(left[0, 0], right[0, 0])
    assert torch.allclose(trace, delta.flatten() @ dense @ delta.flatten(), rtol=1e-12)
    assert torch.allclose(trace, Kronecker(left, right).quadratic(delta), rtol=1e-12)


def test_the_inner_product_is_that_of_the_dense_blocks():
    first, second = example(2, outer=1), example(2, terms=3, seed=9)
    assert torch.allclose(first.inner(second), (first.dense() * second.dense()).sum(), rtol=1e-12)


def test_the_mean_is_exact():
    parts = [example(outer=1, seed=seed) for seed in (0, 10, 20)]
    expected = sum(part.dense() for part in parts) / 3
    assert torch.allclose(mean(parts, 3).dense(), expected, rtol=1e-12)


def test_the_running_mean_averages_each_factor():
    parts = [example(seed=seed) for seed in (0, 10, 20)]
    running = running_mean(running_mean(parts[0], 1, parts[1]), 2, parts[2])
    assert torch.allclose(running.left, sum(part.left for part in parts) / 3)
    assert torch.allclose(running.right, sum(part.right for part in parts) / 3)


def test_accumulating_a_curvature_that_is_always_the_same_changes_nothing():
    part, delta = example(outer=1), torch.randn(1, 3, 4).double()
    running = part
    for count in range(1, 5):
        running = running_mean(running, count, part)
        listed = mean([part] * (count + 1), count + 1)
        assert torch.allclose(running.quadratic(delta), part.quadratic(delta), rtol=1e-12)
        assert torch.allclose(listed.quadratic(delta), part.quadratic(delta), rtol=1e-12)


def decaying(groups: int, terms: int, size: int = 24) -> Kronecker:
    """Right factors whose eigenvalues fall quickly, as those of images do."""
    vectors = torch.linalg.qr(symmetric(groups, terms, size, seed=5))[0]
    values = torch.logspace(0, -3, size).double() ** 2
    return Kronecker(symmetric(groups, terms, 3, seed=4), vectors * values @ vectors.mT)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("tolerance", [0.3, 0.05])
def test_truncated_factors_keep_their_trace_their_sign_and_the_error_asked_for(groups, tolerance):
    whole = decaying(groups, 2)
    short = truncated(whole, tolerance)
    assert short.left.shape[1] == 0 and list(short.low_rank) == ["term 0", "term 1"]
    for term, each in enumerate(short.low_rank.values()):
        right, found = whole.right[:, term], each.right()[:, 0]
        assert bool(((found - right).flatten(1).norm(dim=1) <= tolerance * right.flatten(1).norm(dim=1) + 1e-12).all())
        assert torch.allclose(found.diagonal(dim1=1, dim2=2).sum(1), right.diagonal(dim1=1, dim2=2).sum(1), rtol=1e-10)
        assert float(torch.linalg.eigvalsh(found).min()) >= -1e-12
    delta = torch.randn(groups, 3, 24).double()
    assert torch.allclose(short.quadratic(delta), whole.quadratic(delta), rtol=3 * tolerance)


def test_a_factor_that_is_not_of_low_rank_is_left_as_it_is():
    whole = example()
    assert truncated(whole, 0.0) is whole
    short = truncated(whole, 1e-6)
    assert not short.low_rank and torch.equal(short.right, whole.right)


def test_terms_of_different_rank_are_joined_and_saved():
    parts = [truncated(decaying(1, 2), tolerance) for tolerance in (0.3, 0.05)]
    joined = mean(parts, 2)
    assert torch.allclose(joined.dense(), (parts[0].dense() + parts[1].dense()) / 2, rtol=1e-10)
    again = from_state(joined.state_dict(), torch.device("cpu"))
    assert torch.equal(again.dense(), joined.dense())
