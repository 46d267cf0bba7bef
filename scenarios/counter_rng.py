"""Random numbers as a function of a counter: whole blocks of them at once, each a pure function of (key, counter, purpose, position).

A `torch.Generator` gives numbers one after another; an episode that must be the same in a batch of 1 and in a batch of 32 would need a
generator of its own. Here episode i's numbers are SplitMix64 (Steele, Lea & Flood, OOPSLA 2014) started at a hash of (key, i): the n-th is
a mixing function of `state + n * gamma`, so any block of them is a few array operations on 64-bit words. Each purpose has a range of n of
its own. The arrays are NumPy's: they are small, and its operations begin faster than torch's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Whole = NDArray[np.int64]
Real = NDArray[np.float64]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_ROW = 1 << 24  # positions from one row of a sample to the next
_PURPOSE = 1 << 48  # positions from one purpose to the next
_ATTEMPTS = 8


def mix(words: Words) -> Words:
    """SplitMix64's finaliser, a bijection of 64-bit words that leaves no visible structure.

    Args:
        words: any shape.

    Returns:
        The same shape.

    Example:
        >>> [hex(word) for word in mix(np.array([0x9E3779B97F4A7C15], np.uint64))]  # the first number of SplitMix64(0)
        ['0xe220a8397b1dcdaf']
    """
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words ^= words >> np.uint64(27)
    words *= _SECOND
    words ^= words >> np.uint64(31)
    return words


@dataclass(frozen=True, eq=False)
class CounterRandomness:
    """The randomness of a block of counters (episodes).

    Attributes:
        key: the stream's key, at most 64 bits.
        first: the first counter.
        count: how many counters, `E` below.
    """

    key: int
    first: int
    count: int

    @cached_property
    def _states(self) -> Words:
        counters = np.uint64(self.first) + np.arange(self.count, dtype=np.uint64)
        return mix(mix(np.array([self.key], np.uint64)) + counters * _GAMMA)

    def words(self, purpose: int, positions: Whole) -> Words:
        """Random words.

        Args:
            purpose: what they are for; other purposes get other words.
            positions: any shape: which of the purpose's words.

        Returns:
            [E, *positions.shape], uniform over all 64-bit words.
        """
        steps = (positions + (purpose * _PURPOSE + 1)).astype(np.uint64) * _GAMMA
        return mix(self._states.reshape(-1, *[1] * positions.ndim) + steps)

    def uniform(self, purpose: int, count: int) -> Real:
        """Uniform numbers.

        Args:
            purpose: what they are for.
            count: how many for each counter.

        Returns:
            [E, count] in the open interval (0, 1).
        """
        return _unit(self.words(purpose, np.arange(count)))

    def below(self, purpose: int, bound: int) -> Whole:
        """One uniform whole number for each counter.

        Args:
            purpose: what it is for.
            bound: above the largest.

        Returns:
            [E] in 0..bound-1.
        """
        return (self.words(purpose, np.arange(1))[:, 0] % np.uint64(bound)).astype(np.int64)

    def sample(self, purpose: int, sizes: Whole, count: int) -> Whole:
        """Ordered samples without replacement, every one equally likely (up to size / 2^64).

        The j-th draw is a rank among the `size - j` items that are left (a Lehmer code); decoding the code from its end gives the items.
        The first draws of a sample do not depend on how many follow.

        Args:
            purpose: what they are for.
            sizes: [E, R], the sizes of R populations for each counter.
            count: items of each sample. What exceeds a population's size is meaningless.

        Returns:
            [E, R, count], items 0..size-1.
        """
        draws = np.arange(count)[:, None]
        words = self.words(purpose, draws + _ROW * np.arange(sizes.shape[1]))
        left = np.maximum(sizes[:, None] - draws, 1).astype(np.uint64)
        items = np.ascontiguousarray((words % left).transpose(1, 0, 2)).view(np.int64)
        for j in range(count - 2, -1, -1):
            rest = items[j + 1 :]
            rest += rest >= items[j]
        return items.transpose(1, 2, 0)

    def gamma(self, purpose: int, shape: float, count: int) -> Real:
        """Gamma variates of scale 1 (Marsaglia & Tsang 2000).

        The rejection method, with a fixed number of attempts: the chance that a variate passes none of them is below 1e-10.

        Args:
            purpose: what they are for.
            shape: the distribution's shape parameter, above 0.
            count: how many for each counter.

        Returns:
            [E, count].
        """
        d = (shape + 1 if shape < 1 else shape) - 1 / 3
        positions = np.arange(3 * _ATTEMPTS * count).reshape(3, _ATTEMPTS, count)
        first, second, third = np.moveaxis(_unit(self.words(purpose, positions)), 1, 0)
        normal = np.sqrt(-2 * np.log(first)) * np.cos(2 * math.pi * second)
        v = np.maximum(1 + normal / math.sqrt(9 * d), 1e-100) ** 3
        accepted = np.log(third) < normal**2 / 2 + d * (1 - v + np.log(v))
        variates: Real = d * np.take_along_axis(v, accepted.argmax(1)[:, None], 1)[:, 0]
        if shape < 1:
            variates *= _unit(self.words(purpose, positions.size + np.arange(count))) ** (1 / shape)
        return variates


def _unit(words: Words) -> Real:
    return ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
