"""Networks of the user's own: any module from images to features becomes the backbone of a network, with a head of its own behind it.

What is registered (`networks.register`) is called with the shape of an image, (C, H, W), and where it has a `Config` (a keyword-only frozen
dataclass) with an instance of that as well. How many features it gives is found by showing it two images of zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import make_dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from scenarios.errors import UserError
from strategies.networks.network import Network, NetworkConfig


class OwnNetwork(Network):
    """A backbone of the user's own and a head."""

    Config: ClassVar[type] = NetworkConfig
    name: ClassVar[str]
    make: ClassVar[Callable[..., Any]]

    @classmethod
    def build(cls, config: Any, input_shape: tuple[int, int, int], blocks: Sequence[range]) -> OwnNetwork:
        """Make the network.

        Args:
            config: its options.
            input_shape: shape of one image, (C, H, W).
            blocks: the head's blocks of outputs.

        Returns:
            The network, initialised from the global generator.

        Raises:
            UserError: the backbone cannot be made, or does not turn images into features.
        """
        options = (config,) if hasattr(cls.make, "Config") else ()
        try:
            backbone = cls.make(input_shape, *options)
            if not isinstance(backbone, nn.Module):
                raise UserError(f"network '{cls.name}' is to give a torch.nn.Module, not {type(backbone).__name__}")
            backbone.eval()
            with torch.no_grad():
                features = backbone(torch.zeros(2, *input_shape))
        except UserError:
            raise
        except Exception as error:
            what = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
            raise UserError(f"network '{cls.name}' fails on images of shape {input_shape} ({what}); choose another") from error
        if not isinstance(features, Tensor) or features.dim() != 2 or len(features) != 2:
            given = f"a tensor of shape {tuple(features.shape)}" if isinstance(features, Tensor) else type(features).__name__
            raise UserError(f"network '{cls.name}' turns 2 images into {given}, not into features [2, F]; end it with torch.nn.Flatten()")
        return cls(backbone.train(), features.shape[1], blocks)


def component(name: str, make: Callable[..., Any]) -> type[Network]:
    """Make a network of what a user registers.

    Args:
        name: what the user types.
        make: a class or function that gives a backbone; or a `Network` with a `Config` and `build`, which is left as it is.

    Returns:
        The network's class; its options are those of `make` and those of all networks.
    """
    if isinstance(make, type) and issubclass(make, Network):
        return make
    config: type = getattr(make, "Config", NetworkConfig)
    if not issubclass(config, NetworkConfig):
        config = make_dataclass(config.__name__, (), bases=(config, NetworkConfig), frozen=True, kw_only=True)
    described = {"__module__": make.__module__, "__doc__": make.__doc__, "Config": config, "name": name, "make": staticmethod(make)}
    return type(make.__name__, (OwnNetwork,), {**described, "channels_last": getattr(make, "channels_last", False)})
