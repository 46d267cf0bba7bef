"""Which of several groups of runs is best, and whether seeds can tell: paired t tests over common seeds, corrected after Holm.

The best group by mean is held against each of the others; a column's best is marked only where it is told apart from all of them.
Wilcoxon's signed-rank test, corrected in the same way, and the effect size (Cohen's d of paired samples) stand beside.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metrics.statistics import PairedComparison, holm, paired

LEVEL = 0.05
"""Of the corrected p-values."""


@dataclass(frozen=True)
class Verdict:
    """One column's comparison.

    Attributes:
        best: index of the group with the best mean.
        others: index of each group that could be compared with it to the corrected p-value.
        alone: whether the best is told apart from all others.
        wilcoxon: the same as `others`, of Wilcoxon's signed-rank test.
        pairs: index of each of these groups to the comparison, best minus other.
    """

    best: int
    others: dict[int, float]
    alone: bool
    wilcoxon: dict[int, float]
    pairs: dict[int, PairedComparison]


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
    pairs = {number: paired(present[best], present[number]) for number in rivals}
    p_values, ranks = holm([pair.p for pair in pairs.values()]), holm([pair.p_wilcoxon for pair in pairs.values()])
    alone = len(rivals) == len(present) - 1 and all(p < LEVEL for p in p_values)
    return Verdict(best, dict(zip(rivals, p_values)), alone, dict(zip(rivals, ranks)), pairs)


def sentence(heading: str, labels: Sequence[str], verdict: Verdict) -> str:
    """Say what a verdict is.

    Args:
        heading: the column's.
        labels: the groups'.
        verdict: their comparison.

    Returns:
        One sentence with the corrected p-values and the effect sizes.
    """

    def rival(number: int) -> str:
        if math.isnan(verdict.others[number]):
            return f"{labels[number]} (equal on every seed)"
        size = abs(verdict.pairs[number].effect_size)
        effect = f", d {size:.2f}" if math.isfinite(size) else ""
        return f"{labels[number]} (p {_shown(verdict.others[number])}{effect})"

    apart = [rival(number) for number, p in verdict.others.items() if p < LEVEL]
    close = [rival(number) for number, p in verdict.others.items() if not p < LEVEL]
    told = [f"told apart from {', '.join(apart)}"] if apart else []
    told += [f"not from {', '.join(close)}"] if apart and close else [f"not told apart from {', '.join(close)}"] if close else []
    return f"{heading}: {labels[verdict.best]} is best, {', '.join(told)}."


def as_rows(key: str, labels: Sequence[str], verdict: Verdict) -> list[dict[str, Any]]:
    """A verdict as plain values, one row a pair of groups.

    Args:
        key: the column's.
        labels: the groups'.
        verdict: their comparison.

    Returns:
        For each rival of the best: the mean difference (best minus other) with its 95 % interval, the p-values of both tests as they are
        and corrected after Holm, and the effect size; what is not finite is None.
    """

    def plain(value: float | None) -> float | None:
        return value if value is not None and math.isfinite(value) else None

    return [
        {
            "metric": key,
            "best": labels[verdict.best],
            "other": labels[number],
            "seeds": pair.difference.n,
            "difference": pair.difference.mean,
            "ci95": plain(pair.difference.ci95),
            "effect_size": plain(pair.effect_size),
            "p_t": plain(pair.p),
            "p_t_holm": plain(verdict.others[number]),
            "p_wilcoxon": plain(pair.p_wilcoxon),
            "p_wilcoxon_holm": plain(verdict.wilcoxon[number]),
        }
        for number, pair in verdict.pairs.items()
    ]


def _shown(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
