"""Robustness: what an attack on one experience costs, and how well altered examples are told from clean ones.

With R the accuracy matrix of the clean run and A that of the attacked one, same seed, order and batches; L the last experience, tau the
target, n an experience whose data were changed:

    targeted_drop     R[L, tau] - A[L, tau]
    collateral_drop   mean over j other than tau and not changed of R[L, j] - A[L, j]
    plasticity_drop   mean over n of R[n, n] - A[n, n]: what is lost on the changed experiences themselves
    specificity       targeted_drop - collateral_drop; where every other experience was changed, the collateral is taken over those

All are fractions of accuracy; a cell that is empty (nan) makes what needs it None.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def targeted_drop(clean: Tensor, attacked: Tensor, target: int) -> float | None:
    """The target's accuracy at the end: clean run minus attacked run.

    Args:
        clean: [L+1, L+1].
        attacked: [L+1, L+1].
        target: the experience.

    Returns:
        The difference.

    Example:
        >>> targeted_drop(torch.tensor([[1.0, 0.0], [0.75, 1.0]]), torch.tensor([[1.0, 0.0], [0.25, 1.0]]), 0)
        0.5
    """
    return _known(clean[-1, target] - attacked[-1, target])


def collateral_drop(clean: Tensor, attacked: Tensor, target: int, changed: Sequence[int]) -> float | None:
    """The same on other experiences: those whose data were not changed or, where there are none, all others.

    Args:
        clean: [L+1, L+1].
        attacked: [L+1, L+1].
        target: the experience that was to be damaged.
        changed: experiences whose data were changed.

    Returns:
        The mean difference.

    Example:
        >>> collateral_drop(torch.ones(3, 3), torch.tensor([[1.0, 1, 1], [1, 1, 1], [0, 0.5, 0.25]]), 0, [2])
        0.5
    """
    others = [index for index in range(clean.shape[1]) if index != target]
    untouched = [index for index in others if index not in changed] or others
    return _known((clean[-1, untouched] - attacked[-1, untouched]).mean())


def plasticity_drop(clean: Tensor, attacked: Tensor, changed: Sequence[int]) -> float | None:
    """What the changed experiences themselves lose, each just after it was learned.

    Args:
        clean: [L+1, L+1].
        attacked: [L+1, L+1].
        changed: experiences whose data were changed.

    Returns:
        The mean difference.

    Example:
        >>> plasticity_drop(torch.ones(2, 2), torch.tensor([[1.0, 0.0], [0.0, 0.75]]), [1])
        0.25
    """
    places = list(changed)
    return _known((clean[places, places] - attacked[places, places]).mean())


def summarise(clean: Tensor, attacked: Tensor, target: int, changed: Sequence[int]) -> dict[str, Any]:
    """All of them.

    Args:
        clean: [L+1, L+1].
        attacked: [L+1, L+1].
        target: the experience that was to be damaged.
        changed: experiences whose data were changed.

    Returns:
        `target`, `clean`, `attacked`, `drop`, `collateral`, `plasticity`, `specificity`.
    """
    drop, collateral = targeted_drop(clean, attacked, target), collateral_drop(clean, attacked, target, changed)
    found = {
        "target": target,
        "clean": _known(clean[-1, target]),
        "attacked": _known(attacked[-1, target]),
        "drop": drop,
        "collateral": collateral,
        "plasticity": plasticity_drop(clean, attacked, changed),
        "specificity": None if drop is None or collateral is None else drop - collateral,
    }
    return {name: value for name, value in found.items() if value is not None}


def perturbation(clean: Tensor, altered: Tensor) -> dict[str, float]:
    """How large changes of images are, in pixel units of [0, 1].

    Args:
        clean: uint8 [B, C, H, W].
        altered: uint8 [B, C, H, W].

    Returns:
        `linf`, the largest change of a pixel; `l2`, the mean Euclidean length; `psnr`, the mean peak signal-to-noise ratio in dB
        (of identical images 100).
    """
    change = (altered.double() - clean.double()).flatten(1) / 255
    error = change.square().mean(1)
    ratio = torch.where(error > 0, -10 * error.clamp_min(1e-10).log10(), 100.0)
    return {"linf": float(change.abs().max()), "l2": float(change.norm(dim=1).mean()), "psnr": float(ratio.mean())}


def roc(scores: Tensor, guilty: Tensor) -> tuple[Tensor, Tensor]:
    """The receiver operating characteristic of a detector.

    Args:
        scores: [n], higher for what is more suspicious.
        guilty: bool [n], what is altered.

    Returns:
        False and true positive rates, float64 [m] each, as the threshold falls; from (0, 0) to (1, 1), one point for each distinct score.

    Example:
        >>> false, true = roc(torch.tensor([0.9, 0.8, 0.1]), torch.tensor([True, False, False]))
        >>> false.tolist(), true.tolist()
        ([0.0, 0.0, 0.5, 1.0], [0.0, 1.0, 1.0, 1.0])
    """
    order = scores.argsort(descending=True)
    ordered, hits = scores[order], guilty[order].double()
    last = torch.nonzero(torch.cat([ordered[1:] != ordered[:-1], ordered.new_ones(1, dtype=torch.bool)])).flatten()
    true, false = hits.cumsum(0)[last], (1 - hits).cumsum(0)[last]
    zero = true.new_zeros(1)
    rates = (torch.cat([zero, count]) / count[-1].clamp_min(1) for count in (false, true))
    return tuple(rates)  # type: ignore[return-value]


def auc(scores: Tensor, guilty: Tensor) -> float:
    """Area under that curve: the chance that an altered example scores above a clean one, ties counted half.

    Args:
        scores: [n].
        guilty: bool [n], with both kinds.

    Returns:
        From 0 to 1; 0.5 for scores that say nothing.

    Example:
        >>> auc(torch.tensor([0.9, 0.8, 0.1]), torch.tensor([True, False, False]))
        1.0
    """
    false, true = roc(scores, guilty)
    return float(torch.trapezoid(true, false))


def _known(value: Tensor) -> float | None:
    number = float(value)
    return None if math.isnan(number) else number
