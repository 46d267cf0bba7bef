"""R2-D2: the closed form, its two ways to be computed, and the gradient through it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from strategies.meta.ridge import ridge_weights
from tests.strategies.meta.episodes import difference, episodes, learner, meta_gradient, padded


@pytest.mark.parametrize("size", [3, 5, 9])
def test_both_forms_are_the_minimum_of_the_regularised_squared_error(size: int) -> None:
    generator = torch.Generator().manual_seed(size)
    x, y = (torch.randn(size, width, generator=generator, dtype=torch.float64) for width in (5, 2))
    stacked = np.concatenate([x.numpy(), np.sqrt(0.7) * np.eye(5)]), np.concatenate([y.numpy(), np.zeros((5, 2))])
    expected = np.linalg.lstsq(*stacked, rcond=None)[0]
    assert np.abs(ridge_weights(x, y, 0.7).numpy() - expected).max() < 1e-12


@pytest.mark.parametrize("shots", [1, 30])
def test_answers_are_those_of_each_episodes_own_regression(shots: int) -> None:
    one, batch = learner("ridge", "conv", bn_mode="support", regularisation=0.5, scale=3), episodes(2, shots=shots)
    support, query, _ = one.embed(batch, training=False)
    assert (support.shape[1] < support.shape[2] + 1) is (shots == 1)
    for e in range(2):
        x, asked = (torch.cat([each[e], torch.ones(len(each[e]), 1)], 1) for each in (support, query))
        y = torch.eye(3).double()[batch.support_y[e]]
        expected = 3 * asked @ torch.linalg.inv(x.T @ x + 0.5 * torch.eye(x.shape[1])) @ x.T @ y
        assert torch.allclose(one.episode_logits(batch)[e], expected, atol=1e-9)


def test_both_numbers_are_learned_by_the_gradient_of_the_queries_loss() -> None:
    batch = episodes(shots=2)
    loss, gradient = meta_gradient(one := learner("ridge", "conv", bn_mode="transductive"), batch)
    for index in range(2):
        number, step = one.parts["numbers"][index], 1e-6
        number.data += step
        above = float(one.episode_loss(batch).loss.detach())
        number.data -= step
        assert abs((above - loss) / step - float(gradient[f"parts.numbers.{index}"])) < 1e-5
    assert all(float(value.abs().max()) > 0 for name, value in gradient.items() if "head" not in name)


def test_held_numbers_are_no_part_of_the_gradient() -> None:
    held = learner("ridge", "conv", learn=False)
    held.episode_loss(episodes()).loss.backward()
    assert all(number.grad is None for number in held.parts["numbers"])


def test_padding_changes_no_gradient() -> None:
    found = [meta_gradient(learner("ridge", "conv"), batch)[1] for batch in (episodes(), padded(episodes()))]
    assert difference(*found) < 1e-9
