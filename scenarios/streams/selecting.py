"""Which examples of its classes an experience has: limits, what is held out for validation, blurred boundaries."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from scenarios.errors import UserError
from scenarios.experience import Examples, concatenate


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


def hold_out(examples: Examples, share: float, names: Sequence[str], generator: torch.Generator) -> tuple[Examples, Examples]:
    """Divide examples at random into those to learn from and those to select on.

    Args:
        examples: of an experience.
        share: of those to select on.
        names: the classes, in the order of the targets.
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
        name = names[lacking[0] - int(examples.targets.min())]
        have = int((examples.targets == lacking[0]).sum())
        raise UserError(f"{asked} leaves class '{name}' without a training example (it has {have}); choose less, or give it more images")
    if share and not count:
        raise UserError(f"{asked} of {len(examples)} training examples is none to select on; choose more")
    return learned, held


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


def _shares(sizes: Sequence[int], count: int) -> list[int]:
    # Largest remainders, after one for each class.
    spare, total = count - len(sizes), sum(sizes) - len(sizes)
    exact = [spare * (size - 1) / total for size in sizes]
    whole = [int(share) for share in exact]
    order = sorted(range(len(sizes)), key=lambda i: (whole[i] - exact[i], i))
    for i in order[: spare - sum(whole)]:
        whole[i] += 1
    return [1 + share for share in whole]
