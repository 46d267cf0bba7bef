"""Numbers over seeds: mean, standard deviation and the 95 % interval of Student's t.

With n seeds, s the sample standard deviation (n - 1 in its denominator) and t the 0.975 quantile with n - 1 degrees of freedom,

    mean +- t s / sqrt(n)

One seed has a mean and neither deviation nor interval. Two methods that ran with the same seeds are compared seed by seed; where several
pairs are tested at once, p-values are corrected after Holm (1979).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Spread:
    """A number over seeds.

    Attributes:
        mean: the mean.
        sd: the sample standard deviation; None for one seed.
        ci95: half width of the 95 % interval of Student's t; None for one seed.
        n: how many seeds.
    """

    mean: float
    sd: float | None
    ci95: float | None
    n: int

    @property
    def se(self) -> float | None:
        """Standard error of the mean; None for one seed."""
        return None if self.sd is None else self.sd / math.sqrt(self.n)


@dataclass(frozen=True)
class PairedComparison:
    """Two methods over the same seeds.

    Attributes:
        difference: the mean of first minus second, with its spread.
        t: Student's t of the difference; infinite (or nan) where it is the same for every seed.
        p: two-sided p-value of no difference, of the paired t test.
        p_wilcoxon: the same of Wilcoxon's signed-rank test, which assumes no normal distribution and needs six seeds to come below 0.05.
        effect_size: Cohen's d of paired samples: mean difference over its standard deviation.
    """

    difference: Spread
    t: float
    p: float
    p_wilcoxon: float
    effect_size: float


def t_quantile(degrees: int) -> float:
    """The 0.975 quantile of Student's t.

    Args:
        degrees: of freedom, at least 1.

    Returns:
        By how many standard errors the 95 % interval reaches to each side.

    Example:
        >>> round(t_quantile(2), 3)
        4.303
    """
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 0.975))


def over_seeds(values: ArrayLike) -> Spread:
    """Summarise one number over seeds.

    Args:
        values: [n], one a seed.

    Returns:
        Its mean and spread.

    Example:
        >>> over_seeds([0.5])
        Spread(mean=0.5, sd=None, ci95=None, n=1)
        >>> round(over_seeds([1.0, 2.0, 3.0]).ci95, 3)
        2.484
    """
    seeds = numpy.asarray(values, dtype=numpy.float64)
    if len(seeds) == 1:
        return Spread(float(seeds[0]), None, None, 1)
    sd = float(seeds.std(ddof=1))
    return Spread(float(seeds.mean()), sd, t_quantile(len(seeds) - 1) * sd / math.sqrt(len(seeds)), len(seeds))


def band(curves: ArrayLike) -> tuple[numpy.ndarray, numpy.ndarray | None]:
    """Summarise curves over seeds, point by point.

    Args:
        curves: [n, T], one row a seed.

    Returns:
        The mean [T], and the half width of its 95 % interval [T], or None for one seed.

    Example:
        >>> mean, half = band([[0.0, 1.0], [0.0, 2.0]])
        >>> mean.tolist(), half.round(2).tolist()
        ([0.0, 1.5], [0.0, 6.35])
    """
    rows = numpy.asarray(curves, dtype=numpy.float64)
    if len(rows) == 1:
        return rows[0], None
    return rows.mean(0), t_quantile(len(rows) - 1) * rows.std(0, ddof=1) / math.sqrt(len(rows))


def paired(first: Mapping[int, float], second: Mapping[int, float]) -> PairedComparison:
    """Compare two methods over the seeds that both ran with: Student's paired t test.

    Args:
        first: seed to number.
        second: seed to number.

    Returns:
        The difference, first minus second.

    Raises:
        ValueError: fewer than two seeds in common.

    Example:
        >>> paired({0: 0.9, 1: 0.8, 2: 0.7}, {0: 0.7, 1: 0.6, 2: 0.6}).difference.n
        3
    """
    from scipy.special import stdtr
    from scipy.stats import wilcoxon

    seeds = sorted(first.keys() & second.keys())
    if len(seeds) < 2:
        raise ValueError(f"a paired comparison needs at least two common seeds, not {len(seeds)}; run both with the same seeds")
    gaps = numpy.array([first[seed] - second[seed] for seed in seeds])
    difference = over_seeds(gaps)
    with numpy.errstate(divide="ignore", invalid="ignore"):
        effect = float(numpy.float64(difference.mean) / numpy.float64(difference.sd))
    t = effect * math.sqrt(len(seeds))
    rank = float(wilcoxon(gaps).pvalue) if gaps.any() else 1.0
    return PairedComparison(difference, t, float(2 * stdtr(len(seeds) - 1, -abs(t))), rank, effect)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values of several tests, so that the chance of any false alarm stays below the level (Holm 1979).

    Args:
        p_values: one a test; nan stays nan.

    Returns:
        Corrected p-values, in the same order.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = sorted((place for place, p in enumerate(p_values) if not math.isnan(p)), key=lambda place: p_values[place])
    corrected, highest = [math.nan] * len(p_values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[place]))
        corrected[place] = highest
    return corrected
