"""In which order classes are met, and how many of them each experience has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from scenarios.errors import UserError
from scenarios.random import Randomness

Order = Literal["natural", "seeded", "numpy", "pycil"]
PYCIL_SEED = 1993
"""What LUCIR (Hou et al. 2019), and PyCIL and many others after it, draw the order of classes with."""


def class_order(asked: str | tuple[int, ...], num_classes: int, randomness: Randomness) -> list[int]:
    """The order in which classes are met.

    Args:
        asked: natural, seeded, numpy (the permutation of NumPy's old generator of that seed), pycil (the same of seed 1993), or all classes
            in some order.
        num_classes: how many there are.
        randomness: for an order that depends on the seed.

    Returns:
        All class indices.

    Raises:
        UserError: a class is repeated, missing or unknown.

    Example:
        >>> class_order("pycil", 10, Randomness(0))
        [4, 2, 7, 6, 0, 3, 5, 8, 9, 1]
    """
    if asked == "natural":
        return list(range(num_classes))
    if asked == "seeded":
        return torch.randperm(num_classes, generator=randomness.generator("class order")).tolist()
    if asked in ("numpy", "pycil"):
        seed = PYCIL_SEED if asked == "pycil" else randomness.seed % 2**32
        return np.random.RandomState(seed).permutation(num_classes).tolist()
    assert isinstance(asked, tuple)
    repeated = sorted(c for c, times in Counter(asked).items() if times > 1)
    missing = sorted(set(range(num_classes)) - set(asked))
    unknown = sorted(set(asked) - set(range(num_classes)))
    for words, wrong in (("repeats", repeated), ("names unknown", unknown), ("lacks", missing)):
        if wrong:
            shown = ", ".join(map(str, wrong[:5])) + (", ..." if len(wrong) > 5 else "")
            raise UserError(f"scenario.class_order {words} class {shown}; give each of 0 to {num_classes - 1} once")
    return list(asked)


def in_parts(order: Sequence[int], counts: Sequence[int]) -> list[tuple[int, ...]]:
    """Cut an order of classes into experiences.

    Args:
        order: class indices.
        counts: how many classes each experience has.

    Returns:
        The classes of each experience.

    Example:
        >>> in_parts([4, 2, 0, 1], [3, 1])
        [(4, 2, 0), (1,)]
    """
    ends = np.cumsum(counts).tolist()
    return [tuple(order[end - count : end]) for end, count in zip(ends, counts)]


def equal_counts(total: int, tasks: int, name: str) -> list[int]:
    """As many classes in each experience.

    Args:
        total: classes.
        tasks: experiences.
        name: of the set, for messages.

    Returns:
        How many classes each experience has.

    Raises:
        UserError: the classes cannot be cut so.
    """
    if tasks > total:
        raise UserError(f"scenario.tasks={tasks} is more than the {total} classes of '{name}'; choose at most {total}")
    if total % tasks:
        possible = ", ".join(str(n) for n in range(1, total + 1) if total % n == 0)
        uneven = "scenario.first_classes and scenario.classes_per_task cut unequally"
        raise UserError(f"{total} classes cannot be cut into {tasks} equal experiences; choose scenario.tasks from {possible} ({uneven})")
    return [total // tasks] * tasks


def counts_after_first(total: int, first: int, tasks: int | None, width: int, name: str) -> list[int]:
    """A large first experience, then equal ones: LUCIR's protocol (B50-inc10: 50 classes, then 10 at a time).

    Args:
        total: classes.
        first: classes of the first experience.
        tasks: experiences in all; none for steps of `width` classes.
        width: classes of each later experience, where `tasks` does not say it.
        name: of the set, for messages.

    Returns:
        How many classes each experience has.

    Raises:
        UserError: the classes cannot be cut so.
    """
    rest = total - first
    if rest < 1:
        raise UserError(f"scenario.first_classes={first} leaves none of the {total} classes of '{name}'; choose at most {total - 1}")
    steps = max(rest // width, 1) if tasks is None else tasks - 1
    if not steps or rest % steps:
        possible = ", ".join(str(n + 1) for n in range(1, rest + 1) if rest % n == 0)
        line = f"the {rest} classes after scenario.first_classes={first} cannot be cut into {steps} equal experiences"
        raise UserError(f"{line}; choose scenario.tasks from {possible}")
    return [first, *[rest // steps] * steps]


def counts_as_listed(total: int, listed: Sequence[int | str], name: str) -> list[int]:
    """Classes of each experience, as the user lists them.

    Args:
        total: classes.
        listed: one number an experience; `...` in the end repeats the last until all classes have had their turn.
        name: of the set, for messages.

    Returns:
        How many classes each experience has.

    Raises:
        UserError: they do not add up to all classes.

    Example:
        >>> counts_as_listed(9, (5, 2, "..."), "own")
        [5, 2, 2]
    """
    numbers = [number for number in listed if isinstance(number, int)]
    goes_on = listed[-1] == "..."
    if len(numbers) != len(listed) - goes_on or not numbers:
        raise UserError("scenario.classes_per_task is a list of numbers, of which ... in the end repeats the last (50,10,...)")
    if goes_on and sum(numbers) < total:
        numbers += [numbers[-1]] * ((total - sum(numbers)) // numbers[-1])
    if sum(numbers) != total:
        added = "+".join(map(str, numbers[:8])) + ("+..." if len(numbers) > 8 else "")
        raise UserError(f"scenario.classes_per_task: {added} = {sum(numbers)}, and '{name}' has {total} classes; list them all")
    return numbers
