"""Merging and putting norms in again preserve the function; the gradient's way back is autograd's."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scenarios.errors import UserError
from strategies.networks import build, networks
from strategies.networks.norms import Moments, norms, standardise_by
from strategies.networks.unit import Unit, replace_units
from strategies.penalties.curvature.merge import MergedLayer, batch_statistics, merged_layers
from tests.strategies.penalties.curvature.curvature_cases import conv, images, mlp

CASES = {
    "mlp": (mlp, (1, 2, 2)),
    "conv": (conv, (2, 4, 4)),
    "conv-bias": (lambda: conv(bias=True), (2, 4, 4)),
    "conv-groups": (lambda: conv(groups=2), (2, 4, 4)),
    "no-norm": (lambda: mlp(norm=False), (1, 2, 2)),
}


@pytest.fixture(params=CASES)
def case(request):
    make, shape = CASES[request.param]
    return make(), images(8, shape)


def merged(network):
    """The network without norms, its weights from `parameters()`."""
    copies = {layer.name: layer for layer in merged_layers(network)}

    def without_norm(name, unit):
        layer, flat = copies[name].layer, copies[name].parameters().detach().flatten(0, 1)
        weight = nn.Parameter(flat[:, : layer.weight[0].numel()].reshape(layer.weight.shape))
        if isinstance(layer, nn.Linear):
            plain = nn.Linear(layer.in_features, layer.out_features)
        else:
            plain = nn.Conv2d(
                layer.in_channels, layer.out_channels, layer.kernel_size, stride=layer.stride, padding=layer.padding, groups=layer.groups
            )
        plain.weight, plain.bias = weight, nn.Parameter(flat[:, -1].clone())
        return Unit(plain)

    import copy

    plain = copy.deepcopy(network)
    replace_units(plain, without_norm)
    return plain


def test_the_merged_network_computes_what_the_network_does_in_evaluation_mode(case):
    network, x = case
    assert torch.allclose(merged(network)(x), network.eval()(x), rtol=0, atol=1e-12)


def test_absorbing_keeps_the_function_and_the_merged_parameters(case):
    network, x = case
    before, parameters = network.eval()(x), [layer.parameters().detach().clone() for layer in merged_layers(network)]
    for layer in merged_layers(network):
        layer.absorb_()
    assert torch.allclose(network(x), before, rtol=0, atol=1e-12)
    for layer, wanted in zip(merged_layers(network), parameters):
        assert torch.allclose(layer.parameters(), wanted, rtol=0, atol=1e-12)
        assert torch.allclose(layer.parameters()[..., : layer.layer.weight[0].numel()].flatten(), layer.layer.weight.flatten(), atol=1e-12)


def test_absorbing_keeps_the_statistics_of_the_data():
    network, x = mlp(), images(64, (1, 2, 2))
    moments = Moments()
    moments.observe(network, x)
    moments.standardise(network)
    for layer in merged_layers(network):
        layer.absorb_()
    again = Moments()
    again.observe(network, x)
    for name, norm in norms(network).items():
        assert torch.allclose(norm.running_mean, again.mean[name], atol=1e-12)
        assert torch.allclose(norm.running_var, again.variance[name], atol=1e-12)


def test_any_statistics_leave_the_function_and_the_merged_parameters_unchanged(case):
    network, x = case
    for layer in merged_layers(network):
        layer.absorb_()
    before, parameters = network.eval()(x), [layer.parameters().detach().clone() for layer in merged_layers(network)]
    for norm in norms(network).values():
        standardise_by(norm, torch.randn(norm.num_features).double(), torch.rand(norm.num_features).double() + 0.1)
    assert torch.allclose(network(x), before, rtol=0, atol=1e-12)
    for layer, wanted in zip(merged_layers(network), parameters):
        assert torch.allclose(layer.parameters(), wanted, rtol=0, atol=1e-12)


def test_with_the_statistics_of_the_data_training_mode_computes_the_same(case):
    network, x = case
    for layer in merged_layers(network):
        layer.absorb_()
    before = network.eval()(x)
    moments = Moments()
    moments.observe(network, x)
    moments.standardise(network)
    assert torch.allclose(network.train()(x), before, rtol=0, atol=1e-12)


def test_the_gradient_goes_back_as_autograd_takes_it(case):
    network, x = case
    network.eval()(x).sum().backward()
    layers = merged_layers(network)
    wanted = [torch.randn_like(layer.parameters()) for layer in layers]
    expected = {name: parameter.grad.clone() for name, parameter in network.named_parameters()}
    scalar = sum((layer.parameters() * gradient).sum() for layer, gradient in zip(layers, wanted))
    for name, gradient in zip(expected, torch.autograd.grad(scalar, list(network.parameters()))):
        expected[name] += gradient
    for layer, gradient in zip(layers, wanted):
        layer.add_gradient_(gradient)
    for name, parameter in network.named_parameters():
        assert torch.allclose(parameter.grad, expected[name], rtol=1e-12, atol=1e-12), name


def test_rescaling_a_layer_in_front_of_its_norm_leaves_the_merged_parameters_alone():
    layer, norm = nn.Linear(3, 2).double(), nn.BatchNorm1d(2, eps=0.0).double()
    norm.running_mean, norm.running_var = torch.tensor([0.3, -1.0]).double(), torch.tensor([0.5, 2.0]).double()
    unit = MergedLayer("unit", layer, norm, Unit(layer, norm))
    before = unit.parameters().detach().clone()
    with torch.no_grad():
        for tensor, factor in ((layer.weight, 3), (layer.bias, 3), (norm.running_mean, 3), (norm.running_var, 9)):
            tensor.mul_(factor)
    assert torch.allclose(unit.parameters(), before, rtol=1e-13)


def test_merging_with_the_statistics_of_a_batch_is_differentiable():
    layer, norm = nn.Linear(3, 2).double(), nn.BatchNorm1d(2).double()
    unit = MergedLayer("unit", layer, norm, Unit(layer, norm))
    x = images(6, (1, 1, 3)).flatten(1)

    def merged_sum(weight):
        h = x @ weight.T + layer.bias
        layer_ = nn.Linear(3, 2).double()
        del layer_.weight
        layer_.weight, layer_.bias = weight, layer.bias
        return MergedLayer("unit", layer_, norm, unit.module).parameters((h.mean(0), h.var(0, correction=0))).square().sum()

    assert torch.autograd.gradcheck(merged_sum, [layer.weight.detach().clone().requires_grad_()])


def test_a_dead_channel_is_put_in_again_with_a_floor():
    network, x = mlp(), images(8, (1, 2, 2))
    norm = next(iter(norms(network).values()))
    norm.weight.data[0] = 0
    before = network.eval()(x)
    for layer in merged_layers(network):
        layer.absorb_()
    assert float(norm.running_var[0]) > 0 and torch.allclose(network(x), before, atol=1e-12)


def test_batch_statistics_leaves_buffers_and_mode_alone():
    network, x = mlp().eval(), images(8, (1, 2, 2))
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    with batch_statistics(network):
        inside = network(x)
    assert not torch.allclose(inside, network(x)) and not network.training
    assert all(torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())


def test_norms_without_a_layer_before_them_are_refused_in_one_line():
    config = networks.load("preact-resnet18")[0].Config()
    network = build("preact-resnet18", config, (3, 8, 8), [range(2)], 0)
    with pytest.raises(UserError, match="no layer before it"):
        merged_layers(network)


def test_residual_networks_are_taken_apart():
    config = networks.load("resnet18")[0].Config()
    network = build("resnet18", config, (3, 8, 8), [range(2)], 0)
    assert len(merged_layers(network)) == 21
