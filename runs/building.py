"""A run's network: made again and again from one seed, laid out as it needs to be, and refused where it could not be held in memory."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from runs.beginnings import Beginning
from runs.parallel import launch, norms
from scenarios.errors import UserError
from scenarios.experience import Scenario
from scenarios.random import Randomness
from strategies.networks import build, networks
from strategies.networks.layout import channels_last
from strategies.networks.network import Network

COPIES = 3
"""What a parameter takes at least: itself, its gradient and its momentum."""


class Builder:
    """Makes the run's network, newly initialised; the same weights at every call.

    Args:
        name: of the network.
        options: its configuration.
        scenario: what is to be learned; for the shape of images and the head.
        randomness: of the run.
        device: where it computes.
        beginning: whose backbone it begins with; None for new weights throughout.

    Attributes:
        channels_last: whether its images lie channels last.
    """

    def __init__(
        self,
        name: str,
        options: object,
        scenario: Scenario,
        randomness: Randomness,
        device: torch.device,
        beginning: Beginning | None = None,
    ) -> None:
        self._arguments = (name, options, scenario.input_shape, scenario.blocks, randomness.key("initialisation"))
        self._device, self._beginning = device, beginning
        # Not those of other libraries and of users: what they do when they are made may need memory that is there.
        if networks.load(name)[0].__module__.startswith("strategies.networks.") and not hasattr(options, "weights"):
            self._refuse_too_large()
        network = build(*self._arguments)
        self.channels_last = channels_last(network, device)
        self._first: Network | None = self._placed(network)

    def __call__(self) -> Network:
        """Make the network.

        Returns:
            The network on its device.
        """
        # The one that showed which layout it needs is handed out, not thrown away.
        network, self._first = self._first, None
        return network if network is not None else self._placed(build(*self._arguments))

    def _placed(self, network: Network) -> Network:
        if self._beginning is not None:
            self._beginning.give(network)
        if launch.size() > 1:
            norms.share(network)
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return network.to(self._device).to(memory_format=layout)

    def _refuse_too_large(self) -> None:
        try:
            with torch.device("meta"):
                count = sum(parameter.numel() for parameter in build(*self._arguments).parameters())
        except RuntimeError as error:
            raise UserError(f"network '{self._arguments[0]}' of this size has too many parameters to count; make it smaller") from error
        free, needed = free_bytes(self._device), 4 * COPIES * count
        if free is not None and needed > free:
            raise UserError(
                f"network '{self._arguments[0]}' of this size has {count:,} parameters, which with gradients and momentum take "
                f"{needed / 1e9:.0f} GB; {free / 1e9:.0f} GB are free: make it smaller"
            )


def free_bytes(device: torch.device) -> int | None:
    """Memory that is free.

    Args:
        device: where.

    Returns:
        Bytes; None where the system does not say.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
