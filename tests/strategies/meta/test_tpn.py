"""TPN against its equations, and label propagation as its case of one bandwidth."""

from __future__ import annotations

import torch

from tests.strategies.meta.episodes import episodes, learner


def test_scores_are_those_of_the_equations() -> None:
    one, batch = learner("tpn", "conv", bn_mode="support", neighbours=5, spread=0.9), episodes(2)
    support, query, _ = one.embed(batch, training=False)
    for e in range(2):
        z = torch.cat([support[e], query[e]])
        sigma = torch.log1p(one.parts["bandwidth"](z.view(-1, 4, 2, 2)).exp())
        rows = [[torch.exp(-((a / s - b / t) ** 2).mean() / 2) for b, t in zip(z, sigma)] for a, s in zip(z, sigma)]
        weights = torch.stack([torch.stack(row) for row in rows])
        kept = torch.zeros_like(weights).scatter(1, weights.topk(5, 1).indices, 1) > 0
        weights = torch.where(kept | kept.T, weights, 0)
        degrees = torch.diag(weights.sum(1) ** -0.5)
        labels = torch.cat([torch.eye(3).double()[batch.support_y[e]], torch.zeros(len(query[e]), 3).double()])
        scores = torch.linalg.inv(torch.eye(len(z)) - 0.9 * degrees @ weights @ degrees) @ labels
        assert torch.allclose(one.scores(batch, False)[e], scores, atol=1e-9)


def test_where_bandwidths_do_not_differ_it_is_label_propagation() -> None:
    one, plain = learner("tpn", "conv", bandwidth=0.4), learner("label-propagation", "conv", bandwidth=0.4)
    one.parts["bandwidth"][-1].weight.data.zero_()
    assert torch.allclose(one.episode_logits(episodes()), plain.episode_logits(episodes()), atol=1e-10)


def test_bandwidths_differ_between_examples_and_are_learned() -> None:
    one = learner("tpn", "conv")
    support, _, _ = one.embed(episodes(), training=False)
    sigma = (support / one.scaled(support)).nanmean(-1)
    assert float((sigma - 0.25).abs().max().detach()) < 0.2 and len(sigma.unique()) > 3
    one.episode_loss(episodes()).loss.backward()
    assert all(float(parameter.grad.abs().max()) > 0 for parameter in one.parts.parameters())
