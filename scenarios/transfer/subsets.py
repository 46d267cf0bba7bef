"""Piggyback sets: what a third party has of the source. Stratified, drawn once with a seed, the same for every method that is compared."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor

from scenarios.errors import UserError
from scenarios.experience import Examples


def per_class(examples: Examples, count: int, generator: torch.Generator) -> Tensor:
    """Draw as many examples of every class.

    Args:
        examples: where from.
        count: of each class.
        generator: decides which.

    Returns:
        int64 [classes * count], positions in `examples`, ascending.

    Raises:
        UserError: a class has fewer.
    """
    smallest = int(examples.targets.unique(return_counts=True)[1].min())
    if count > smallest:
        raise UserError(f"a piggyback subset of {count} per class is larger than the smallest class, which has {smallest} examples")
    return _stratified(examples, lambda there: count, generator)


def percentage(examples: Examples, percent: float, generator: torch.Generator) -> Tensor:
    """Draw a percentage of every class, at least one example of each.

    Args:
        examples: where from.
        percent: above 0, at most 100.
        generator: decides which.

    Returns:
        int64 [n], positions in `examples`, ascending.
    """
    return _stratified(examples, lambda there: max(1, round(percent / 100 * there)), generator)


def _stratified(examples: Examples, count: Callable[[int], int], generator: torch.Generator) -> Tensor:
    chosen = []
    for target in examples.targets.unique().tolist():
        there = torch.nonzero(examples.targets == target).flatten().cpu()
        chosen.append(there[torch.randperm(len(there), generator=generator)[: count(len(there))]])
    return torch.cat(chosen).sort().values


def digest(examples: Examples, positions: Tensor) -> str:
    """A name for a subset that tells two of them apart, wherever they are drawn.

    Args:
        examples: where from.
        positions: int64 [n].

    Returns:
        12 hexadecimal digits.
    """
    kept = hashlib.sha256(examples.storage.images.fingerprint.encode())
    for values in (examples.rows, examples.targets):
        kept.update(values.cpu()[positions].numpy().tobytes())
    return kept.hexdigest()[:12]


def orders(positions: Tensor, batch_size: int, steps: int, generator: torch.Generator) -> Tensor:
    """Which examples each step sees: pass after pass in a new order, cut into batches of one size.

    Args:
        positions: int64 [n], the subset.
        batch_size: examples a step; all of them where the subset is smaller.
        steps: how many.
        generator: of the orders.

    Returns:
        int64 [steps, min(batch_size, n)], values of `positions`.
    """
    size = min(batch_size, len(positions))
    passes = -(-steps * size // len(positions))
    drawn = torch.cat([torch.randperm(len(positions), generator=generator) for _ in range(passes)])
    return positions[drawn[: steps * size]].view(steps, size)
