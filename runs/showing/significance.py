"""Which of several groups of runs is best, and whether seeds can tell: paired t tests over common seeds, corrected after Holm.

The best group by mean is held against each of the others; a column's best is marked only where it is told apart from all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from metrics.statistics import holm, paired

LEVEL = 0.05
"""Of the corrected p-values."""


@dataclass(frozen=True)
class Verdict:
    """One column's comparison.

    Attributes:
        best: index of the group with the best mean.
        others: index of each group that could be compared with it to the corrected p-value.
        alone: whether the best is told apart from all others.
    """

    best: int
    others: dict[int, float]
    alone: bool


def judge(groups: Sequence[Mapping[int, float]], *, higher: bool) -> Verdict | None:
    """Compare groups in one number.

    Args:
        groups: of each group, seed to number; empty where the group has none.
        higher: whether more is better.

    Returns:
        The verdict; None where no two groups share two seeds.

    Example:
        >>> verdict = judge([{0: 0.9, 1: 0.8, 2: 0.85}, {0: 0.5, 1: 0.41, 2: 0.45}], higher=True)
        >>> verdict.best, verdict.alone
        (0, True)
    """
    present = {number: group for number, group in enumerate(groups) if group}
    if len(present) < 2:
        return None
    sign = 1 if higher else -1
    best = max(present, key=lambda number: sign * sum(present[number].values()) / len(present[number]))
    rivals = [number for number in present if number != best and len(present[number].keys() & present[best].keys()) > 1]
    if not rivals:
        return None
    p_values = holm([paired(present[best], present[number]).p for number in rivals])
    return Verdict(best, dict(zip(rivals, p_values)), len(rivals) == len(present) - 1 and all(p < LEVEL for p in p_values))


def sentence(heading: str, labels: Sequence[str], verdict: Verdict) -> str:
    """Say what a verdict is.

    Args:
        heading: the column's.
        labels: the groups'.
        verdict: their comparison.

    Returns:
        One sentence with the corrected p-values.
    """
    apart = [f"{labels[number]} (p {_shown(p)})" for number, p in verdict.others.items() if p < LEVEL]
    close = [f"{labels[number]} (p {_shown(p)})" for number, p in verdict.others.items() if not p < LEVEL]
    told = [f"told apart from {', '.join(apart)}"] if apart else []
    told += [f"not from {', '.join(close)}"] if apart and close else [f"not told apart from {', '.join(close)}"] if close else []
    return f"{heading}: {labels[verdict.best]} is best, {', '.join(told)}."


def _shown(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
