"""How many runs share a GPU: as many as its memory holds, told by what was free before the first and by the most that one took.

The first run on each GPU is alone. From then on a run is taken to need a quarter more than the greatest peak so far, and what a process has
there before it computes anything. Where memory runs out all the same, fewer share that GPU from then on, and the run goes on.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

MARGIN = 1.25
"""Memory that a run is taken to need, in its peak's: what the allocator holds beside it, and runs that are somewhat larger."""
CONTEXT = 600 * 2**20
"""Bytes that a process takes on a GPU before it computes anything."""
USED = 0.95
"""Share of the free memory that is filled."""


def count() -> int:
    """How many GPUs there are; for a process that may import torch.

    Returns:
        A number from 0.
    """
    import torch

    return torch.cuda.device_count()


def free(device: int) -> int:
    """Memory of a GPU that nobody has; for a process that computes there.

    Args:
        device: its number.

    Returns:
        Bytes.
    """
    import torch

    return torch.cuda.mem_get_info(device)[0]


@dataclass
class Sharing:
    """The GPUs of this machine, and the runs on each.

    Attributes:
        devices: how many GPUs there are.
        most: runs on one at most.
        fixed: whether exactly so many share one, without a look at memory.
        memory: `module:function` that tells a GPU's free bytes, in a process that computes there.
        available: bytes that were free on each GPU before its first run.
        peak: bytes that the run with most of them took; 0 before one is over.
        running: runs on each GPU now.
        limit: runs on each GPU where memory ran out with more.
    """

    devices: int
    most: int
    fixed: bool = False
    memory: str = f"{__name__}:free"
    available: dict[int, int] = field(default_factory=dict)
    peak: int = 0
    running: Counter[int] = field(default_factory=Counter)
    limit: dict[int, int] = field(default_factory=dict)

    def capacity(self, device: int) -> int:
        """How many runs a GPU takes.

        Args:
            device: its number.

        Returns:
            At least 1.
        """
        most = min(self.most, self.limit.get(device, self.most))
        if self.fixed:
            return most
        if not self.peak or device not in self.available:
            return 1
        return max(1, min(most, int(USED * self.available[device] / (MARGIN * self.peak + CONTEXT))))

    @property
    def room(self) -> int:
        """How many more runs are taken now."""
        return sum(max(0, self.capacity(device) - self.running[device]) for device in range(self.devices))

    def choose(self) -> int:
        """The GPU of the next run: of those with room, the one with the fewest.

        Returns:
            Its number.
        """
        roomy = [device for device in range(self.devices) if self.running[device] < self.capacity(device)]
        return min(roomy or range(self.devices), key=lambda device: self.running[device])

    def ended(self, device: int, peak: int) -> None:
        """A run is over.

        Args:
            device: where it was.
            peak: bytes that it took at most; 0 where that is not known.
        """
        self.running[device] -= 1
        self.peak = max(self.peak, peak)

    def overflowed(self, device: int) -> bool:
        """Memory has run out in a run, which is over.

        Args:
            device: where it was.

        Returns:
            Whether it shared the GPU, so that it may find room with fewer beside it.
        """
        self.running[device] -= 1
        shared = self.running[device] > 0
        if shared:
            self.limit[device] = self.running[device]
        return shared
