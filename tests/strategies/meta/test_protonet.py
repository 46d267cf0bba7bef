"""Prototypical networks and their semi-supervised refinements, against their formulas."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from strategies.meta.protonet_masked import moments, relative_distances
from strategies.meta.prototypes import class_means, squared_distances
from tests.strategies.meta.episodes import episodes, learner, padded

REFINED = ["protonet-soft", "protonet-cluster", "protonet-masked"]


def _mixed() -> Any:
    return episodes(unlabelled=4, distractors=2)


def _trained(name: str, **options: Any) -> Any:
    """A learner whose moving averages and embedding fit the episodes a little."""
    one = learner(name, "conv", **options)
    optimizer = torch.optim.Adam(one.parameters(), 0.01)
    for i in range(10):
        optimizer.zero_grad()
        one.episode_loss(episodes(unlabelled=2, distractors=1, seed=100 + i)).loss.backward()
        optimizer.step()
    return one


def test_answers_are_minus_squared_distances_to_class_means() -> None:
    one, batch = learner("protonet", "conv", bn_mode="support"), episodes(1)
    support, query, _ = one.embed(batch, training=False)
    prototypes = torch.stack([support[0, batch.support_y[0] == c].mean(0) for c in range(3)])
    expected = -((query[0][:, None] - prototypes[None]) ** 2).sum(-1)
    assert torch.allclose(one.episode_logits(batch)[0], expected, atol=1e-10)


@pytest.mark.parametrize("name", REFINED)
def test_without_unlabelled_images_it_is_protonet(name: str) -> None:
    plain, one = learner("protonet", "conv"), learner(name, "conv")
    assert torch.equal(plain.episode_logits(episodes()), one.episode_logits(episodes()))


@pytest.mark.parametrize("name", REFINED)
def test_unlabelled_images_act(name: str) -> None:
    plain, one = learner("protonet", "conv"), learner(name, "conv", **({"radius": 1.0} if name == "protonet-cluster" else {}))
    assert not torch.allclose(plain.episode_logits(_mixed()), one.episode_logits(_mixed()), atol=1e-4)
    assert torch.equal(plain.episode_logits(_mixed()), plain.episode_logits(_mixed()._replace(unlabelled_x=None)))


def test_soft_k_means_is_its_formula() -> None:
    one, batch = learner("protonet-soft", "conv"), _mixed()
    support, query, unlabelled = one.embed(batch, training=False)
    for e in range(3):
        counts = torch.tensor([float((batch.support_y[e] == c).sum()) for c in range(3)])
        sums = torch.stack([support[e, batch.support_y[e] == c].sum(0) for c in range(3)])
        prototypes = sums / counts[:, None]
        z = torch.softmax(-torch.cdist(unlabelled[e], prototypes) ** 2, 1)
        refined = (sums + z.T @ unlabelled[e]) / (counts + z.sum(0))[:, None]
        expected = -(torch.cdist(query[e], refined) ** 2)
        assert torch.allclose(one.episode_logits(batch)[e], expected, atol=1e-8)


def _distances(scale: float = 1.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    embedded = scale * torch.randn(2, 9, 4, generator=generator, dtype=torch.float64)
    return squared_distances(embedded, torch.randn(2, 3, 4, generator=generator, dtype=torch.float64)), embedded


def test_assignments_sum_to_one_over_clusters() -> None:
    distances, embedded = _distances()
    assert torch.allclose(learner("protonet-soft", "conv").assign(distances, embedded).sum(-1), torch.ones(2, 9).double())
    shares = learner("protonet-cluster", "conv", radius=2.0).assign(distances, embedded)
    further = torch.exp(-embedded.square().sum(-1) / 4) / 2
    total = torch.exp(-distances).sum(-1) + further
    assert torch.allclose(shares, torch.exp(-distances) / total[..., None], atol=1e-12)


def test_an_infinite_radius_removes_the_distractors_cluster() -> None:
    distances, embedded = _distances()
    shares = learner("protonet-cluster", "conv", radius=1e30).assign(distances, embedded)
    assert torch.allclose(shares, torch.softmax(-distances, -1), atol=1e-12)


def test_the_radius_is_learned() -> None:
    one = learner("protonet-cluster", "conv", radius=2.0)
    one.episode_loss(_mixed()).loss.backward()
    assert float(one.parts["log_radius"][0].grad.abs()) > 0


def test_a_mask_of_ones_is_soft_k_means_and_one_of_zeros_protonet() -> None:
    masked, soft, plain = (learner(name, "conv") for name in ("protonet-masked", "protonet-soft", "protonet"))
    masked.mask = torch.ones_like
    assert torch.allclose(masked.episode_logits(_mixed()), soft.episode_logits(_mixed()), atol=1e-12)
    masked.mask = torch.zeros_like
    assert torch.allclose(masked.episode_logits(_mixed()), plain.episode_logits(_mixed()), atol=1e-12)


def test_masks_follow_relative_distances() -> None:
    distances, _ = _distances()
    relative = relative_distances(distances)
    assert torch.allclose(relative.mean(1), torch.ones(2, 3).double())
    mask = learner("protonet-masked", "conv").mask(distances)
    assert ((mask > 0) & (mask < 1)).all()
    nearer = distances[0, :, 0].argsort()
    assert (mask[0, nearer, 0].diff() <= 0).all()


def test_moments_are_the_five_statistics() -> None:
    from scipy import stats

    values = _distances()[0]
    found = moments(values)[1, 2]
    column = values[1, :, 2].numpy()
    expected = [column.min(), column.max(), column.var(), stats.skew(column), stats.kurtosis(column)]
    assert torch.allclose(found, torch.tensor(expected, dtype=torch.float64), atol=1e-10)
    assert moments(torch.ones(1, 4, 2)).isfinite().all()


@pytest.mark.parametrize("name", ["protonet", *REFINED])
def test_answers_follow_permutations(name: str) -> None:
    one, batch = _trained(name), _mixed()
    answers = one.episode_logits(batch)
    unlabelled, queries = torch.randperm(batch.unlabelled_x.shape[1]), torch.randperm(6)
    assert torch.allclose(one.episode_logits(batch._replace(unlabelled_x=batch.unlabelled_x[:, unlabelled])), answers, atol=1e-10)
    assert torch.allclose(one.episode_logits(batch._replace(query_x=batch.query_x[:, queries])), answers[:, queries], atol=1e-10)
    renamed = batch._replace(support_y=(batch.support_y + 1) % 3)
    assert torch.allclose(one.episode_logits(renamed), answers.roll(1, 2), atol=1e-9)


@pytest.mark.parametrize("name", ["protonet", *REFINED])
def test_a_query_does_not_see_the_others(name: str) -> None:
    one, batch = learner(name, "conv"), _mixed()
    alone = batch._replace(query_x=batch.query_x[:, :1], query_y=batch.query_y[:, :1])
    assert torch.allclose(one.episode_logits(alone)[:, 0], one.episode_logits(batch)[:, 0], atol=1e-12)


@pytest.mark.parametrize("name", REFINED)
def test_refined_prototypes_are_convex_combinations(name: str) -> None:
    one, batch = learner(name, "conv"), _mixed()
    support, _, unlabelled = one.embed(batch, training=False)
    labels = torch.nn.functional.one_hot(batch.support_y, 3).double()
    refined = one.refine(class_means(support, labels), support, labels, unlabelled, False)
    everything = torch.cat([support, unlabelled], 1)
    assert (refined <= everything.amax(1, keepdim=True) + 1e-10).all() and (refined >= everything.amin(1, keepdim=True) - 1e-10).all()


def test_assignments_are_constants_for_the_gradient_where_asked() -> None:
    found = []
    for detach in (True, False):
        one = learner("protonet-soft", "conv", detach_assignments=detach)
        one.episode_loss(_mixed()).loss.backward()
        found.append(one.network.backbone[0].layer.weight.grad)
    assert not torch.allclose(found[0], found[1], atol=1e-6)


def test_semi_supervised_inference_refines_in_evaluation_only() -> None:
    plain, soft = learner("protonet", "conv"), learner("protonet-soft", "conv", refine_in_training=False)
    assert torch.equal(plain.episode_loss(_mixed()).loss, soft.episode_loss(_mixed()).loss)
    assert not torch.equal(plain.episode_logits(_mixed()), soft.episode_logits(_mixed()))


def test_moving_averages_are_moved_by_the_joint_batch_in_training_only() -> None:
    one, batch = learner("protonet", "conv"), _mixed()
    before = one.network.backbone[0].norm.running_mean.clone()
    one.episode_logits(batch)
    assert torch.equal(before, one.network.backbone[0].norm.running_mean)
    one.episode_loss(batch)
    together = torch.cat([batch.support_x, batch.query_x, batch.unlabelled_x], 1).flatten(0, 1)
    expected = 0.1 * one.network.backbone[0].layer(together).mean((0, 2, 3))
    assert torch.allclose(one.network.backbone[0].norm.running_mean, expected.to(before), atol=1e-10)


def test_padded_episodes_with_unlabelled_images_are_served() -> None:
    for mode in ("running", "transductive", "support", "per-example"):
        one, other = (learner("protonet-soft", "conv", bn_mode=mode) for _ in range(2))
        more = padded(_mixed())
        assert torch.allclose(one.episode_logits(more)[:, :6], one.episode_logits(_mixed()), atol=1e-9)
        losses = [float(each.episode_loss(batch).loss.detach()) for each, batch in ((one, more), (other, _mixed()))]
        assert abs(losses[0] - losses[1]) < 1e-9


@pytest.mark.parametrize("name", REFINED)
def test_a_class_that_an_episode_lacks_takes_nothing(name: str) -> None:
    one, batch = _trained(name), _mixed()
    kept, asked = batch.support_y != 2, batch.query_y[0] != 2
    fewer = batch._replace(support_mask=kept, support_y=batch.support_y.masked_fill(~kept, -100))
    alone = batch._replace(support_x=batch.support_x[:, kept[0]], support_y=batch.support_y[:, kept[0]], ways=2)
    assert torch.allclose(one.episode_logits(fewer)[:, asked, :2], one.episode_logits(alone)[:, asked], atol=1e-9)


def test_the_masks_gradient_takes_the_statistics_as_constants() -> None:
    one, batch = _trained("protonet-masked"), _mixed()
    one.config.__dict__["bn_mode"] = "transductive"

    def gradient(loss: Tensor) -> list[Tensor]:
        found = torch.autograd.grad(loss, one.parameters(), allow_unused=True)
        return [torch.zeros_like(p) if each is None else each for p, each in zip(one.parameters(), found)]

    def expected(constant: bool) -> Tensor:
        support, query, unlabelled = one.embed(batch, training=True)
        losses = []
        for e in range(3):
            members = [support[e, batch.support_y[e] == c] for c in range(3)]
            distances = torch.stack([(unlabelled[e] - each.mean(0)).square().sum(1) for each in members], 1)
            relative = distances / distances.mean(0)
            at = relative.detach() if constant else relative
            centred = at - at.mean(0)
            moment = [centred.pow(k).mean(0) for k in range(5)]
            skewness, kurtosis = moment[3] / moment[2] ** 1.5, moment[4] / moment[2] ** 2 - 3
            statistics = torch.stack([at.min(0).values, at.max(0).values, moment[2], skewness, kurtosis], 1)
            beta, gamma = one.parts["mask"](statistics).exp().unbind(1)
            weights = torch.softmax(-distances, 1) * torch.sigmoid(-gamma * (relative - beta))
            refined = [(each.sum(0) + weights[:, c] @ unlabelled[e]) / (len(each) + weights[:, c].sum()) for c, each in enumerate(members)]
            logits = torch.stack([-(query[e] - each).square().sum(1) for each in refined], 1)
            losses.append(torch.nn.functional.cross_entropy(logits, batch.query_y[e]))
        return torch.stack(losses).mean()

    mine = gradient(one.episode_loss(batch).loss)
    for constant in (True, False):
        assert all(torch.allclose(a, b, atol=1e-9) for a, b in zip(mine, gradient(expected(constant)))) == constant


def test_unlabelled_images_are_normalised_by_the_support_set_where_queries_are_taken_one_by_one() -> None:
    for mode, other in (("per-example", "support"), ("support", "support")):
        one, reference, batch = learner("protonet-soft", "conv", bn_mode=mode), learner("protonet-soft", "conv", bn_mode=other), _mixed()
        assert batch.unlabelled_x is not None
        found = one.embed(batch, training=False).unlabelled
        assert found is not None and found.shape[:2] == (3, 20)
        expected = reference.embed(batch._replace(query_x=batch.unlabelled_x, query_y=batch.query_y), training=False).query
        assert torch.allclose(found, expected, atol=1e-10)
        changed = batch._replace(unlabelled_x=torch.cat([batch.unlabelled_x[:, :1], batch.unlabelled_x[:, 1:] * 3], 1))
        assert torch.allclose(one.embed(changed, training=False).unlabelled[:, 0], found[:, 0], atol=1e-12)
