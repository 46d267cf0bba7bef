"""Batches of a selection: a keyed shuffle each epoch, and augmentation as operations on whole batches of pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from scenarios.augmentation import Augmentation
from scenarios.experience import Batch, Examples

GeneratorFor = Callable[[str], torch.Generator]


class BatchSource(Protocol):
    """What a phase learns from: any number of passes of a known length."""

    def __len__(self) -> int:
        """Batches in one pass."""

    def epoch(self, generator_for: GeneratorFor) -> Iterator[Batch]:
        """One pass.

        Args:
            generator_for: gives the generator of a purpose (`"order"`, `"augmentation"`, ...) for this pass.

        Yields:
            The batches.
        """


@dataclass(frozen=True, eq=False)
class Shuffled:
    """Every example once a pass, in a new order each time unless the order counts; the last batch may be smaller.

    A last batch of a single example joins the one before it: a batch norm has nothing to normalise by in one example.

    Attributes:
        examples: the selection.
        batch_size: examples a batch.
        augmentation: what is done to the pixels.
        drop_last: leave the smaller last batch out (where a method needs batches of one size).
        in_order: keep the order of the selection in every pass.
    """

    examples: Examples
    batch_size: int
    augmentation: Augmentation = "none"
    drop_last: bool = False
    in_order: bool = False

    @property
    def sizes(self) -> list[int]:
        """Examples in each batch of a pass.

        Example:
            >>> Shuffled(range(9), 4).sizes, Shuffled(range(10), 4).sizes, Shuffled(range(10), 4, drop_last=True).sizes
            ([4, 5], [4, 4, 2], [4, 4])
        """
        whole, rest = divmod(len(self.examples), self.batch_size)
        if not whole:
            return [rest]
        sizes = [self.batch_size] * whole
        if rest == 1 and not self.drop_last:
            sizes[-1] += 1
        elif rest and not self.drop_last:
            sizes.append(rest)
        return sizes

    def __len__(self) -> int:
        return len(self.sizes)

    def order(self, generator_for: GeneratorFor) -> list[Tensor]:
        """The order of one pass.

        Args:
            generator_for: gives the generator of a purpose for this pass.

        Returns:
            For each batch int64 [B], positions in the selection.
        """
        count = len(self.examples)
        order = torch.arange(count) if self.in_order else torch.randperm(count, generator=generator_for("order"))
        order = order.to(self.examples.rows.device)
        return list(order[: sum(self.sizes)].split(self.sizes))

    def epoch(self, generator_for: GeneratorFor) -> Iterator[Batch]:
        """One pass.

        Args:
            generator_for: gives the generator of a purpose for this pass.

        Yields:
            The batches.
        """
        augment = augmenter(self.augmentation, generator_for("augmentation"))
        for positions in self.order(generator_for):
            yield self.examples.batch(positions, augment)


def augmenter(kind: Augmentation, generator: torch.Generator) -> Callable[[Tensor], Tensor] | None:
    """Make a random augmentation of batches.

    Args:
        kind: what is done.
        generator: where its randomness comes from (on the CPU).

    Returns:
        A function of uint8 [B, C, H, W] to the same, or None where nothing is done.
    """
    if kind == "none":
        return None

    def augment(pixels: Tensor) -> Tensor:
        if "crop" in kind:
            pixels = random_crop(pixels, 4 if pixels.shape[-1] >= 32 else 2, generator)
        if "flip" in kind:
            pixels = random_flip(pixels, generator)
        return pixels

    return augment


def random_crop(pixels: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Shift each image by up to `padding` pixels both ways, zeros flowing in.

    All windows of the padded batch are a strided view; indexing it copies just the wanted ones.

    Args:
        pixels: [B, C, H, W].
        padding: the largest shift.
        generator: where the shifts come from (on the CPU).

    Returns:
        [B, C, H, W].
    """
    batch, _, height, width = pixels.shape
    offsets = torch.randint(0, 2 * padding + 1, (2, batch), generator=generator).to(pixels.device)
    windows = torch.nn.functional.pad(pixels, [padding] * 4).unfold(2, height, 1).unfold(3, width, 1)
    return windows[torch.arange(batch, device=pixels.device), :, offsets[0], offsets[1]]


def random_flip(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each image left to right with probability one half.

    Args:
        pixels: [B, C, H, W].
        generator: where the choices come from (on the CPU).

    Returns:
        [B, C, H, W].
    """
    chosen = (torch.rand(len(pixels), generator=generator) < 0.5).nonzero().flatten().to(pixels.device)
    return pixels.index_copy(0, chosen, pixels.index_select(0, chosen).flip(3))
