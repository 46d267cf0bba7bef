"""Compositions: how many classes, shots and queries."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from scenarios.counter_rng import CounterRandomness
from scenarios.episodes.composition import lay_out, num_queries, num_shots, num_ways

EPISODES = 4000


@pytest.fixture
def randomness() -> CounterRandomness:
    return CounterRandomness(99, 0, EPISODES)


def test_ways_are_uniform_between_their_bounds(randomness: CounterRandomness) -> None:
    ways = num_ways(3, 7, randomness)
    counts = np.bincount(ways.sum(1), minlength=8)
    assert counts[:3].sum() == 0 and stats.chisquare(counts[3:]).pvalue > 1e-3
    assert np.array_equal(ways, np.arange(7) < ways.sum(1)[:, None])
    assert num_ways(None, 4, randomness).all()


def test_fixed_shots_are_the_same_for_all_present_classes(randomness: CounterRandomness) -> None:
    ways = num_ways(2, 5, randomness)
    assert np.array_equal(num_shots(None, 3, ways, np.full(ways.shape, 20), randomness), 3 * ways)


def test_variable_shots_follow_meta_datasets_rule(randomness: CounterRandomness) -> None:
    ways = num_ways(2, 5, randomness)
    sizes = 20 + 5 * np.arange(5) * np.ones((EPISODES, 1), np.int64)
    shots = num_shots(1, 10, ways, sizes, randomness)
    beta = randomness.uniform(11, 1)[:, 0]
    alpha = np.log(0.5) + randomness.uniform(12, 5) * np.log(4)
    for e in range(200):
        present = np.flatnonzero(ways[e])
        size = sum(int(np.ceil(beta[e] * 10)) for _ in present)
        weights = np.exp(alpha[e, present]) * sizes[e, present]
        rule = np.floor(weights / weights.sum() * (size - len(present))) + 1
        assert np.array_equal(shots[e, present], np.minimum(rule, 10))
        assert not shots[e, ~ways[e]].any()
    assert shots[ways].min() == 1 and shots[ways].max() == 10


@pytest.mark.parametrize("imbalance", ["none", "fixed", "dirichlet"])
@pytest.mark.parametrize("least", [None, 2])
def test_queries_of_an_episode_are_the_mean_times_its_classes(randomness: CounterRandomness, imbalance: str, least: int | None) -> None:
    ways = num_ways(least, 5, randomness)
    queries = num_queries(imbalance, 2.0, 6, ways, np.full(ways.shape, 1000), randomness)
    assert np.array_equal(queries.sum(1), 6 * ways.sum(1)) and queries.min() >= 0 and not queries[~ways].any()


def test_fixed_imbalance_is_evenly_spaced_in_random_order(randomness: CounterRandomness) -> None:
    queries = num_queries("fixed", 2.0, 15, np.ones((EPISODES, 5), np.bool_), np.full((EPISODES, 5), 1000), randomness)
    assert np.array_equal(np.sort(queries, 1), np.broadcast_to([1, 8, 15, 22, 29], (EPISODES, 5)))
    assert stats.chisquare(np.bincount(queries.argmax(1), minlength=5)).pvalue > 1e-3


def test_dirichlet_imbalance_has_the_distributions_mean_and_variance(randomness: CounterRandomness) -> None:
    ways, mean, a = 5, 200, 2.0
    queries = num_queries("dirichlet", a, mean, np.ones((EPISODES, ways), np.bool_), np.full((EPISODES, ways), 10_000), randomness)
    shares = queries / (ways * mean)
    variance = (1 / ways) * (1 - 1 / ways) / (ways * a + 1)
    assert np.allclose(shares.mean(0), 1 / ways, atol=4 * np.sqrt(variance / EPISODES))
    assert np.allclose(shares.var(0), variance, rtol=0.1)


def test_a_class_gives_no_more_than_it_has_and_the_total_stays(randomness: CounterRandomness) -> None:
    room = np.tile([15, 16, 40, 15, 20], (EPISODES, 1))
    queries = num_queries("dirichlet", 0.3, 15, np.ones((EPISODES, 5), np.bool_), room, randomness)
    assert (queries <= room).all() and (queries.sum(1) == 75).all()


def test_layout_puts_each_class_behind_the_one_before() -> None:
    counts = np.array([[2, 0, 1, 3], [1, 1, 1, 0]])
    labels, positions, filled = lay_out(counts, 7)
    for row, of_class in enumerate(counts.tolist()):
        expected = [(label, position) for label, count in enumerate(of_class) for position in range(count)]
        assert list(zip(labels[row].tolist(), positions[row].tolist()))[: len(expected)] == expected
        assert filled[row].tolist() == [place < len(expected) for place in range(7)]
        assert not labels[row, len(expected) :].any() and not positions[row, len(expected) :].any()
