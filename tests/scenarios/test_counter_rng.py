"""Counter-based randomness: what it is, that blocks do not matter, and that its numbers are what they claim to be."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from scenarios.counter_rng import CounterRandomness, mix

KEY = 0x1234_5678_9ABC_DEF0
MASK = (1 << 64) - 1
GAMMA = 0x9E3779B97F4A7C15


def plain_mix(word: int) -> int:
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
    return word ^ (word >> 31)


def test_words_are_splitmix64_started_at_a_hash_of_key_and_counter() -> None:
    words = CounterRandomness(KEY, 7, 3).words(2, np.array([0, 5]))
    for row, counter in enumerate((7, 8, 9)):
        state = plain_mix((plain_mix(KEY) + counter * GAMMA) & MASK)
        for column, position in enumerate((0, 5)):
            assert words[row, column] == plain_mix((state + ((2 << 48) + position + 1) * GAMMA) & MASK)


def test_mix_is_a_bijection_on_what_was_tried() -> None:
    words = np.arange(100_000, dtype=np.uint64)
    assert len(np.unique(mix(words))) == len(words)


@pytest.mark.parametrize("first", [0, 1 << 40, (1 << 62) + 12345])
def test_numbers_of_a_counter_do_not_depend_on_its_block(first: int) -> None:
    block = CounterRandomness(KEY, first, 9)
    alone = CounterRandomness(KEY, first + 4, 1)
    sizes = np.full((9, 3), 11)
    assert np.array_equal(block.words(1, np.arange(6))[4], alone.words(1, np.arange(6))[0])
    assert np.array_equal(block.uniform(1, 6)[4], alone.uniform(1, 6)[0])
    assert np.array_equal(block.below(1, 6)[4], alone.below(1, 6)[0])
    assert np.array_equal(block.sample(1, sizes, 5)[4], alone.sample(1, sizes[:1], 5)[0])
    assert np.array_equal(block.gamma(1, 0.7, 5)[4], alone.gamma(1, 0.7, 5)[0])


def test_keys_purposes_and_counters_give_other_numbers() -> None:
    positions = np.arange(4)
    words = [CounterRandomness(key, counter, 1).words(purpose, positions) for key in (1, 2) for counter in (0, 1) for purpose in (0, 1)]
    assert len(np.unique(np.stack(words))) == 2 * 2 * 2 * 4


def test_every_bit_is_fair_and_neighbours_are_uncorrelated() -> None:
    words = CounterRandomness(KEY, 0, 2000).words(0, np.arange(50))
    bits = (words[..., None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    count = words.size
    assert np.abs(bits.reshape(-1, 64).mean(0) - 0.5).max() < 4.5 * 0.5 / np.sqrt(count)
    numbers = CounterRandomness(KEY, 0, 2000).uniform(0, 50) - 0.5
    for other in (np.roll(numbers, 1, 0), np.roll(numbers, 1, 1)):
        assert abs(np.corrcoef(numbers.ravel(), other.ravel())[0, 1]) < 4.5 / np.sqrt(count)


@pytest.mark.parametrize("along", ["counters", "positions"])
def test_uniform_numbers_are_uniform(along: str) -> None:
    shape = (20_000, 1) if along == "counters" else (1, 20_000)
    assert stats.kstest(CounterRandomness(KEY, 5, shape[0]).uniform(3, shape[1]).ravel(), "uniform").pvalue > 1e-3


def test_whole_numbers_below_a_bound_are_uniform() -> None:
    counts = np.bincount(CounterRandomness(KEY, 0, 70_000).below(0, 7), minlength=7)
    assert len(counts) == 7 and stats.chisquare(counts).pvalue > 1e-3


def test_a_sample_is_the_lehmer_code_decoded() -> None:
    sizes = np.array([[6, 9]])
    randomness = CounterRandomness(KEY, 3, 1)
    sample = randomness.sample(1, sizes, 5)
    for row, size in enumerate(sizes[0].tolist()):
        left = list(range(size))
        words = randomness.words(1, np.arange(5) + row * (1 << 24))[0]
        assert sample[0, row].tolist() == [left.pop(int(word) % len(left)) for word in words]


def test_every_ordered_sample_is_equally_likely() -> None:
    samples = CounterRandomness(KEY, 0, 60_000).sample(0, np.full((60_000, 1), 4), 4)[:, 0]
    codes = samples @ np.array([64, 16, 4, 1])
    counts = [int((codes == int(np.dot(order, [64, 16, 4, 1]))).sum()) for order in itertools.permutations(range(4))]
    assert sum(counts) == 60_000
    assert stats.chisquare(counts).pvalue > 1e-3


def test_rows_of_a_sample_are_independent() -> None:
    samples = CounterRandomness(KEY, 0, 50_000).sample(0, np.full((50_000, 2), 5), 1)[:, :, 0]
    table = np.bincount(samples[:, 0] * 5 + samples[:, 1], minlength=25)
    assert stats.chisquare(table).pvalue > 1e-3


def test_first_items_of_a_sample_do_not_depend_on_how_many_follow() -> None:
    randomness, sizes = CounterRandomness(KEY, 0, 20), np.full((20, 3), 30)
    assert np.array_equal(randomness.sample(0, sizes, 4), randomness.sample(0, sizes, 25)[:, :, :4])


def test_a_whole_population_is_a_permutation() -> None:
    samples = CounterRandomness(KEY, 0, 50).sample(0, np.full((50, 2), 40), 40)
    assert np.array_equal(np.sort(samples, 2), np.broadcast_to(np.arange(40), (50, 2, 40)))


@pytest.mark.parametrize("shape", [0.3, 1.0, 2.0, 7.5])
def test_gamma_variates_have_the_gamma_distribution(shape: float) -> None:
    variates = CounterRandomness(KEY, 0, 5000).gamma(0, shape, 4)
    assert stats.kstest(variates.ravel(), stats.gamma(shape).cdf).pvalue > 1e-3
