"""What an episode is composed of, for a whole meta-batch at once: how many classes, and how many shots and queries of each."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scenarios.counter_rng import CounterRandomness

_WAYS, _SIZE, _WEIGHTS, _ORDER, _PROPORTIONS = 10, 11, 12, 13, 14


def num_ways(least: int | None, most: int, randomness: CounterRandomness) -> Tensor:
    """Which labels each episode has.

    Args:
        least: the fewest classes, or None for always `most`.
        most: the most classes.
        randomness: of the episodes.

    Returns:
        bool [E, most]; true for 0..n-1, n uniform between the two.
    """
    episodes = len(randomness.counters)
    if least is None or least == most:
        return torch.ones(episodes, most, dtype=torch.bool)
    return torch.arange(most) < least + randomness.below(_WAYS, most - least + 1)[:, None]


def num_shots(least: int | None, most: int, ways: Tensor, sizes: Tensor, randomness: CounterRandomness) -> Tensor:
    """How many support images each class has.

    Meta-Dataset's rule (Triantafillou et al. 2020, appendix), between bounds: a support size `sum_c ceil(beta most)`, beta uniform
    on (0, 1), is shared out by weights `exp(alpha_c) |class c|`, alpha uniform on [log 1/2, log 2), beyond the least that all have.

    Args:
        least: the fewest images a class, or None for always `most`.
        most: the most images a class.
        ways: bool [E, W], which labels an episode has.
        sizes: int64 [E, W], how many images the classes have in all.
        randomness: of the episodes.

    Returns:
        int64 [E, W], 0 for absent labels.
    """
    if least is None or least == most:
        return ways * most
    beta = randomness.uniform(_SIZE, 1)
    alpha = (2 * randomness.uniform(_WEIGHTS, ways.shape[1]) - 1) * math.log(2)
    weights = alpha.exp() * sizes * ways
    spare = ways.sum(1, keepdim=True) * ((beta * most).ceil() - least).clamp_min(0)
    shots = least + (weights / weights.sum(1, keepdim=True) * spare).floor().long()
    return shots.clamp_max(most) * ways


def num_queries(
    imbalance: str, concentration: float, mean: int, ways: Tensor, room: Tensor, randomness: CounterRandomness
) -> Tensor:
    """How many query images each class has; in all, `mean` times the number of classes.

    Args:
        imbalance: `none`, `fixed` (evenly spaced from 1 to 2 mean - 1, in random order) or `dirichlet`.
        concentration: of the Dirichlet distribution.
        mean: query images a class, on average.
        ways: bool [E, W], which labels an episode has.
        room: int64 [E, W], the most that a class can give, at least `mean`.
        randomness: of the episodes.

    Returns:
        int64 [E, W], 0 for absent labels.
    """
    if imbalance == "none":
        return ways * mean
    classes = ways.sum(1, keepdim=True)
    if imbalance == "fixed":
        keys = randomness.uniform(_ORDER, ways.shape[1]).masked_fill(~ways, 2.0)
        ranks = keys.argsort(1).argsort(1)
        shares = (1 + ranks * (2 * mean - 2) / (classes - 1)) * ways
    else:
        gammas = randomness.gamma(_PROPORTIONS, concentration, ways.shape[1]) * ways
        shares = gammas / gammas.sum(1, keepdim=True) * (mean * classes)
    return _within(_whole(shares, mean * classes), room * ways)


def lay_out(counts: Tensor, slots: int, padded: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Put the images of all classes of an episode one after another.

    Args:
        counts: int64 [E, W], images of each label.
        slots: how many places there are; the images fill the first.
        padded: whether some places may stay empty.

    Returns:
        int64 [E, slots] labels and int64 [E, slots] positions within the class (both 0 in empty places), and bool [E, slots], which places
        are filled, or None where not padded.

    Example:
        >>> lay_out(torch.tensor([[1, 2]]), 4, True)
        (tensor([[0, 1, 1, 0]]), tensor([[0, 0, 1, 0]]), tensor([[ True,  True,  True, False]]))
    """
    places = torch.arange(slots).expand(len(counts), -1)
    ends = counts.cumsum(1)
    labels = torch.searchsorted(ends, places.contiguous(), right=True)
    if not padded:
        return labels, places - (ends - counts).gather(1, labels), None
    filled = places < ends[:, -1:]
    labels = labels * filled
    return labels, (places - (ends - counts).gather(1, labels)) * filled, filled


def _whole(shares: Tensor, totals: Tensor) -> Tensor:
    # Largest remainders: round down, then one more for the largest fractions until the total is right.
    whole = shares.floor().long()
    left = totals - whole.sum(1, keepdim=True)
    ranks = (whole - shares).argsort(dim=1, stable=True).argsort(1)
    return whole + (ranks < left)


def _within(counts: Tensor, room: Tensor) -> Tensor:
    # What a class cannot give is taken from the others, in the order of their labels (which is random).
    capped = torch.minimum(counts, room)
    free = room - capped
    lacking = (counts - capped).sum(1, keepdim=True)
    before = free.cumsum(1) - free
    return capped + torch.minimum((lacking - before).clamp_min(0), free)
