"""The fully connected network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

from torch import nn

from scenarios.options import option
from strategies.networks.network import Network, NetworkConfig
from strategies.networks.unit import Unit


@dataclass(frozen=True, kw_only=True)
class MlpConfig(NetworkConfig):
    """Options of `mlp`, beside those of all networks.

    Attributes:
        hidden: widths of the hidden layers, for instance 400,400.
        norm: batch norm after each hidden layer, or none.
    """

    hidden: tuple[int, ...] = option((256, 256), low=1)
    norm: Literal["none", "batch"] = "none"


class Mlp(Network):
    """Flatten, then linear layers with ReLU."""

    Config = MlpConfig

    @classmethod
    def build(cls, config: MlpConfig, input_shape: tuple[int, int, int], blocks: Sequence[range]) -> Mlp:
        """Make the network.

        Args:
            config: its options.
            input_shape: shape of one image, (C, H, W).
            blocks: the head's blocks of outputs.

        Returns:
            The network, initialised from the global generator.
        """
        layers: list[nn.Module] = [nn.Flatten()]
        width = prod(input_shape)
        for hidden in config.hidden:
            layers += [Unit(nn.Linear(width, hidden), nn.BatchNorm1d(hidden) if config.norm == "batch" else None), nn.ReLU(inplace=True)]
            width = hidden
        return cls(nn.Sequential(*layers), width, blocks)
