"""The H-net: index modules, which say from an image alone to which task it belongs (see `hnet_cnet`).

An index module scores an image for each task known; the highest score names the task, the lowest index where scores are equal. It reads
real images only while their task is learned. Modules that generate are in `hnet_gan`. `autoencoder` does not: each task's
autoencoder learns its images, and the one with the least squared error names the task (the gate of Aljundi et al. 2017, arXiv 1611.06194).

What is kept of a task is packed (`networks.packed`) when it is finished, and what learns is there once, for the task at hand. That is ours.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scenarios.batches import Shuffled
from scenarios.experience import Batch, Experience
from strategies.base import Setup
from strategies.memory.hnet_options import IndexOptions
from strategies.networks.generative import Autoencoder, initialised
from strategies.networks.packed import Packed
from strategies.phase import Optimizer, Phase, Step, Update


class IndexModule(ABC):
    """What the index modules share: their networks, and how images are shown to them.

    Args:
        setup: what will be met.
        options: how it is trained.
    """

    def __init__(self, setup: Setup, options: IndexOptions) -> None:
        self.options = options
        self.randomness = setup.randomness
        channels, *sides = setup.scenario.input_shape
        height, width = (-(-side // options.index_pool) for side in sides)
        self.shape = (channels, height, width)
        self.num_tasks = len(setup.scenario)
        storage = setup.scenario.experiences[0].train.storage
        self.scale, self.shift, self.dtype = storage.scale, storage.shift, next(setup.build_network().parameters()).dtype
        self.networks = self.build().to(setup.device)

    @abstractmethod
    def build(self) -> nn.ModuleDict:
        """Make the networks for all tasks.

        Returns:
            The networks; what is kept from task to task is in lists of packed ones.
        """

    @abstractmethod
    def phases(self, experience: Experience) -> list[Phase]:
        """What is done to know a task again.

        Args:
            experience: the task.

        Returns:
            The phases, in order.
        """

    @abstractmethod
    def scores(self, x: Tensor, learned: int) -> Tensor:
        """How well images fit each task.

        Args:
            x: float [B, C, H, W], normalised as for the network.
            learned: how many tasks are known.

        Returns:
            [B, learned]; the highest names the task.
        """

    def images(self, x: Tensor) -> Tensor:
        """Take the network's normalisation back, and average over neighbouring pixels.

        Args:
            x: float [B, C, H, W], normalised as for the network.

        Returns:
            The images in [-1, 1], laid out plainly, `index_pool` times smaller (a window at the edge may hold fewer pixels).
        """
        plain = (((x - self.shift) / self.scale) / 127.5 - 1).to(x.dtype, memory_format=torch.contiguous_format)
        pool = self.options.index_pool
        return functional.avg_pool2d(plain, pool, ceil_mode=True) if pool > 1 else plain

    def bytes(self, learned: int) -> dict[str, int]:
        """What is kept from task to task.

        Args:
            learned: how many tasks are known.

        Returns:
            Bytes, by what they are of.
        """
        kept = {name: nn.ModuleList(part[:learned]) for name, part in self.networks.items() if isinstance(part, nn.ModuleList)}
        return {name: sum(value.nbytes for value in part.state_dict().values()) for name, part in kept.items()}

    def samples(self, learned: int, number: int) -> Tensor | None:
        """What the module remembers of each task, as pictures.

        Args:
            learned: how many tasks are known.
            number: pictures of each.

        Returns:
            uint8 [learned, number, C, H, W], or None where it remembers no pictures.
        """
        return None

    def _new(self, make: Any, *purpose: str | int) -> nn.Module:
        return initialised(make, self.randomness.key("h-net", *purpose)).to(self.dtype)

    def _packed(self, make: Any, *purpose: str | int) -> Packed:
        return Packed(self._new(make, *purpose), self.options.index_storage)


def as_pictures(images: Tensor) -> Tensor:
    """Images as pixels.

    Args:
        images: float [...], in [-1, 1].

    Returns:
        uint8 [...], on the CPU.
    """
    return ((images + 1) * 127.5).round().to(torch.uint8).cpu()


class AutoencoderIndex(IndexModule):
    """An autoencoder for each task; the least error names the task."""

    def build(self) -> nn.ModuleDict:
        """Make the autoencoders.

        Returns:
            The networks.
        """
        parts = [self._packed(self._autoencoder, "autoencoder", task) for task in range(self.num_tasks)]
        return nn.ModuleDict({"autoencoders": nn.ModuleList(parts), "learner": self._new(self._autoencoder, "autoencoder", 0)})

    def _autoencoder(self) -> nn.Module:
        return Autoencoder(self.shape, self.options.latent)

    def phases(self, experience: Experience) -> list[Phase]:
        """Learn to reconstruct a task's images.

        Args:
            experience: the task.

        Returns:
            One phase.
        """
        kept: Any = self.networks["autoencoders"]
        learner, task = self.networks["learner"], experience.index

        def begin() -> None:
            learner.load_state_dict(self._new(self._autoencoder, "autoencoder", task).state_dict())

        def loss(batch: Batch) -> Step:
            images = self.images(batch.x)
            return Step(functional.mse_loss(learner(images), images))

        adam = Optimizer(kind="adam", learning_rate=self.options.index_learning_rate)
        update = Update(loss=loss, parameters=learner.parameters, name="autoencoder", optimizer=adam)
        source, steps = Shuffled(experience.train, self.options.index_batch_size), self.options.generator_iterations
        end = partial(kept[task].keep, learner)
        return [Phase(name="autoencoder", batches=source, updates=(update,), iterations=steps, begin=begin, end=end, fresh=True)]

    def scores(self, x: Tensor, learned: int) -> Tensor:
        """The negative errors.

        Args:
            x: float [B, C, H, W], normalised as for the network.
            learned: how many tasks are known.

        Returns:
            [B, learned].
        """
        images = self.images(x)
        autoencoders: Any = self.networks["autoencoders"]
        errors = [(autoencoders[task](images) - images).square().mean((1, 2, 3)) for task in range(learned)]
        return -torch.stack(errors, 1)
