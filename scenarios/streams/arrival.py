"""When examples arrive: boundaries that are blurred, Gaussian task schedules, and the one order of an online stream."""

from __future__ import annotations

import torch

from scenarios.errors import UserError
from scenarios.experience import Examples, concatenate
from scenarios.random import Randomness


def blur(parts: list[Examples], share: float, generator: torch.Generator) -> list[Examples]:
    """Let examples go to the neighbours of their experience: half of the share each way, at the ends of the stream all one way.

    Args:
        parts: the training examples of each experience.
        share: of an experience's examples that leave it.
        generator: decides.

    Returns:
        The training examples of each experience.
    """
    if not share or len(parts) < 2:
        return parts
    arriving: list[list[Examples]] = [[] for _ in parts]
    for i, part in enumerate(parts):
        order = torch.randperm(len(part), generator=generator)
        leaving = round(share * len(part))
        neighbours = [j for j in (i - 1, i + 1) if 0 <= j < len(parts)]
        arriving[i].append(part.select(order[leaving:]))
        for j, chunk in zip(neighbours, order[:leaving].tensor_split(len(neighbours))):
            arriving[j].append(part.select(chunk))
    return [concatenate(chunks) for chunks in arriving]


def arriving(parts: list[Examples], deviation: float, online: bool, randomness: Randomness) -> list[Examples]:
    """Let the examples of a stream arrive at times of their own, and put them in order where the order counts.

    In a Gaussian task schedule (Shanahan, Kaplanis & Mitrovic 2021, arXiv:2105.13327) a task's examples arrive at times that are normally
    distributed around the middle of its experience, so that tasks fade into one another. Each example arrives once; times before the
    beginning or after the end of the stream are drawn again.

    Args:
        parts: the training examples of each experience.
        deviation: standard deviation of the times, in experiences; 0 for sharp boundaries.
        online: whether the order of arrival is that of learning; else examples keep the order of their rows.
        randomness: of the stream.

    Returns:
        The training examples of each experience.

    Raises:
        UserError: an experience is left without an example.
    """
    if deviation and len(parts) > 1:
        times = [_times(len(part), i + 0.5, deviation, len(parts), randomness.generator("gaussian", i)) for i, part in enumerate(parts)]
        whole, when = concatenate(parts), torch.cat(times)
        order = when.argsort(stable=True)
        slots = when[order].long()
        chunks = [order[slots == i] for i in range(len(parts))]
        if not all(map(len, chunks)):
            raise UserError(f"scenario.gaussian={deviation:g} leaves an experience without examples; choose less, or fewer scenario.tasks")
        return [whole.select(chunk if online else chunk.sort().values) for chunk in chunks]
    if online:
        return [part.select(torch.randperm(len(part), generator=randomness.generator("arrival", i))) for i, part in enumerate(parts)]
    return parts


def _times(count: int, middle: float, deviation: float, end: int, generator: torch.Generator) -> torch.Tensor:
    times = middle + deviation * torch.randn(count, generator=generator, dtype=torch.float64)
    while bool((outside := (times < 0) | (times >= end)).any()):
        drawn = torch.randn(int(outside.sum()), generator=generator, dtype=torch.float64)
        times[outside] = middle + deviation * drawn
    return times
