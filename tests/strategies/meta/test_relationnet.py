"""Relation networks against their equations, pair by pair; the maps that they compare."""

from __future__ import annotations

import pytest
import torch

from strategies.meta.relation import map_shape
from tests.strategies.meta.episodes import episodes, learner, padded


@pytest.mark.parametrize(("network", "shape"), [("conv", (4, 2, 2)), ("mlp", (6, 1, 1)), ("conv4", (4, 1, 1))])
def test_features_are_compared_as_maps(network: str, shape: tuple[int, int, int]) -> None:
    one = learner("relationnet", network)
    assert map_shape(one.net, one.theta, (1, 8, 8)) == shape


def test_relations_and_their_loss_are_those_of_the_equations() -> None:
    one, batch = learner("relationnet", "conv", bn_mode="support"), episodes(2)
    support, query, _ = one.embed(batch, training=False)
    errors = []
    for e in range(2):
        for q in range(len(query[e])):
            for c in range(3):
                members = sum(x for x, label in zip(support[e], batch.support_y[e]) if label == c)
                pair = torch.cat([members.view(4, 2, 2), query[e, q].view(4, 2, 2)])
                logit = one.parts["relation"](pair[None])[0, 0]
                assert torch.allclose(one.episode_logits(batch)[e, q, c], logit, atol=1e-12)
                errors.append((torch.sigmoid(logit) - float(batch.query_y[e, q] == c)) ** 2)
    assert torch.allclose(one.episode_loss(batch).loss, torch.stack(errors).mean(), atol=1e-12)


def test_a_class_that_an_episode_lacks_has_no_part_in_the_loss() -> None:
    one, batch = learner("relationnet", "conv", bn_mode="support"), padded(episodes())
    kept = batch.support_mask & (batch.support_y != 2)
    asked = batch.query_mask & (batch.query_y != 2)
    fewer = batch._replace(
        support_mask=kept, support_y=batch.support_y.where(kept, -100), query_mask=asked, query_y=batch.query_y.where(asked, -100)
    )
    alone = batch._replace(
        support_x=batch.support_x[:, :4], support_y=batch.support_y[:, :4], support_mask=None, query_mask=None,
        query_x=batch.query_x[:, [0, 1, 3, 4]], query_y=batch.query_y[:, [0, 1, 3, 4]], ways=2,
    )  # fmt: skip
    assert torch.allclose(one.episode_loss(fewer).loss, one.episode_loss(alone).loss, atol=1e-9)
    assert (one.episode_logits(fewer)[..., 2] < -1e8).all()


def test_everything_is_learned() -> None:
    one = learner("relationnet", "conv")
    one.episode_loss(episodes()).loss.backward()
    assert all(p.grad is not None for p in one.parts.parameters())
    assert all(p.grad is not None for name, p in one.network.named_parameters() if "head" not in name)
