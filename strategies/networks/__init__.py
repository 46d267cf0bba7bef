"""Networks: a backbone and a full-width head, built by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from strategies.networks.registry import networks

if TYPE_CHECKING:
    from strategies.networks.network import Network

__all__ = ["build", "networks"]


def build(name: str, config: Any, input_shape: tuple[int, int, int], blocks: Sequence[range], seed: int) -> Network:
    """Make a network, initialised from a seed alone.

    Args:
        name: the network's name.
        config: its options (an instance of the component's `Config`).
        input_shape: shape of one image, (C, H, W).
        blocks: the head's blocks of outputs.
        seed: of the initialisation.

    Returns:
        The network, in training mode, on the CPU; what `freeze` asks for is not trained.
    """
    import torch

    component: Any = networks.load(name)[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = component.build(config, input_shape, blocks)
    if getattr(config, "freeze", None):
        network.freeze(config.freeze)
    return network.train()
