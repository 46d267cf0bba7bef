"""What an episode is composed of, for a whole meta-batch at once: how many classes, and how many shots and queries of each."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from scenarios.counter_rng import CounterRandomness, Real, Whole

Flags = NDArray[np.bool_]

_WAYS, _SIZE, _WEIGHTS, _ORDER, _PROPORTIONS = 10, 11, 12, 13, 14


def num_ways(least: int | None, most: int, randomness: CounterRandomness) -> Flags:
    """Which labels each episode has.

    Args:
        least: the fewest classes, or None for always `most`.
        most: the most classes.
        randomness: of the episodes.

    Returns:
        [E, most]; true for 0..n-1, n uniform between the two.
    """
    if least is None:
        return np.ones((randomness.count, most), np.bool_)
    return np.arange(most) < least + randomness.below(_WAYS, most - least + 1)[:, None]


def num_shots(least: int | None, most: int, ways: Flags, sizes: Whole, randomness: CounterRandomness) -> Whole:
    """How many support images each class has.

    Meta-Dataset's rule (Triantafillou et al. 2020, appendix), between bounds: the support set has `sum_c ceil(beta most)` images, beta
    uniform on (0, 1); what it has beyond the least that all classes get is shared out by weights `exp(alpha_c) |class c|`, alpha uniform
    on (log 1/2, log 2).

    Args:
        least: the fewest images a class, or None for always `most`.
        most: the most images a class.
        ways: [E, W], which labels an episode has.
        sizes: [E, W], how many images the classes have in all.
        randomness: of the episodes.

    Returns:
        [E, W], 0 for absent labels.
    """
    if least is None:
        return ways * np.int64(most)
    beta = randomness.uniform(_SIZE, 1)
    alpha = (2 * randomness.uniform(_WEIGHTS, ways.shape[1]) - 1) * math.log(2)
    weights = np.exp(alpha) * sizes * ways
    spare = ways.sum(1, keepdims=True) * np.maximum(np.ceil(beta * most) - least, 0)
    shots = least + np.floor(weights / weights.sum(1, keepdims=True) * spare).astype(np.int64)
    return np.minimum(shots, most) * ways


def num_queries(imbalance: str, concentration: float, mean: int, ways: Flags, room: Whole, randomness: CounterRandomness) -> Whole:
    """How many query images each class has; in all, `mean` times the number of classes.

    Args:
        imbalance: `none`, `fixed` (evenly spaced from 1 to 2 mean - 1, in random order) or `dirichlet`.
        concentration: of the Dirichlet distribution.
        mean: query images a class, on average.
        ways: [E, W], which labels an episode has.
        room: [E, W], the most that a class can give, at least `mean`.
        randomness: of the episodes.

    Returns:
        [E, W], 0 for absent labels.
    """
    if imbalance == "none":
        return ways * np.int64(mean)
    classes = ways.sum(1, keepdims=True)
    if imbalance == "fixed":
        keys = np.where(ways, randomness.uniform(_ORDER, ways.shape[1]), 2.0)
        shares = (1 + _ranks(keys) * (2 * mean - 2) / (classes - 1)) * ways
    else:
        gammas = randomness.gamma(_PROPORTIONS, concentration, ways.shape[1]) * ways
        shares = gammas / gammas.sum(1, keepdims=True) * (mean * classes)
    return _within(_whole(shares, mean * classes), room * ways)


def lay_out(counts: Whole, slots: int) -> tuple[Whole, Whole, Flags]:
    """Put the images of all classes of an episode one after another.

    Args:
        counts: [E, W], images of each label.
        slots: how many places there are; the images fill the first.

    Returns:
        [E, slots] labels, [E, slots] positions within the class (both 0 in empty places), and [E, slots], which places are filled.

    Example:
        >>> [part.tolist() for part in lay_out(np.array([[1, 2]]), 4)]
        [[[0, 1, 1, 0]], [[0, 0, 1, 0]], [[True, True, True, False]]]
    """
    places = np.arange(slots)
    ends = counts.cumsum(1)
    filled = places < ends[:, -1:]
    labels = np.zeros((len(counts), slots), np.int64)
    for end in ends.T[:-1]:
        labels += places >= end[:, None]
    labels *= filled
    return labels, np.where(filled, places - np.take_along_axis(ends - counts, labels, 1), 0), filled


def _ranks(keys: Real) -> Whole:
    return keys.argsort(1, kind="stable").argsort(1, kind="stable")


def _whole(shares: Real, totals: Whole) -> Whole:
    # Largest remainders: round down, then one more for the largest fractions until the total is right.
    whole = np.floor(shares).astype(np.int64)
    return whole + (_ranks(whole - shares) < totals - whole.sum(1, keepdims=True))


def _within(counts: Whole, room: Whole) -> Whole:
    # What a class cannot give is taken from the others, in the order of their labels (which is random).
    capped = np.minimum(counts, room)
    free = room - capped
    lacking = (counts - capped).sum(1, keepdims=True)
    return capped + np.clip(lacking - (free.cumsum(1) - free), 0, free)
