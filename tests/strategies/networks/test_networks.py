"""Networks: their sizes, their units, their heads."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from strategies.networks import build
from strategies.networks.network import OUT_OF_PLAY, Head, Mixture
from strategies.networks.registry import networks
from strategies.networks.unit import Unit, replace_units, units

NAMES = [name for name in networks.names() if ":" not in name]
SMALL = {"resnet18": {"width": 4}, "resnet32": {"width": 4}, "preact-resnet18": {"width": 4}, "preact-resnet32": {"width": 4}}


def make(name, shape=(3, 16, 16), blocks=(range(0, 2), range(2, 5)), seed=0, **options):
    component, _ = networks.load(name)
    return build(name, component.Config(**{**SMALL.get(name, {}), **options}), shape, blocks, seed)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    "name, expected",
    [
        ("resnet18", 11_173_962),
        ("resnet32", 464_154),
        ("preact-resnet18", 11_172_170),
        ("preact-resnet32", 464_154),
        ("conv4", 113_088 + 2570),
    ],
)
def test_the_published_sizes_for_ten_classes_of_cifar(name, expected):
    options = {"width": {"18": 64, "32": 16}[name[-2:]]} if "resnet" in name else {}
    assert count(make(name, (3, 32, 32), [range(10)], **options)) == expected


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 16), (1, 28, 28), (3, 33, 35)])
def test_logits_have_full_width_and_features_their_announced_width(name, shape):
    network = make(name, shape).eval()
    x = torch.randn(3, *shape)
    assert network(x).shape == (3, 5)
    assert network.features(x).shape == (3, network.num_features)


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_alone_decides_the_initialisation(name):
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first, again, other = make(name), make(name), make(name, seed=1)
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(map(torch.equal, first.parameters(), again.parameters()))
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


@pytest.mark.parametrize("name", NAMES)
def test_all_parameters_of_a_backbone_belong_to_its_units(name):
    network = make(name)
    assert sum(map(count, units(network).values())) == count(network.backbone)


@pytest.mark.parametrize("name", NAMES)
def test_a_backbone_only_calls_its_units_so_they_can_be_replaced(name):
    class Wrapped(nn.Module):
        def __init__(self, unit):
            super().__init__()
            self.inner = unit

        def forward(self, x):
            return self.inner(x)

    network = make(name).eval()
    x = torch.randn(2, 3, 16, 16)
    expected = network(x)
    names = list(units(network))
    replace_units(network, lambda name, unit: Wrapped(unit))
    assert list(units(network)) == [f"{name}.inner" for name in names]
    assert torch.equal(network(x), expected)


@pytest.mark.parametrize("name", NAMES)
def test_every_unit_is_reached_by_the_gradient(name):
    network = make(name)
    network(torch.randn(4, 3, 16, 16)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in network.parameters())


@pytest.mark.parametrize("name", [name for name in NAMES if name != "mlp"])
def test_convolutional_networks_compute_the_same_channels_last(name):
    network = make(name).double()
    assert network.channels_last
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    expected = network(x)
    network.to(memory_format=torch.channels_last)
    assert torch.allclose(network(x.contiguous(memory_format=torch.channels_last)), expected, rtol=0, atol=1e-12)


def gradients(network, x):
    network.zero_grad()
    network(x).square().mean().backward()
    return {name: parameter.grad.contiguous() for name, parameter in network.named_parameters()}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "mlp"])
@pytest.mark.parametrize("width, side", [(1, 16), (2, 17), (3, 16), (4, 19), (5, 16), (6, 16), (7, 17), (8, 16), (16, 16)])
def test_gradients_are_the_same_channels_last(name, width, side):
    # Six passes: what one backward pass writes beyond its memory shows in a later one.
    option = {"conv": {"channels": (width, width)}, "conv4": {"filters": width}}.get(name, {"width": width})
    # Norms in evaluation mode: in training mode deep networks of a few channels amplify rounding to percents.
    network = make(name, shape=(3, side, side), **option).eval()
    torch.manual_seed(0)
    x = torch.randn(6, 3, side, side)
    expected = gradients(network, x)
    network.to(memory_format=torch.channels_last)
    for _ in range(6):
        found = gradients(network, x.contiguous(memory_format=torch.channels_last))
    for key, wanted in expected.items():
        assert (found[key] - wanted).norm() <= 2e-2 * wanted.norm() + 1e-5, key


@pytest.mark.parametrize("name", NAMES)
def test_no_convolution_is_of_the_kind_that_corrupts_memory(name):
    for module in make(name).modules():
        assert not (isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.stride != (1, 1))


@pytest.mark.parametrize("name", ["resnet18", "preact-resnet18"])
def test_a_projection_equals_a_convolution_of_stride_two(name):
    network = make(name, shape=(3, 17, 15)).double()
    block = next(module for module in network.backbone if getattr(module, "stride", 1) == 2)
    x = torch.randn(2, 4, 17, 15, dtype=torch.float64)
    strided = nn.functional.conv2d(x, block.shortcut.layer.weight, stride=2)
    assert torch.allclose(block.shortcut.layer(x[:, :, ::2, ::2]), strided, rtol=0, atol=1e-14)


def test_a_pre_activation_block_has_the_three_units_of_figure_2():
    block = make("preact-resnet18").backbone[1]
    kinds = [(unit.layer is not None, unit.norm is not None) for unit in (block.norm, block.first, block.second)]
    assert kinds == [(False, True), (True, True), (True, False)]


def test_a_pre_activation_block_computes_the_residual_form():
    network = make("preact-resnet18").double().eval()
    block = network.backbone[3]
    x = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    active = block.norm.norm(x).clamp(min=0)
    inner = block.second.layer(block.first.norm(block.first.layer(active)).clamp(min=0))
    assert torch.allclose(block(x), inner + block.shortcut.layer(active[:, :, :: block.stride, :: block.stride]), rtol=0, atol=1e-14)


def test_padded_shortcuts_keep_the_order_of_channels():
    block = make("resnet32").backbone[7]
    x = torch.randn(2, 4, 8, 8)
    kept = block.shortcut(x)
    assert torch.equal(kept[:, :4], x[:, :, ::2, ::2]) and not kept[:, 4:].any()


def test_a_unit_knows_its_channels():
    assert Unit(nn.Linear(3, 4)).out_channels == Unit(None, nn.BatchNorm1d(4)).out_channels == 4
    assert Unit(nn.Conv2d(4, 8, 1, groups=2), nn.BatchNorm2d(8)).out_channels == 8


def test_only_blocks_in_play_are_computed_and_trained():
    head = Head(3, [range(0, 2), range(2, 4), range(4, 7)])
    features = torch.randn(5, 3)
    logits = head(features, range(2, 4))
    assert torch.equal(logits[:, 2:4], head(features)[:, 2:4])
    assert (logits[:, [0, 1, 4, 5, 6]] == OUT_OF_PLAY).all()
    logits.log_softmax(1)[:, 2].sum().backward()
    assert head.blocks[0].weight.grad is None and head.blocks[1].weight.grad is not None and head.blocks[2].weight.grad is None


def test_a_mask_by_example_puts_outputs_out_of_play():
    head = Head(3, [range(0, 2), range(2, 4)])
    features = torch.randn(2, 3)
    mask = torch.tensor([[True, True, False, False], [False, False, True, True]])
    logits = head(features, Mixture(mask, head.ranges))
    assert torch.equal(logits[mask], head(features)[mask]) and (logits[~mask] == OUT_OF_PLAY).all()


@pytest.mark.parametrize("downsample", ["pool", "stride"])
def test_conv4_as_the_lineage_of_maml_plus_plus_has_it(downsample):
    network = make("conv4", filters=4, activation="leaky_relu", bias=False, initialisation="xavier", downsample=downsample)
    layers = [unit.layer for unit in units(network).values()]
    assert all(layer.bias is None for layer in layers) and len(layers) == 4
    for weight, fans in zip([*(layer.weight for layer in layers), network.head.blocks[0].weight], ((27, 36), *[(36, 36)] * 3, (4, 2))):
        bound = (6 / sum(fans)) ** 0.5
        assert 0.5 * bound < weight.abs().max() <= bound
    assert all((block.bias == 0).all() for block in network.head.blocks)
    x = torch.randn(5, 3, 16, 16)
    z = x
    for unit in units(network).values():
        z = nn.functional.leaky_relu(unit(z), 0.01)
        z = nn.functional.max_pool2d(z, 2) if downsample == "pool" else z
    assert torch.allclose(network.features(x), z.flatten(1), atol=1e-6)


def test_evaluation_mode_reaches_a_part_that_was_put_into_training_mode_by_itself():
    network = make("conv").eval()
    part = next(iter(units(network).values()))
    part.train()
    assert not network.training and part.training
    network.eval()
    assert not any(module.training for module in network.modules())
    assert network.train().training and all(module.training for module in network.modules())
