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
