"""What is left of something that was to be forgotten, by what a third party gets back.

*PL accuracy* (piggyback learning): the accuracy of a network after it was retrained for a fixed number of steps on a fixed subset. A leak
is what the best thief obtains: with a[r, s] the accuracy at rate r on subset s, PL = max over r of the mean over s. It means little by
itself, since a good trunk for the target helps any thief. So it is put between two anchors of the same recipe, a network that never saw
what was to be forgotten (floor) and the one before disposal (ceiling):

    leakage = (PL - PL_floor) / (PL_ceiling - PL_floor)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PlAccuracy:
    """What the best thief of a grid obtains.

    Attributes:
        mean: over subsets, at the best rate.
        sd: sample standard deviation over subsets; 0 for a single one.
        best: index of that rate.
    """

    mean: float
    sd: float
    best: int


def pl_accuracy(accuracies: Tensor) -> PlAccuracy:
    """The best mean over a grid of rates.

    Args:
        accuracies: [rates, subsets], after the last step.

    Returns:
        Mean and deviation at the best rate.

    Example:
        >>> pl_accuracy(torch.tensor([[0.5, 0.5], [0.9, 0.7]])).best
        1
    """
    values = accuracies.double()
    best = int(values.mean(1).argmax())
    row = values[best]
    return PlAccuracy(float(row.mean()), float(row.std()) if len(row) > 1 else 0.0, best)


def leakage(pl: float, floor: float, ceiling: float) -> float | None:
    """Where a PL accuracy lies between its anchors: 0 at the floor, 1 at the ceiling.

    Args:
        pl: the PL accuracy.
        floor: of a network that never saw the source.
        ceiling: of the network before disposal.

    Returns:
        The share; below 0 and above 1 are possible. None where the ceiling is not above the floor: then there was nothing to leak.

    Example:
        >>> leakage(0.75, 0.5, 1.0)
        0.5
    """
    return (pl - floor) / (ceiling - floor) if ceiling > floor else None


def steps_to_reach(accuracies: Sequence[float], looks: Sequence[int], wanted: float) -> int | None:
    """Relearn time: the first look at which an accuracy is reached.

    Args:
        accuracies: one for each look.
        looks: numbers of steps, ascending.
        wanted: the accuracy.

    Returns:
        Steps; None where it is not reached.

    Example:
        >>> steps_to_reach([0.2, 0.6, 0.9], [10, 30, 100], 0.6)
        30
    """
    return next((steps for value, steps in zip(accuracies, looks) if value >= wanted), None)


def membership_auc(members: Tensor, others: Tensor) -> float:
    """Membership inference by the loss: the chance that an example that was trained on has the smaller loss of two.

    The area under the curve of the attack that calls an example a member if its loss is below a threshold (Yeom et al. 2018), ties by half.

    Args:
        members: losses of examples that were trained on, [M].
        others: losses of examples that were not, [N].

    Returns:
        In [0, 1]; 0.5 where the losses tell nothing.

    Example:
        >>> membership_auc(torch.tensor([0.1, 0.3]), torch.tensor([0.2, 0.4]))
        0.75
    """
    ordered = others.double().sort().values
    values = members.double()
    above = len(ordered) - torch.searchsorted(ordered, values, right=True)
    ties = torch.searchsorted(ordered, values, right=True) - torch.searchsorted(ordered, values)
    return float((above + 0.5 * ties).sum()) / (len(values) * len(ordered))
