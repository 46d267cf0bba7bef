"""Which examples of its classes an experience has: limits, shares, and what is held out for validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from scenarios.errors import UserError
from scenarios.experience import Examples
from scenarios.random import Randomness


def limit_by_class(examples: Examples, count: int | None, generator: torch.Generator) -> Examples:
    """Draw examples at random, from each class in proportion to its size and at least one.

    Args:
        examples: of an experience.
        count: how many are wanted; none for all.
        generator: decides.

    Returns:
        So many examples, or all where there are no more, in their order.

    Raises:
        UserError: fewer are wanted than there are classes.
    """
    if count is None or count >= len(examples):
        return examples
    order = torch.randperm(len(examples), generator=generator)
    _, classes, sizes = examples.targets[order].unique(return_inverse=True, return_counts=True)
    if count < len(sizes):
        raise UserError(f"scenario.train_examples={count} is fewer than the {len(sizes)} classes of an experience; choose at least that")
    shares = _shares(sizes.tolist(), count)
    # The rank of each example among those of its class, in random order.
    grouped = classes.argsort(stable=True)
    rank = torch.empty_like(grouped)
    rank[grouped] = torch.arange(len(order)) - (sizes.cumsum(0) - sizes)[classes[grouped]]
    return examples.select(order[rank < torch.tensor(shares)[classes]].sort().values)


def limit(examples: Examples, count: int | None, generator: torch.Generator) -> Examples:
    """Draw examples at random.

    Args:
        examples: of an experience.
        count: how many are wanted; none for all.
        generator: decides.

    Returns:
        So many examples, or all where there are no more, in their order.
    """
    if count is None or count >= len(examples):
        return examples
    return examples.select(torch.randperm(len(examples), generator=generator)[:count].sort().values)


def hold_out(examples: Examples, share: float, names: Mapping[int, str], generator: torch.Generator) -> tuple[Examples, Examples]:
    """Divide examples at random into those to learn from and those to select on.

    Args:
        examples: of an experience.
        share: of those to select on.
        names: what the targets are called.
        generator: decides.

    Returns:
        To learn from, and to select on.

    Raises:
        UserError: a class is left without an example to learn from, or nothing is left to select on.
    """
    order = torch.randperm(len(examples), generator=generator)
    count = round(share * len(examples))
    learned, held = examples.select(order[count:].sort().values), examples.select(order[:count].sort().values)
    lacking = sorted(set(examples.targets.tolist()) - set(learned.targets.tolist()))
    asked = f"scenario.validation_share={share:g}"
    if lacking:
        name = names[lacking[0]]
        have = int((examples.targets == lacking[0]).sum())
        raise UserError(f"{asked} leaves class '{name}' without a training example (it has {have}); choose less, or give it more images")
    if share and not count:
        raise UserError(f"{asked} of {len(examples)} training examples is none to select on; choose more")
    return learned, held


def shared_out(where: Sequence[Tensor], parts: int, randomness: Randomness, *purpose: str) -> list[Tensor]:
    """Share each class out at random among as many parts.

    Args:
        where: the rows of each class.
        parts: how many there are.
        randomness: of the stream.
        purpose: what for.

    Returns:
        The rows of each part: of every class as many as the others have, but for one.
    """
    chunks = []
    for c, rows in enumerate(where):
        pieces = rows[torch.randperm(len(rows), generator=randomness.generator(*purpose, c))].tensor_split(parts)
        # Where a class cannot be divided evenly, it is not always the first parts that get one more.
        turn = c % parts
        chunks.append(pieces[turn:] + pieces[:turn])
    return [torch.cat([chunk[part] for chunk in chunks]) for part in range(parts)]


def _shares(sizes: Sequence[int], count: int) -> list[int]:
    # Largest remainders, after one for each class.
    spare, total = count - len(sizes), sum(sizes) - len(sizes)
    exact = [spare * (size - 1) / total for size in sizes]
    whole = [int(share) for share in exact]
    order = sorted(range(len(sizes)), key=lambda i: (whole[i] - exact[i], i))
    for i in order[: spare - sum(whole)]:
        whole[i] += 1
    return [1 + share for share in whole]
