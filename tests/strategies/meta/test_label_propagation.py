"""Label propagation: closed form, limits, symmetries, and its use on episodes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from scenarios.errors import UserError
from strategies import make
from strategies.meta.episodic.propagation import class_mass, propagate, similarity
from tests.strategies.meta.episodes import episodes, learner, padded


def _graph(n: int = 12, support: int = 6, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(n, 5, generator=generator, dtype=torch.float64)
    labels = torch.zeros(n, 3, dtype=torch.float64)
    labels[torch.arange(support), torch.arange(support) % 3] = 1
    return z, labels


def _normalised(weights: Tensor) -> Tensor:
    scale = weights.sum(-1).rsqrt()
    return scale[:, None] * weights * scale[None]


def test_similarity_is_the_kernel_of_mean_squared_differences() -> None:
    z, _ = _graph()
    weights = similarity(z, 0, bandwidth=0.8)
    for i in range(4):
        for j in range(4):
            expected = torch.exp(-((z[i] - z[j]) ** 2).mean() / (2 * 0.8**2))
            assert torch.allclose(weights[i, j], expected, atol=1e-14)
    distances = ((z[:, None] - z[None]) ** 2).mean(-1)
    others = distances[~torch.eye(12, dtype=torch.bool)]
    assert torch.allclose(similarity(z, 0), similarity(z, 0, bandwidth=float(others.mean().sqrt()) / 4), atol=1e-12)
    median = similarity(z, 0, statistic="median")
    assert torch.allclose(median, similarity(z, 0, bandwidth=float(others.median().sqrt()) / 4), atol=1e-12)


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_neither_scores_nor_loss_change_with_the_features_scale(statistic: Any) -> None:
    z, labels = _graph()
    for scale in (1e-6, 1e6):
        assert torch.allclose(similarity(scale * z, 4, statistic=statistic), similarity(z, 4, statistic=statistic), atol=1e-12)
    along = []
    for stop in (False, True):
        z.requires_grad_()
        scores = propagate(similarity(z, 4, statistic=statistic, stop=stop), labels, 0.99)
        gradient = torch.autograd.grad((scores[6:] / scores[6:].sum(1, keepdim=True))[:, 0].log().sum(), z)[0]
        along.append(float((gradient * z).sum().detach().abs()))
        assert torch.allclose(gradient.sum(0), torch.zeros(5).double(), atol=1e-12)
    assert along[0] < 1e-12 and along[1] > 1e-3, "a constant statistic sees a scale that the scores do not have"


def test_features_that_all_agree_have_finite_gradients() -> None:
    z = torch.ones(12, 5, dtype=torch.float64, requires_grad=True)
    propagate(similarity(z, 4), _graph()[1], 0.99).sum().backward()
    assert z.grad is not None and z.grad.isfinite().all()


def test_class_mass_is_in_proportion_to_the_support_set() -> None:
    scores = torch.rand(7, 3, dtype=torch.float64)
    found = class_mass(scores, torch.tensor([1.0, 1, 2]).double())
    expected = torch.stack([scores[:, c] * share * scores.sum() / scores[:, c].sum() for c, share in enumerate((0.25, 0.25, 0.5))], 1)
    assert torch.allclose(found, expected, atol=1e-14) and torch.allclose(found.sum(), scores.sum())
    more = class_mass(torch.cat([scores, scores[:2]]), torch.tensor([1.0, 1, 2]).double(), torch.tensor([1.0] * 7 + [0, 0]).double())
    assert torch.allclose(more[:7], expected, atol=1e-14)
    one, batch = learner("label-propagation", "conv", class_mass=True), episodes(queries=4, noise=1.5)
    assert torch.allclose(one.episode_logits(batch).sum(1).diff(dim=1), torch.zeros(3, 2).double(), atol=1e-9)


def test_it_is_trained_on_the_softmax_of_the_scores_of_support_and_queries() -> None:
    one, batch = learner("label-propagation", "conv", bn_mode="transductive"), episodes(queries=3)
    labels = torch.cat([batch.support_y, batch.query_y], 1)
    expected = torch.nn.functional.cross_entropy(one.scores(batch, True).flatten(0, 1), labels.flatten())
    assert float(one.episode_loss(batch).loss.detach()) == pytest.approx(float(expected.detach()), abs=1e-12)


def test_each_row_keeps_its_nearest_and_the_graph_is_symmetric() -> None:
    z, _ = _graph()
    full, sparse = similarity(z, 0), similarity(z, 4)
    assert torch.equal(sparse, sparse.T) and ((sparse > 0).sum(1) >= 4).all()
    top = full.topk(4, 1).indices
    assert (sparse.gather(1, top) == full.gather(1, top)).all()
    assert torch.equal(similarity(z, 50), full)


def test_the_closed_form_is_the_limit_of_the_iteration() -> None:
    z, labels = _graph()
    weights = similarity(z, 5)
    for spread in (0.5, 0.99):
        scores, normalised = torch.zeros_like(labels), _normalised(weights)
        for _ in range(5000):
            scores = spread * normalised @ scores + (1 - spread) * labels
        assert (scores - (1 - spread) * propagate(weights, labels, spread)).abs().max() < 1e-14


def test_the_spectrum_lies_between_minus_one_and_one_and_scores_are_not_negative() -> None:
    z, labels = _graph()
    for neighbours in (0, 4):
        weights = similarity(z, neighbours)
        values = torch.linalg.eigvalsh(_normalised(weights))
        assert values.min() >= -1 - 1e-12 and abs(float(values.max()) - 1) < 1e-12
        assert propagate(weights, labels, 0.99).min() > -1e-12


def test_little_spread_leaves_support_labels_and_gives_queries_a_vote() -> None:
    z, labels = _graph()
    weights = similarity(z, 0)
    scores = propagate(weights, labels, 1e-6)
    assert torch.allclose(scores[:6], labels[:6], atol=1e-5) and scores[6:].max() < 1e-5
    assert torch.equal(scores[6:].argmax(1), (_normalised(weights)[6:] @ labels).argmax(1))


def test_no_spread_at_all_is_refused() -> None:
    with pytest.raises(UserError, match="strategy.spread must be at least"):
        make("label-propagation", spread=0)
    with pytest.raises(UserError, match="strategy.spread must be at least"):
        make("tapl", spread=0)


def test_scores_follow_permutations_of_examples_and_classes() -> None:
    z, labels = _graph()
    examples, classes = torch.randperm(12), torch.tensor([2, 0, 1])
    scores = propagate(similarity(z, 4), labels, 0.9)
    assert torch.allclose(propagate(similarity(z[examples], 4), labels[examples], 0.9), scores[examples], atol=1e-12)
    assert torch.allclose(propagate(similarity(z, 4), labels[:, classes], 0.9), scores[:, classes], atol=1e-12)


def test_padding_is_connected_to_itself_alone() -> None:
    z, labels = _graph()
    more = torch.cat([z, torch.full((3, 5), 0.3, dtype=torch.float64)])
    real = torch.cat([torch.ones(12), torch.zeros(3)]).double()
    weights = similarity(more, 4, real=real)
    assert torch.allclose(weights[:12, :12], similarity(z, 4), atol=1e-14) and (weights[:12, 12:] == 0).all()
    extended = torch.cat([labels, torch.zeros(3, 3, dtype=torch.float64)])
    assert torch.allclose(propagate(weights, extended, 0.9)[:12], propagate(similarity(z, 4), labels, 0.9), atol=1e-12)


def test_it_answers_separable_episodes_and_learns_from_them() -> None:
    for mode in ("transductive", "running"):
        one, batch = learner("label-propagation", "conv", bn_mode=mode), episodes(20, queries=5, noise=0.1)
        assert float((one.episode_logits(batch).argmax(-1) == batch.query_y).double().mean()) > 0.85
        one.episode_loss(batch).loss.backward()
        assert all(parameter.grad is not None for name, parameter in one.network.named_parameters() if "head" not in name)


def test_queries_help_each_other() -> None:
    one, batch = learner("label-propagation", "conv"), episodes(queries=4)
    alone = batch._replace(query_x=batch.query_x[:, :1], query_y=batch.query_y[:, :1])
    assert not torch.allclose(one.episode_logits(batch)[:, 0], one.episode_logits(alone)[:, 0], atol=1e-6)
    assert torch.allclose(one.episode_logits(batch), one.episode_logits(padded(batch))[:, :12], atol=1e-9)
