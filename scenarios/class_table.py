"""Which images belong to which class: the index from which episodes are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from scenarios.counter_rng import Whole
from scenarios.images import ImageSet
from scenarios.random import Randomness


@dataclass(frozen=True, eq=False)
class ClassTable:
    """Classes and their rows.

    A row that exceeds the number of images stands for a quarter turn: row `t * len(images) + r` is image r, turned t times.

    Attributes:
        rows: [n], the images of class 0, then those of class 1, ...; within a class the labelled ones first.
        starts: [K], where each class begins in `rows`.
        sizes: [K], its number of images.
        labelled: [K], how many of them may be support and query.
        names: the classes.
    """

    rows: Whole
    starts: Whole
    sizes: Whole
    labelled: Whole
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
        >>> train, _ = load("digits")
        >>> table = class_table(train, [3, 7])
        >>> table.names, set(train.labels.numpy()[table.rows[: table.sizes[0]]].tolist())
        (('3', '7'), {3})
    """
    labels = images.labels.numpy()
    order = labels.argsort(kind="stable")
    counts = np.bincount(labels, minlength=len(images.class_names))
    firsts = counts.cumsum() - counts
    rows, names = [], []
    for c in classes:
        own = order[firsts[c] : firsts[c] + counts[c]]
        for turn in range(turns):
            if label_ratio < 1:
                assert randomness is not None
                own = own[torch.randperm(len(own), generator=randomness.generator("labelled", c, turn)).numpy()]
            rows.append(own + turn * len(images))
            names.append(images.class_names[c] + (f" turned {90 * turn}" if turn else ""))
    sizes = counts[list(classes)].repeat(turns)
    labelled = np.maximum(np.rint(sizes * label_ratio).astype(np.int64), 1)
    return ClassTable(np.concatenate(rows), sizes.cumsum() - sizes, sizes, labelled, tuple(names))
