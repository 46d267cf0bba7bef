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

    Attributes:
        rows: [n], the images of class 0, then those of class 1, ...; within a class the labelled ones first.
        starts: [K], where each class begins in `rows`.
        sizes: [K], its number of images.
        labelled: [K], how many of them may be support and query.
        names: the classes.
        part: what the classes are for: train, validation or test.
        in_all: [K], the images of each class that the set has, for other parts as well.
    """

    rows: Whole
    starts: Whole
    sizes: Whole
    labelled: Whole
    names: tuple[str, ...]
    part: str = ""
    in_all: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.sizes)


def class_table(
    images: ImageSet,
    classes: Sequence[int],
    *,
    label_ratio: float = 1.0,
    randomness: Randomness | None = None,
    part: str = "",
    in_all: tuple[int, ...] = (),
) -> ClassTable:
    """Index classes of an image set.

    Args:
        images: the set.
        classes: which of its classes.
        label_ratio: share of each class's images that is labelled, at least one.
        randomness: decides which those are; needed where the ratio is below 1.
        part: what the classes are for: train, validation or test.
        in_all: the images of each class that the set has, for other parts as well.

    Returns:
        The table.

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
    ends = counts.cumsum()
    rows = [order[ends[c] - counts[c] : ends[c]] for c in classes]
    if label_ratio < 1:
        assert randomness is not None
        rows = [own[torch.randperm(len(own), generator=randomness.generator("labelled", c)).numpy()] for c, own in zip(classes, rows)]
    sizes = counts[list(classes)]
    labelled = np.minimum(np.maximum(np.rint(sizes * label_ratio).astype(np.int64), 1), sizes)
    names = tuple(images.class_names[c] for c in classes)
    return ClassTable(np.concatenate(rows), sizes.cumsum() - sizes, sizes, labelled, names, part, in_all)
