"""A data set that a third party is after instead of the source, in the shape and scale that the network knows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from scenarios.experience import Examples
from scenarios.images import ImageSet
from scenarios.sources import load
from scenarios.storage import View
from scenarios.streams.shaping import reshape


def downstream(name: str, like: Examples, root: Path | None) -> tuple[Examples, Examples, int]:
    """Load a set and bring it to what a network was trained on.

    Args:
        name: the set's.
        like: examples of what the network was trained on.
        root: where data sets lie.

    Returns:
        Training and test examples, their targets from 0, and the number of classes.
    """
    sides = load(name, root=root)
    shape = like.storage.images.shape
    train, test = (_examples(reshape(side, shape), like) for side in sides)
    return train, test, len(sides[0].class_names)


def _examples(images: ImageSet, like: Examples) -> Examples:
    device = like.rows.device
    storage = replace(like.storage, images=images, view=View())
    rows = torch.arange(len(images), device=device)
    return Examples(storage, rows, images.labels.to(device), torch.zeros_like(rows), 0)
