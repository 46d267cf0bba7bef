import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics import fewshot


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_mean_and_interval_equal_their_definitions(values):
    n, mean = len(values), math.fsum(values) / len(values)
    s = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    result = fewshot.over_episodes(torch.tensor(values, dtype=torch.float64))
    assert result.mean == pytest.approx(mean, abs=1e-12)
    assert result.ci95 == pytest.approx(1.96 * s / math.sqrt(n), abs=1e-9)
    assert result.episodes == n and not result.enough


@pytest.mark.parametrize(("episodes", "enough"), [(599, False), (600, True)])
def test_fewer_than_600_episodes_are_flagged(episodes, enough):
    assert fewshot.over_episodes(torch.rand(episodes)).enough is enough


def test_each_step_is_summarised_like_a_run_of_its_own():
    accuracies = torch.rand(50, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mean, half = fewshot.per_step(accuracies)
    for step in range(4):
        alone = fewshot.over_episodes(accuracies[:, step])
        assert (float(mean[step]), float(half[step])) == pytest.approx((alone.mean, alone.ci95))


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_the_pooled_interval_is_narrower_when_queries_of_an_episode_agree(seed):
    generator = torch.Generator().manual_seed(seed)
    episodes, queries = 200, 75
    accuracies = 0.5 + 0.2 * torch.randn(episodes, generator=generator, dtype=torch.float64).clamp(-2, 2)
    result = fewshot.over_episodes(accuracies)
    assert fewshot.pooled_binomial_ci95(result.mean, episodes * queries) < result.ci95


def test_the_pooled_interval_is_the_one_over_episodes_of_a_single_query_each():
    hits = torch.tensor([1.0, 0.0]).repeat(500)
    over_episodes = fewshot.over_episodes(hits)
    assert fewshot.pooled_binomial_ci95(0.5, 1000) == pytest.approx(over_episodes.ci95, rel=1e-3)
