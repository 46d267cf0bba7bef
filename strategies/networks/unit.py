"""Units: what backbones are made of, so that a method can take a network apart without knowing its kind.

A unit is a maximal run of layers that is one affine map in evaluation mode: a linear or convolutional layer, a batch norm, or the one after
the other. ResCL mixes units, XK-FAC merges them, H-net/C-net slices them. Between units lie nonlinearities, pooling and additions. A
backbone only ever calls its units, so that any module of the same shapes can stand in a unit's place.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from scenarios.errors import UserError


class Unit(nn.Module):
    """A layer, a batch norm, or both.

    Args:
        layer: linear or convolutional; None for a batch norm alone.
        norm: batch norm; None for a layer alone.
    """

    def __init__(self, layer: nn.Linear | nn.Conv2d | None, norm: nn.BatchNorm1d | nn.BatchNorm2d | None = None) -> None:
        super().__init__()
        assert layer is not None or norm is not None
        self.layer = layer
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer, then the norm.

        Args:
            x: [B, C, ...].

        Returns:
            [B, C', ...].
        """
        if self.layer is not None:
            x = self.layer(x)
        return self.norm(x) if self.norm is not None else x

    @property
    def out_channels(self) -> int:
        """Channels (or neurons) of the output."""
        if self.norm is not None:
            return self.norm.num_features
        assert self.layer is not None
        return self.layer.weight.shape[0]


def units(network: nn.Module) -> dict[str, Unit]:
    """Find the units of a network.

    Args:
        network: the network.

    Returns:
        The units by their names in the network, in the order in which it holds them.

    Example:
        >>> list(units(nn.Sequential(nn.Flatten(), Unit(nn.Linear(4, 3)), nn.ReLU(), Unit(nn.Linear(3, 2)))))
        ['1', '3']
    """
    return {name: module for name, module in network.named_modules() if isinstance(module, Unit)}


def replace_units(network: nn.Module, replacement: Callable[[str, Unit], nn.Module]) -> None:
    """Put another module in the place of each unit.

    Args:
        network: is changed.
        replacement: from a unit's name and the unit to what stands there from now on.
    """
    for name, unit in units(network).items():
        parent, _, attribute = name.rpartition(".")
        setattr(network.get_submodule(parent), attribute, replacement(name, unit))


def require_units(backbone: nn.Module, who: str) -> None:
    """Refuse a backbone that cannot be taken apart into units.

    Args:
        backbone: the backbone.
        who: the method that takes it apart.

    Raises:
        UserError: there is a layer or a batch norm outside units, or a unit whose parts are of another kind.
    """
    held = {id(part) for unit in units(backbone).values() for part in unit.modules()}
    advice = "wrap each layer and its batch norm in strategies.networks.unit.Unit, or choose another --network"
    for name, module in backbone.named_modules():
        whose = f"'{name}' ({type(module).__name__})"
        if isinstance(module, Unit):
            _require_parts(module, name, who)
        elif id(module) not in held and (isinstance(module, _BatchNorm) or [*module.parameters(recurse=False)]):
            raise UserError(f"{who} takes networks apart into units, and {whose} lies in none; {advice}")


def _require_parts(unit: Unit, name: str, who: str) -> None:
    layer, norm = unit.layer, unit.norm
    plain = not isinstance(layer, nn.Conv2d) or (layer.padding_mode == "zeros" and not isinstance(layer.padding, str))
    if layer is not None and not (isinstance(layer, (nn.Linear, nn.Conv2d)) and plain):
        raise UserError(f"{who} knows units of nn.Linear or nn.Conv2d with zeros as padding, given as numbers; '{name}' has {layer}")
    if norm is not None and not (isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d)) and norm.affine and norm.track_running_stats):
        raise UserError(f"{who} knows units that end with an affine batch norm with running statistics; '{name}' has {norm}")
