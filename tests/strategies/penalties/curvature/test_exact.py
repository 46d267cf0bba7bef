"""The brute-force block is autograd's Gauss-Newton matrix of the batch, and the cases in which XK-FAC is known in closed form."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from strategies.penalties.curvature.exact import block, directions, relative_error, send_back
from strategies.penalties.curvature.merge import MergedLayer, batch_statistics
from strategies.penalties.curvature.taps import Taps
from tests.strategies.penalties.curvature.curvature_cases import conv, images, mlp, unit_layers


def rows_of(network, x, tap="post_bn"):
    head = network.head.blocks[0]
    layers = [*unit_layers(network), MergedLayer("head", head, None, head)]
    with batch_statistics(network), Taps(layers, tap) as taps:
        logits = network(x)
    return send_back(taps, logits, directions(logits))


def gauss_newton(function, parameters, examples):
    """J^T Lambda J / N from autograd's Jacobian of all logits of the batch."""
    logits = function(parameters).detach()
    jacobian = torch.autograd.functional.jacobian(function, parameters).flatten(2)
    p = logits.softmax(1)
    hessian = torch.diag_embed(p) - p.unsqueeze(2) * p.unsqueeze(1)
    return torch.einsum("nkp,nkl,nlq->pq", jacobian, hessian, jacobian) / examples


def normalise(h, norm):
    mean, variance = h.mean(0), h.var(0, correction=0)
    return (h - mean) / torch.sqrt(variance + norm.eps) * norm.weight.detach() + norm.bias.detach()


@pytest.mark.parametrize("tap", ["post_bn", "pre_bn"])
def test_the_block_is_that_of_the_batch_loss_through_norms_in_training_mode(tap):
    network, x = mlp(), images(7, (1, 2, 2))
    first, second = (layer for layer in unit_layers(network))

    def function(parameters):
        hidden = x.flatten(1) @ parameters[:, :-1].T + parameters[:, -1]
        hidden = hidden if tap == "post_bn" else normalise(hidden, first.norm)
        h = nn.functional.linear(hidden.relu(), second.layer.weight.detach(), second.layer.bias.detach())
        return network.head(normalise(h, second.norm).relu())

    if tap == "pre_bn":
        point = torch.cat([first.layer.weight, first.layer.bias[:, None]], 1).detach()
    else:
        mean, variance = (x.flatten(1) @ first.layer.weight.T + first.layer.bias).mean(0), None
        variance = (x.flatten(1) @ first.layer.weight.T + first.layer.bias).var(0, correction=0)
        point = first.parameters((mean, variance))[0].detach()
    expected = gauss_newton(function, point, 7)
    found = block(rows_of(network, x, tap)[first.name].root())[0]
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)


def test_a_convolutions_block_is_that_of_the_batch_loss():
    network, x = conv(bias=True), images(4, (2, 4, 4))
    second = unit_layers(network)[1]

    def function(parameters):
        with batch_statistics(network):
            hidden = network.backbone[1](network.backbone[0](x)).detach()
        h = nn.functional.conv2d(hidden, parameters[:, :-1].view_as(second.layer.weight), parameters[:, -1], stride=2)
        flat = normalise(h.permute(0, 2, 3, 1).flatten(0, 2), second.norm).view(4, -1, 4).transpose(1, 2)
        return network.head(flat.reshape(4, -1).relu())

    point = torch.cat([second.layer.weight.flatten(1), second.layer.bias[:, None]], 1).detach()
    found = block(rows_of(network, x, "pre_bn")[second.name].root())[0]
    assert torch.allclose(found, gauss_newton(function, point, 4), rtol=0, atol=1e-12)


def test_the_error_without_forming_blocks_is_the_dense_one():
    rows = rows_of(conv(groups=2), images(4, (2, 4, 4)))
    for each in rows.values():
        for form in ("plain", "virtual", "three"):
            exact, approximation = block(each.root()), each.kronecker(form)
            expected = float((exact - approximation.dense()).norm() / exact.norm())
            assert abs(relative_error(each.root(), approximation) - expected) < 1e-7


def test_without_norms_pairs_have_no_curvature_and_xkfac_is_kfac():
    for each in rows_of(mlp(norm=False), images(9, (1, 2, 2))).values():
        assert torch.allclose(each.kronecker("virtual").dense(), each.kronecker("plain").dense(), rtol=0, atol=1e-12)


def test_behind_the_last_norm_xkfac_is_kfac():
    rows = rows_of(mlp(), images(9, (1, 2, 2)))
    head = rows["head"]
    assert torch.allclose(head.kronecker("virtual").dense(), head.kronecker("plain").dense(), rtol=0, atol=1e-12)
    assert [each.coupled for each in rows.values()] == [True, False, False]


class MeanOnly(nn.Module):
    """Takes the batch's mean away."""

    def forward(self, x):
        return x - x.mean(0)


def test_for_a_norm_that_only_centres_xkfac_is_the_exact_block_and_kfac_is_not():
    first, last = nn.Linear(3, 4).double(), nn.Linear(4, 2).double()
    layer, x = MergedLayer("first", first, None, first), images(7, (1, 1, 3)).flatten(1)
    with Taps([layer], "pre_bn") as taps:
        outputs = last(MeanOnly()(first(x)))
    rows = send_back(taps, outputs, torch.eye(14).double().view(14, 7, 2))["first"]
    assert relative_error(rows.root(), rows.kronecker("plain")) > 0.3
    assert torch.allclose(rows.kronecker("virtual").dense(), block(rows.root()), rtol=0, atol=1e-13)


def test_for_one_channel_of_full_batch_norm_both_blocks_have_their_closed_forms():
    n, w = 9, torch.tensor([0.7, -1.2, 0.4]).double()
    x = images(n, (1, 1, 3)).flatten(1)
    first, norm = nn.Linear(3, 1, bias=False).double(), nn.BatchNorm1d(1, eps=1e-300, affine=False).double()
    first.weight.data = w[None]
    layer = MergedLayer("first", first, None, first)
    with Taps([layer], "pre_bn") as taps:
        outputs = norm.train()(first(x))
    rows = send_back(taps, outputs, torch.eye(n).double().view(n, n, 1))["first"]
    centred = x - x.mean(0)
    covariance = centred.T @ centred / n
    variance = w @ covariance @ w
    exact = (covariance - torch.outer(covariance @ w, covariance @ w) / variance) / variance
    found = block(rows.root())[0]
    assert torch.allclose(found, exact, rtol=0, atol=1e-12)
    assert torch.allclose(rows.kronecker("virtual").dense()[0], (n - 2) / (n - 1) * covariance / variance, rtol=0, atol=1e-12)
    assert float((found @ w).abs().max()) <= 1e-12


def test_directions_are_the_root_of_the_hessian_of_cross_entropy():
    logits = torch.randn(4, 3).double().requires_grad_()

    def loss(flat):
        return nn.functional.cross_entropy(flat.view(4, 3), torch.zeros(4, dtype=torch.int64), reduction="sum")

    hessian = torch.autograd.functional.hessian(loss, logits.detach().flatten())
    root = directions(logits).flatten(1)
    assert torch.allclose(root.T @ root, hessian, rtol=0, atol=1e-14)
