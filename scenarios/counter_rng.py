"""Random numbers as a function of a counter: whole blocks of them at once, each a pure function of (key, counter, purpose, position).

A `torch.Generator` gives numbers one after another; an episode that must be the same in a batch of 1 and in a batch of 32 would need a
generator of its own. Here episode i's numbers are SplitMix64 (Steele, Lea & Flood, OOPSLA 2014) started at a hash of (key, purpose, i): the
n-th is a mixing function of `state + n * gamma`, so any block is a few tensor operations on int64 (whose overflow is the arithmetic
modulo 2^64 that the mixing function is defined in).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


def _signed(word: int) -> int:
    return word - (1 << 64) if word >= 1 << 63 else word


_GAMMA = _signed(0x9E3779B97F4A7C15)
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)
_ROW = 1 << 24  # positions of one sample; a sample has fewer numbers
_ATTEMPTS = 8


def mix(words: Tensor) -> Tensor:
    """SplitMix64's finaliser, a bijection of 64-bit words that leaves no visible structure.

    Args:
        words: int64, any shape.

    Returns:
        int64, the same shape.

    Example:
        >>> hex(mix(torch.tensor([0x9E3779B97F4A7C15 - 2**64])).item() % 2**64)  # the first number of SplitMix64(0)
        '0xe220a8397b1dcdaf'
    """
    words = (words ^ ((words >> 30) & ((1 << 34) - 1))).mul_(_FIRST)
    words = words.bitwise_xor_((words >> 27).bitwise_and_((1 << 37) - 1)).mul_(_SECOND)
    return words.bitwise_xor_((words >> 31).bitwise_and_((1 << 33) - 1))


@dataclass(frozen=True, eq=False)
class CounterRandomness:
    """The randomness of a block of counters (episodes).

    Attributes:
        key: the stream's key, 63 bits.
        counters: int64 [E].
    """

    key: int
    counters: Tensor

    def words(self, purpose: int, positions: Tensor) -> Tensor:
        """Random words.

        Args:
            purpose: what they are for; other purposes get other words.
            positions: int64, any shape: which of the purpose's words.

        Returns:
            int64 [E, *positions.shape], uniform over all 64-bit words.
        """
        start = mix(torch.tensor(self.key) + torch.tensor(purpose) * _GAMMA)
        states = mix(start + self.counters * _GAMMA)
        steps = (positions + 1) * _GAMMA
        return mix(states.view(-1, *[1] * positions.dim()) + steps)

    def uniform(self, purpose: int, count: int) -> Tensor:
        """Uniform numbers.

        Args:
            purpose: what they are for.
            count: how many for each counter.

        Returns:
            float64 [E, count] in the open interval (0, 1).
        """
        return _unit(self.words(purpose, torch.arange(count)))

    def below(self, purpose: int, bound: int) -> Tensor:
        """One uniform whole number for each counter.

        Args:
            purpose: what it is for.
            bound: above the largest.

        Returns:
            int64 [E] in 0..bound-1.
        """
        return _below(self.words(purpose, torch.zeros((), dtype=torch.int64)), torch.tensor(bound))

    def sample(self, purpose: int, sizes: Tensor, count: int) -> Tensor:
        """Ordered samples without replacement, every one equally likely.

        The j-th draw is a rank among the `size - j` items that are left (a Lehmer code); decoding the code from its end gives the items.
        The first draws of a sample do not depend on how many follow.

        Args:
            purpose: what they are for.
            sizes: int64 [E, R], the sizes of R populations for each counter.
            count: items of each sample. What exceeds a population's size is meaningless.

        Returns:
            int64 [E, R, count], items 0..size-1.
        """
        ranks = torch.arange(count)
        words = self.words(purpose, ranks[:, None] + _ROW * torch.arange(sizes.shape[1]))
        items = _below(words, (sizes[:, None] - ranks[:, None]).clamp_min_(1)).transpose(0, 1).contiguous()
        for j in range(count - 2, -1, -1):
            rest = items[j + 1 :]
            rest += rest >= items[j]
        return items.permute(1, 2, 0)

    def gamma(self, purpose: int, shape: float, count: int) -> Tensor:
        """Gamma variates of scale 1 (Marsaglia & Tsang 2000).

        The rejection method, with a fixed number of attempts: the chance that a variate passes none of them is below 1e-10.

        Args:
            purpose: what they are for.
            shape: the distribution's shape parameter, above 0.
            count: how many for each counter.

        Returns:
            float64 [E, count].
        """
        raised = shape + 1 if shape < 1 else shape
        d = raised - 1 / 3
        positions = torch.arange(3 * _ATTEMPTS * count).view(3, _ATTEMPTS, count)
        first, second, third = _unit(self.words(purpose, positions)).unbind(1)
        normal = (-2 * first.log()).sqrt() * (2 * math.pi * second).cos()
        v = (1 + normal / math.sqrt(9 * d)) ** 3
        accepted = (v > 0) & (third.log() < normal.square() / 2 + d * (1 - v + v.clamp_min(1e-300).log()))
        chosen = accepted.to(torch.int8).argmax(1, keepdim=True)
        variates = d * v.gather(1, chosen)[:, 0].clamp_min(1e-300)
        if shape < 1:
            boost = _unit(self.words(purpose, positions.numel() + torch.arange(count)))
            variates = variates * boost ** (1 / shape)
        return variates


def _unit(words: Tensor) -> Tensor:
    return (((words >> 11) & ((1 << 53) - 1)).double() + 0.5) * 2.0**-53


def _below(words: Tensor, bounds: Tensor) -> Tensor:
    # The remainder of a 63-bit word favours small numbers by less than bound / 2^63.
    return (words & ((1 << 63) - 1)) % bounds
