"""Which images belong to which class: the index from which episodes are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from scenarios.images import ImageSet
from scenarios.random import Randomness


@dataclass(frozen=True, eq=False)
class ClassTable:
    """Classes and their rows.

    A row that exceeds the number of images stands for a quarter turn: row `t * len(images) + r` is image r, turned t times.

    Attributes:
        rows: int64 [n], the images of class 0, then those of class 1, ...; within a class the labelled ones first.
        starts: int64 [K], where each class begins in `rows`.
        sizes: int64 [K], its number of images.
        labelled: int64 [K], how many of them may be support and query.
        names: the classes.
    """

    rows: Tensor
    starts: Tensor
    sizes: Tensor
    labelled: Tensor
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.sizes)


def class_table(
    images: ImageSet, classes: Sequence[int], *, turns: int = 1, label_ratio: float = 1.0, randomness: Randomness | None = None
) -> ClassTable:
    """Index classes of an image set.

    Args:
        images: the set.
        classes: which of its classes.
        turns: 4 to make each quarter turn of a class a class of its own, else 1.
        label_ratio: share of each class's images that is labelled, at least one.
        randomness: decides which those are; needed where the ratio is below 1.

    Returns:
        The table; the turns of a class follow one another.

    Example:
        >>> from scenarios.sources import load
        >>> table = class_table(load("digits")[0], [3, 7])
        >>> table.names, bool((load("digits")[0].labels[table.rows[: table.sizes[0]]] == 3).all())
        (('3', '7'), True)
    """
    order = torch.argsort(images.labels, stable=True)
    counts = torch.bincount(images.labels, minlength=len(images.class_names))
    firsts = counts.cumsum(0) - counts
    rows, names = [], []
    for c in classes:
        own = order[firsts[c] : firsts[c] + counts[c]]
        for turn in range(turns):
            if label_ratio < 1:
                assert randomness is not None
                own = own[torch.randperm(len(own), generator=randomness.generator("labelled", c, turn))]
            rows.append(own + turn * len(images))
            names.append(images.class_names[c] + (f" turned {90 * turn}" if turn else ""))
    sizes = counts[torch.tensor(list(classes), dtype=torch.int64)].repeat_interleave(turns)
    labelled = (sizes * label_ratio).round().long().clamp_min(1)
    return ClassTable(torch.cat(rows), sizes.cumsum(0) - sizes, sizes, labelled, tuple(names))
