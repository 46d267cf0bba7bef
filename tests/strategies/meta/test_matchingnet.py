"""Matching networks against their formula."""

from __future__ import annotations

import pytest
import torch

from tests.strategies.meta.episodes import episodes, learner


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_answers_are_the_logarithm_of_the_attention_to_each_class(scale: float) -> None:
    one, batch = learner("matchingnet", "conv", bn_mode="support", scale=scale), episodes(2)
    support, query, _ = one.embed(batch, training=False)
    for e in range(2):
        for q in range(len(query[e])):
            weights = [torch.exp(scale * torch.dot(query[e, q], x) / (query[e, q].norm() * x.norm())) for x in support[e]]
            mass = torch.stack([sum(w for w, label in zip(weights, batch.support_y[e]) if label == c) for c in range(3)])
            assert torch.allclose(one.episode_logits(batch)[e, q].exp(), mass / mass.sum(), atol=1e-10)


def test_at_one_shot_and_any_scale_the_most_similar_image_decides() -> None:
    batch = episodes(shots=1)
    first, second = (learner("matchingnet", "conv", scale=scale).episode_logits(batch).argmax(-1) for scale in (1, 1000))
    assert torch.equal(first, second)


def test_a_large_scale_leaves_a_gradient_in_single_precision() -> None:
    one, batch = learner("matchingnet", "conv", scale=300, dtype=torch.float32), episodes(dtype=torch.float32, noise=2.0)
    loss = one.episode_loss(batch).loss
    loss.backward()
    weights = [value for name, value in one.network.named_parameters() if name.endswith("layer.weight")]
    assert loss.isfinite() and len(weights) == 2 and all(float(weight.grad.abs().max()) > 0 for weight in weights)
