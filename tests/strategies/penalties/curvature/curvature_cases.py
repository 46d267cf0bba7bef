"""Small networks in float64 for the tests of curvature."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from strategies.networks.network import Network
from strategies.networks.unit import Unit, units
from strategies.penalties.curvature.merge import MergedLayer

Factory = type[nn.Module]


def randomise(network: nn.Module, seed: int = 0) -> None:
    """Weights, scales (some negative), shifts and statistics that are all different."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.weight.data = torch.randn(module.weight.shape, generator=generator).double() + 0.3
            module.bias.data = torch.randn(module.bias.shape, generator=generator).double()
            module.running_mean = torch.randn(module.weight.shape, generator=generator).double()
            module.running_var = torch.rand(module.weight.shape, generator=generator).double() + 0.3


def mlp(norm: bool = True, widths: tuple[int, ...] = (4, 5, 5), classes: int = 3, seed: int = 0) -> Network:
    """Linear layers with batch norms, ReLU, and a head; input [N, 1, 2, 2]."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: list[nn.Module] = [nn.Flatten()]
        for width, out in zip(widths, widths[1:]):
            layers += [Unit(nn.Linear(width, out), nn.BatchNorm1d(out) if norm else None), nn.ReLU(inplace=True)]
        network = Network(nn.Sequential(*layers), widths[-1], [range(classes)]).double()
    randomise(network, seed)
    return network


def conv(norm: bool = True, bias: bool = False, groups: int = 1, seed: int = 0) -> Network:
    """Two convolutions on [N, 2, 4, 4], and a head of 3 outputs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        first = Unit(nn.Conv2d(2, 4, 3, padding=1, bias=bias or not norm), nn.BatchNorm2d(4) if norm else None)
        second = Unit(nn.Conv2d(4, 4, 3, stride=2, bias=bias or not norm, groups=groups), nn.BatchNorm2d(4) if norm else None)
        backbone = nn.Sequential(first, nn.ReLU(inplace=True), second, nn.ReLU(inplace=True), nn.Flatten())
        network = Network(backbone, 4, [range(3)]).double()
    randomise(network, seed)
    return network


def images(number: int, shape: tuple[int, int, int], seed: int = 0, mean: float = 0.5) -> Tensor:
    """Random inputs; a mean other than 0, as behind a ReLU, is what makes pairs matter."""
    return torch.randn(number, *shape, generator=torch.Generator().manual_seed(seed)).double() + mean


def unit_layers(network: nn.Module) -> list[MergedLayer]:
    """The units of any module as merged layers."""
    return [MergedLayer(name, unit.layer, unit.norm, unit) for name, unit in units(network).items()]
