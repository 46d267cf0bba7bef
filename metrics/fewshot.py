"""Few-shot accuracy: the mean over episodes, with an interval over episodes.

An episode's accuracy a_e is one sample: its queries share a support set and are not independent. With s the sample standard deviation,

    mean +- 1.96 s / sqrt(n)          over n episodes, n >= 600 for a number that may be reported

Some papers pool all queries of all episodes and print 1.96 sqrt(p (1 - p) / N) instead, which treats queries as independent and comes out
much narrower. It is here under its own name, so that the two are never confused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from metrics.inputs import Array, tensor

REQUIRED_EPISODES = 600
"""Episodes below which a few-shot accuracy should not be reported."""


@dataclass(frozen=True)
class FewShotAccuracy:
    """Accuracy over test episodes.

    Attributes:
        mean: the mean over episodes.
        ci95: half width of the 95 % interval over episodes.
        episodes: how many.
        enough: whether they are at least `REQUIRED_EPISODES`.
    """

    mean: float
    ci95: float
    episodes: int
    enough: bool


def over_episodes(accuracies: Array) -> FewShotAccuracy:
    """Few-shot accuracy: mean over episodes, and 1.96 s / sqrt(n).

    Args:
        accuracies: [E], one an episode, E > 1; a tensor, an array or a list.

    Returns:
        The mean with its interval.

    Example:
        >>> import torch
        >>> over_episodes(torch.tensor([0.5, 0.7]).repeat(300)).enough
        True
    """
    accuracies = tensor(accuracies, "accuracies", "[E]", dtype=torch.float64)
    mean, half = per_step(accuracies[:, None])
    return FewShotAccuracy(float(mean), float(half), len(accuracies), len(accuracies) >= REQUIRED_EPISODES)


def per_step(accuracies: Array) -> tuple[Tensor, Tensor]:
    """Accuracy against adaptation steps.

    Args:
        accuracies: [E, S]; step 0 is before adaptation.

    Returns:
        float64 [S] means over episodes, and float64 [S] half widths of their 95 % intervals.

    Raises:
        ValueError: there are fewer than two episodes.

    Example:
        >>> import torch
        >>> mean, half = per_step(torch.tensor([[0.0, 1.0], [0.5, 1.0]]))
        >>> mean.tolist(), [round(value, 2) for value in half.tolist()]
        ([0.25, 1.0], [0.49, 0.0])
    """
    values = tensor(accuracies, "accuracies", "[E, S]", dtype=torch.float64)
    if len(values) < 2:
        raise ValueError(f"an interval over episodes needs at least 2 of them, not {len(values)}")
    return values.mean(0), 1.96 * values.std(0) / math.sqrt(len(values))


def pooled_binomial_ci95(mean: float, queries: int) -> float:
    """The interval that treats every query of every episode as an independent trial: 1.96 sqrt(p (1 - p) / N).

    Args:
        mean: p, the share of right answers.
        queries: N, over all episodes.

    Returns:
        Its half width; not an interval over episodes.

    Example:
        >>> round(pooled_binomial_ci95(0.5, 10_000), 4)
        0.0098
    """
    return 1.96 * math.sqrt(mean * (1 - mean) / queries)
