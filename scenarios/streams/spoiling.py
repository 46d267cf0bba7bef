"""What real data are like: classes of very different sizes, and labels that are wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from scenarios.errors import UserError
from scenarios.experience import Examples

NoiseKind = Literal["symmetric", "pairs"]


def thinned(
    where: list[Tensor], classes: Sequence[int], ratio: float, order: Literal["ordered", "shuffled"], generator: torch.Generator
) -> list[Tensor]:
    """Make a long tail of class sizes: n_k = n_0 ratio^(-k / (K - 1)) for the class of rank k (Cui et al. 2019, arXiv:1901.05555).

    Continual learning met it in Liu et al. 2022 (arXiv:2210.00266): sizes that fall along the stream (ordered), or in any order.

    Args:
        where: the training rows of each class.
        classes: those that the stream has, in the order in which they are met.
        ratio: examples of the largest class for one of the smallest.
        order: whether ranks follow the stream or chance.
        generator: decides which examples are left, and the ranks where chance does.

    Returns:
        The rows that are left of each class, ascending; n_0 is the largest for which no class has too few.

    Raises:
        UserError: the smallest class would have no example.
    """
    if ratio == 1 or len(classes) < 2:
        return where
    ranks = torch.arange(len(classes)) if order == "ordered" else torch.randperm(len(classes), generator=generator)
    shares = [ratio ** (-rank / (len(classes) - 1)) for rank in ranks.tolist()]
    largest = min(len(where[c]) / share for c, share in zip(classes, shares))
    left = list(where)
    for c, share in zip(classes, shares):
        count = int(largest * share + 0.5)
        if not count:
            raise UserError(f"scenario.long_tail={ratio:g} leaves classes without a training example; choose at most {2 * largest:.0f}")
        left[c] = where[c][torch.randperm(len(where[c]), generator=generator)[:count].sort().values]
    return left


def mislabelled(examples: Examples, share: float, kind: NoiseKind, generator: torch.Generator) -> Examples:
    """Give a share of each class's examples a wrong label, that of another class of the experience.

    Symmetric noise spreads evenly over the others; pairs confuse each class with the next alone, the last with the first (Han et al. 2018,
    arXiv:1804.06872). In a stream the wrong label is of the same experience (Kim et al. 2021, arXiv:2110.07735).

    Args:
        examples: of an experience.
        share: of each class's examples, rounded to whole ones.
        kind: which wrong labels there are.
        generator: decides.

    Returns:
        The examples with their new targets.

    Raises:
        UserError: the experience has one class alone.
    """
    present = examples.targets.unique()
    if len(present) < 2:
        raise UserError("scenario.label_noise needs experiences of 2 or more classes to confuse; choose fewer scenario.tasks")
    ranks = torch.searchsorted(present, examples.targets)
    wrong = ranks.clone()
    for rank in range(len(present)):
        own = torch.nonzero(ranks == rank).flatten()
        chosen = own[torch.randperm(len(own), generator=generator)[: round(share * len(own))]]
        away = torch.randint(1, len(present), (len(chosen),), generator=generator) if kind == "symmetric" else 1
        wrong[chosen] = (rank + away) % len(present)
    return replace(examples, targets=present[wrong])
