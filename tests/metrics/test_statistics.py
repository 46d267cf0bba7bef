import math

import numpy
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from metrics import statistics

samples = st.lists(st.integers(0, 1000).map(lambda value: value / 1000), min_size=2, max_size=12)


@given(samples)
def test_the_interval_is_students_t_of_the_textbook(values):
    spread = statistics.over_seeds(values)
    assert spread.mean == pytest.approx(math.fsum(values) / len(values))
    assert spread.sd == pytest.approx(numpy.std(values, ddof=1))
    assert spread.ci95 == pytest.approx(scipy.stats.t.ppf(0.975, len(values) - 1) * scipy.stats.sem(values), abs=1e-12)
    assert spread.n == len(values)


def test_one_seed_has_neither_deviation_nor_interval():
    assert statistics.over_seeds([0.25]) == statistics.Spread(0.25, None, None, 1)
    mean, half = statistics.band([[0.5, 0.25]])
    assert mean.tolist() == [0.5, 0.25] and half is None


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=6))
def test_a_band_is_the_interval_of_each_point(curves):
    mean, half = statistics.band(curves)
    for point in range(2):
        spread = statistics.over_seeds([curve[point] for curve in curves])
        assert (mean[point], half[point]) == pytest.approx((spread.mean, spread.ci95), abs=1e-12)


def test_an_empty_cell_stays_empty_in_a_band():
    mean, half = statistics.band([[math.nan, 1.0], [math.nan, 0.5]])
    assert math.isnan(mean[0]) and math.isnan(half[0]) and mean[1] == 0.75


@given(st.dictionaries(st.integers(0, 20), st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=8))
def test_the_paired_comparison_is_scipys_over_the_common_seeds(pairs):
    first = {seed: pair[0] for seed, pair in pairs.items()} | {100: 0.5}
    second = {seed: pair[1] for seed, pair in pairs.items()} | {200: 0.5}
    result = statistics.paired(first, second)
    assert result.difference.n == len(pairs)
    if result.difference.sd > 1e-6:
        expected = scipy.stats.ttest_rel([first[seed] for seed in pairs], [second[seed] for seed in pairs])
        assert (result.t, result.p) == pytest.approx((expected.statistic, expected.pvalue))


def test_methods_without_two_common_seeds_cannot_be_paired():
    with pytest.raises(ValueError, match="two common seeds, not 1"):
        statistics.paired({0: 0.5, 1: 0.5}, {1: 0.5, 2: 0.5})


def test_a_difference_that_is_the_same_for_every_seed_is_certain():
    result = statistics.paired({0: 0.75, 1: 0.5}, {0: 0.5, 1: 0.25})
    assert result.t == math.inf and result.p == 0


def test_holm_is_its_definition_and_never_below_the_raw_value():
    from itertools import pairwise

    from metrics.statistics import holm

    raw = [0.2, 0.001, 0.04, 0.04, 0.9]
    found = holm(raw)
    order = sorted(range(5), key=lambda place: raw[place])
    by_hand = [min(1.0, (5 - rank) * raw[place]) for rank, place in enumerate(order)]
    assert [found[place] for place in order] == [max(by_hand[: rank + 1]) for rank in range(5)]
    assert all(corrected >= p for corrected, p in zip(found, raw))
    assert all(found[one] <= found[other] for one, other in pairwise(order))


def test_a_paired_comparison_agrees_with_scipy():
    from scipy import stats

    from metrics.statistics import paired

    first, second = [0.91, 0.85, 0.88, 0.9, 0.83, 0.87], [0.89, 0.84, 0.85, 0.91, 0.8, 0.82]
    found = paired(dict(enumerate(first)), dict(enumerate(second)))
    reference = stats.ttest_rel(first, second)
    assert abs(found.t - reference.statistic) < 1e-9 and abs(found.p - reference.pvalue) < 1e-9
    assert found.p_wilcoxon == stats.wilcoxon(first, second).pvalue
    assert abs(found.effect_size - found.difference.mean / found.difference.sd) < 1e-12
