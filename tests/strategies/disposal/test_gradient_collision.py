"""The collision's value and gradient against explicit loops and finite differences, in float64."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from torch import nn
from torch.nn import functional

from strategies.disposal.gradient_collision import TAU, collision, direct, finite_difference, pushes, two_pass

FORMS = ["cosine", "inner"]


def problem(chunks: int, norm: bool = False):
    generator = torch.Generator().manual_seed(chunks)
    layers = [nn.Linear(4, 5), *([nn.BatchNorm1d(5)] if norm else []), nn.Tanh(), nn.Linear(5, 3)]
    network = nn.Sequential(*layers).double()
    for parameter in network.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    xs, ys = torch.randn(chunks, 6, 4, generator=generator, dtype=torch.float64), torch.randint(3, (chunks, 6), generator=generator)
    return network, [lambda x=x, y=y: functional.cross_entropy(network(x), y) for x, y in zip(xs, ys)]


def gradients(network, losses):
    return torch.stack([torch.cat([g.flatten() for g in torch.autograd.grad(loss(), list(network.parameters()))]) for loss in losses])


def by_pairs(rows, form):
    if form == "cosine":
        rows = [row / (row.norm() + TAU) for row in rows]
    pairs = [(i, j) for i in range(len(rows)) for j in range(i)]
    return sum(rows[i] @ rows[j] for i, j in pairs) / len(pairs)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("chunks", [2, 3, 5])
def test_the_closed_form_is_the_mean_over_pairs_in_any_order(form, chunks):
    rows = gradients(*problem(chunks))
    assert torch.allclose(collision(rows, form), by_pairs(rows, form), rtol=1e-10, atol=0)
    assert torch.allclose(collision(rows.flip(0), form), collision(rows, form), rtol=1e-12, atol=0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("chunks", [2, 3, 5])
def test_both_second_order_gradients_agree_with_each_other_and_with_finite_differences(form, chunks):
    network, losses = problem(chunks)
    inner = list(network.parameters())[:2]
    for outer in (inner, list(network.parameters())):
        values, found = zip(*(method(losses, inner, outer, form) for method in (direct, two_pass)))
        assert torch.allclose(values[0], values[1], rtol=1e-10, atol=0)
        for one, other in zip(*found):
            assert torch.allclose(one, other, rtol=1e-10, atol=1e-13)
    parameter, step = inner[0], 1e-5
    for place in [(0, 0), (3, 2)]:
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter[place] += sign * step
            ends.append(two_pass(losses, inner, inner, form)[0])
            with torch.no_grad():
                parameter[place] -= sign * step
        assert torch.allclose((ends[0] - ends[1]) / (2 * step), found[1][0][place], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("form", FORMS)
def test_differences_of_gradients_agree_with_second_derivatives_and_leave_the_parameters_as_they_were(form):
    network, losses = problem(3)
    parameters = list(network.parameters())
    before = [parameter.detach().clone() for parameter in parameters]
    for inner, outer in ((parameters[:2], parameters), (parameters, parameters)):
        wanted, found = (method(losses, inner, outer, form) for method in (two_pass, finite_difference))
        assert torch.equal(found[0], wanted[0])
        for one, other in zip(found[1], wanted[1]):
            assert torch.allclose(one, other, rtol=1e-6, atol=1e-8 * float(other.abs().max()))
    assert all(torch.equal(*pair) for pair in zip(parameters, before))


def test_a_graph_that_waits_while_parameters_are_moved_to_and_fro_finds_them_again():
    network, losses = problem(2)
    kept = losses[0]()
    finite_difference(losses, list(network.parameters()), list(network.parameters()), "cosine")
    kept.backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_two_chunks_whose_labels_pull_apart_collide_head_on():
    # At equal logits the gradient of a two-way cross-entropy only changes its sign with the label.
    network = nn.Linear(4, 2).double()
    nn.init.zeros_(network.weight)
    nn.init.zeros_(network.bias)
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)).double()
    y = torch.tensor([0, 1, 1, 0, 1, 0])
    losses = [lambda y=y: functional.cross_entropy(network(x), y) for y in (y, 1 - y)]
    for method in (direct, two_pass, finite_difference):
        assert float(method(losses, list(network.parameters()), list(network.parameters()), "cosine")[0]) == pytest.approx(-1)


def test_in_the_mean_over_disjoint_chunks_the_inner_product_is_the_gradients_square_less_the_noise():
    # E <g_i, g_j> = ||g||^2 - tr(S) / N, over all ways to cut N examples in two: a solved source, g = 0, is a minimum (up to the noise).
    count = 6
    rows = gradients(*problem(count))
    halves = [list(half) for half in combinations(range(count), count // 2)]
    found = [collision(torch.stack([rows[half].mean(0), rows[sorted({*range(count)} - {*half})].mean(0)]), "inner") for half in halves]
    mean = rows.mean(0)
    noise = (rows - mean).square().sum() / (count - 1)
    assert torch.allclose(torch.stack(found).mean(), mean.square().sum() - noise / count, rtol=1e-10)


def test_the_cosine_has_its_bounds_and_does_not_see_the_loss_scale_and_the_inner_product_sees_its_square():
    rows = gradients(*problem(4))
    assert -1 / 3 - 1e-9 <= float(collision(rows, "cosine")) <= 1
    assert torch.allclose(collision(7 * rows, "cosine"), collision(rows, "cosine"), rtol=1e-9)
    assert torch.allclose(collision(7 * rows, "inner"), 49 * collision(rows, "inner"), rtol=1e-12)
    same, opposite = rows[:1].repeat(3, 1), torch.stack([rows[0], -rows[0]])
    assert float(collision(same, "cosine")) == pytest.approx(1) and float(collision(opposite, "cosine")) == pytest.approx(-1)


@pytest.mark.parametrize("form", FORMS)
def test_a_chunk_without_gradient_collides_with_none_and_gives_no_nan(form):
    rows = gradients(*problem(3))
    rows[1] = 0
    assert torch.allclose(collision(rows, form), by_pairs(rows, form))
    assert pushes(rows, form).isfinite().all()
    network = nn.Linear(4, 3, bias=False).double()
    xs = [torch.zeros(2, 4).double(), torch.randn(2, 4, generator=torch.Generator().manual_seed(0)).double()]
    losses = [lambda x=x: functional.cross_entropy(network(x), torch.tensor([0, 1])) for x in xs]
    for method in (direct, two_pass, finite_difference):
        value, found = method(losses, [network.weight], [network.weight], form)
        assert abs(float(value)) < 1e-15 and found[0].isfinite().all()


@pytest.mark.parametrize("form", FORMS)
def test_the_push_is_the_derivative_of_the_collision(form):
    rows = gradients(*problem(4)).requires_grad_()
    (wanted,) = torch.autograd.grad(collision(rows, form), rows)
    assert torch.allclose(pushes(rows.detach(), form), wanted, rtol=1e-10, atol=1e-14)


def test_two_passes_hold_one_graph_at_a_time():
    chunks = 6
    network, losses = problem(chunks)
    inner = list(network.parameters())
    held, peak = {}, {}
    for method in (direct, two_pass):
        kept = {"now": 0, "most": 0}

        class Saved:
            def __init__(self, tensor, kept=kept):
                self.tensor, self.kept = tensor, kept
                kept["now"] += tensor.nbytes
                kept["most"] = max(kept["most"], kept["now"])

            def __del__(self):
                self.kept["now"] -= self.tensor.nbytes

        with torch.autograd.graph.saved_tensors_hooks(Saved, lambda saved: saved.tensor):
            method(losses, inner, inner, "cosine")
        held[method], peak[method] = kept["now"], kept["most"]
    assert peak[two_pass] < 2 / chunks * peak[direct]
