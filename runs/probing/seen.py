"""What the trials of a stack see: their images, each once, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from strategies.probes.trial import Trial

ROWS = 1000
"""Images that are tested, or asked for their features, at a time."""


class Seen(NamedTuple):
    """What the trials of a stack learn from and are tested on.

    Attributes:
        inputs: [G, n, d], the images of each group of trials, or their features.
        wanted: [G, n, K or K + J], what the outputs' probabilities are held to: the classes, then the teacher's answers.
        which: the group of each trial.
        orders: int64 [S, T, B], which of the group's images each step sees.
        rows: int64 [S, T B], the same among the images of all groups.
        test: [1 or T, N, d].
        answers: int64 [N], the test images' targets, from the first output.
    """

    inputs: Tensor
    wanted: Tensor
    which: list[int]
    orders: Tensor
    rows: Tensor
    test: Tensor
    answers: Tensor


@torch.no_grad()
def see(trials: Sequence[Trial]) -> Seen:
    """Gather what trials of one shape see.

    Args:
        trials: the trials.

    Returns:
        Tensors on the examples' device.
    """
    first = trials[0]
    alone = first.trained == "head"
    device = first.examples.rows.device
    groups: dict[object, int] = {}
    rows: list[Tensor] = []
    orders: list[Tensor] = []
    members: list[Trial] = []
    which: list[int] = []
    for place, trial in enumerate(trials):
        key = place if alone else trial.order.cpu().numpy().tobytes()
        if key not in groups:
            groups[key] = len(rows)
            distinct, order = trial.order.unique(return_inverse=True)
            rows.append(distinct.to(device))
            orders.append(order.to(device))
            members.append(trial)
        which.append(groups[key])
    longest = max(map(len, rows))
    # Which of their images trials happen to see may differ in number; what fills a group up is never asked for.
    batches = [first.examples.batch(torch.cat([each, each[:1].expand(longest - len(each))])) for each in rows]
    inputs = torch.stack([_in_parts(_reading(trial), batch.x) for trial, batch in zip(members, batches)])
    wanted = functional.one_hot(torch.stack([batch.y for batch in batches]) - first.first, first.classes).to(inputs.dtype)
    if first.teacher is not None:
        taught = torch.stack([_in_parts(first.teacher, batch.x).softmax(-1).to(inputs.dtype) for batch in batches])
        wanted = torch.cat([wanted, taught], -1)
    local = torch.stack([orders[group] for group in which], 1)
    offsets = torch.tensor(which, device=device)[:, None] * longest
    tests = first.test.batch(slice(None))
    test = torch.stack([_in_parts(_reading(trial), tests.x) for trial in (trials if alone else trials[:1])])
    return Seen(inputs, wanted, which, local, (local + offsets).flatten(1), test, tests.y - first.first)


def _reading(trial: Trial) -> Callable[[Tensor], Tensor]:
    # From images to what the first layer that is trained reads.
    return trial.network.eval().features if trial.trained == "head" else lambda x: x.flatten(1)


def _in_parts(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return torch.cat([function(part) for part in x.split(ROWS)])
