"""TAPL (reference design): its formula, its limit, its labels, and what may influence them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from scenarios.episodes.episodes import EpisodeBatch
from scenarios.errors import UserError
from strategies import make
from strategies.meta.episodic.inner import View
from strategies.meta.episodic.network import Params
from strategies.meta.maml import tasks_of
from tests.strategies.meta.episodes import difference, episodes, learner, meta_gradient, padded

OPTIONS: dict[str, Any] = {"inner_steps": 3, "inner_rate": 0.1}
NOTHING: dict[str, Any] = {"pseudo_weight": 0, "propagation_weight": 0}


def _view(one: Any, batch: EpisodeBatch) -> tuple[View, Params]:
    """The first episode as the inner loop sees it, and the adapted parameters before any step."""
    inner = one.inner(True)
    task = {name: value[0] for name, value in tasks_of(batch, 3).items()}
    return View(inner.net, inner.theta, inner.passes(task), task, inner.head_only), {name: inner.theta[name] for name in inner.adapted}


def _reference(one: Any, batch: EpisodeBatch, steps: int, rate: float, weight: float, mu: float) -> tuple[Tensor, list[Tensor]]:
    """The design written out for a network without norms: the loss of a meta-batch, and each episode's labels by step."""
    network, losses, labels = one.network, [], []
    for e in range(len(batch.support_x)):
        images = torch.cat([batch.support_x[e], batch.query_x[e]])
        support, queries = len(batch.support_x[e]), len(batch.query_x[e])
        params = dict(network.named_parameters())
        propagated, seen = [], []
        for _ in range(steps):

            body = {name[9:]: value for name, value in params.items() if name.startswith("backbone")}
            z = torch.func.functional_call(network.backbone, body, images)
            n = len(z)
            d = torch.stack([torch.stack([(z[i] - z[j]).square().mean() for j in range(n)]) for i in range(n)])
            sigma = (d.sum() / (n * (n - 1))).sqrt() / 4
            kernel = torch.exp(-d / (2 * sigma**2))
            scale = torch.diag(kernel.sum(1) ** -0.5)
            known = torch.zeros(n, 3, dtype=torch.float64)
            known[torch.arange(support), batch.support_y[e]] = 1
            scores = torch.linalg.inv(torch.eye(n, dtype=torch.float64) - 0.99 * scale @ kernel @ scale) @ known
            share = scores[support:] / scores[support:].sum(1, keepdim=True)
            hard = share.argmax(1)
            counts = torch.bincount(hard, minlength=3)
            propagated.append(-share[torch.arange(queries), batch.query_y[e]].clamp_min(1e-6).log().mean())
            seen.append(hard)
            at = z @ params["head.blocks.0.weight"].T + params["head.blocks.0.bias"]
            each = functional.cross_entropy(at[support:], hard, reduction="none")
            inner = functional.cross_entropy(at[:support], batch.support_y[e]) + weight * (each / (3 * counts[hard])).sum()
            grads = torch.autograd.grad(inner, list(params.values()), create_graph=True)
            params = {name: value - rate * grad for (name, value), grad in zip(params.items(), grads)}
        final = torch.func.functional_call(network, params, batch.query_x[e])
        losses.append(functional.cross_entropy(final, batch.query_y[e]) + mu * torch.stack(propagated).mean())
        labels.append(torch.stack(seen))
    return torch.stack(losses).mean(), labels


@pytest.mark.parametrize("engine", ["loop", "batched"])
@pytest.mark.parametrize("mu", [0.0, 0.6])
def test_it_is_its_formula(engine: str, mu: float) -> None:
    options = {"pseudo_weight": 0.7, "propagation_weight": mu, "neighbours": 0, "inner_steps": 3, "inner_rate": 2.0, "engine": engine}
    one, batch = learner("tapl", net={"hidden": (7,), "norm": "none"}, **options), episodes(3, queries=4, noise=1.5)
    expected, labels = _reference(one, batch, 3, 2.0, 0.7, mu)
    assert any(not torch.equal(each[0], each[1]) for each in labels), "labels change as the network adapts"
    assert torch.equal(one.evaluated(batch)["pseudo_labels"], torch.stack(labels))
    grads = torch.autograd.grad(expected, list(one.network.parameters()))
    loss, gradient = meta_gradient(one, batch)
    assert abs(loss - float(expected.detach())) < 1e-10
    assert difference(gradient, dict(zip(dict(one.network.named_parameters()), grads))) < 1e-9


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_without_weights_on_pseudo_labels_and_propagation_it_is_maml(network: str) -> None:
    maml, tapl = learner("maml", network, engine="loop", **OPTIONS), learner("tapl", network, engine="loop", **NOTHING, **OPTIONS)
    assert torch.equal(maml.episode_logits(episodes()), tapl.episode_logits(episodes()))
    (loss, gradient), (other, found) = meta_gradient(maml, episodes()), meta_gradient(tapl, episodes())
    assert loss == other and all(torch.equal(value, found[name]) for name, value in gradient.items())


def test_the_propagation_weight_adds_a_linear_term_that_alone_has_a_gradient() -> None:
    found = [learner("tapl", "conv", pseudo_weight=0, propagation_weight=mu, **OPTIONS) for mu in (0, 1, 2)]
    losses, gradients = zip(*(meta_gradient(one, episodes()) for one in found))
    assert losses[1] > losses[0] and losses[2] - losses[1] == pytest.approx(losses[1] - losses[0], rel=1e-10)
    assert difference(gradients[0], gradients[1]) > 1e-3
    assert torch.equal(found[0].episode_logits(episodes()), found[1].episode_logits(episodes())), "the inner loop never sees it"


@pytest.mark.parametrize("options", [{}, {"labels": "soft"}, {"confidence": True}])
def test_with_a_zero_head_the_biass_gradient_is_zero_whatever_the_label_counts(options: dict[str, Any]) -> None:
    one, batch = learner("tapl", "conv", **options), episodes(1, queries=5, noise=1.2, seed=2)
    for parameter in one.network.head.parameters():
        parameter.data.zero_()
    found = []
    for balance in (True, False):
        object.__setattr__(one.config, "balance", balance)
        view, params = _view(one, batch)
        objective, seen = one.parts["support"](params, view, 0)
        counts = torch.bincount(seen["pseudo_labels"], minlength=3)
        assert counts.min() > 0 and counts.min() < counts.max()
        found.append(float(torch.autograd.grad(objective(params), params["head.blocks.0.bias"])[0].abs().max()))
    assert found[0] < 1e-12 < found[1]


def test_each_label_weighs_alike_and_a_query_that_none_reaches_nothing() -> None:
    shares = torch.tensor([[0.7, 0.3, 0], [0.6, 0.2, 0.2], [0, 0, 0], [0.2, 0.8, 0]], dtype=torch.float64)
    reached, batch = shares.sum(1) > 0, episodes(1)
    for options, rows in (
        ({}, [[1 / 6, 0, 0], [1 / 6, 0, 0], [0, 0, 0], [0, 1 / 3, 0]]),
        ({"balance": False}, [[0.25, 0, 0], [0.25, 0, 0], [0, 0, 0], [0, 0.25, 0]]),
        ({"confidence": True}, [[0.7 / 1.3 / 3, 0, 0], [0.6 / 1.3 / 3, 0, 0], [0, 0, 0], [0, 1 / 3, 0]]),
        ({"confidence": True, "balance": False}, [[0.175, 0, 0], [0.15, 0, 0], [0, 0, 0], [0, 0.2, 0]]),
        ({"labels": "soft"}, [[0.7 / 4.5, 0.3 / 3.9, 0], [0.6 / 4.5, 0.2 / 3.9, 1 / 3], [0, 0, 0], [0.2 / 4.5, 0.8 / 3.9, 0]]),
        ({"labels": "soft", "balance": False}, (shares / 4).tolist()),
    ):
        one = learner("tapl", "conv", **options)
        assert torch.allclose(one.parts["support"].targets(shares, reached, _view(one, batch)[0]), torch.tensor(rows).double(), atol=1e-12)


def test_padding_has_no_part_in_the_balance() -> None:
    batch = episodes(1, queries=2)
    one = learner("tapl", "conv")
    shares, more = torch.rand(6, 3, dtype=torch.float64), torch.rand(9, 3, dtype=torch.float64)
    more[:6] = shares
    reached = torch.ones(9, dtype=torch.bool)
    plain = one.parts["support"].targets(shares, reached[:6], _view(one, batch)[0])
    found = one.parts["support"].targets(more, reached, _view(one, padded(batch))[0])
    assert torch.allclose(plain, found[:6], atol=1e-14) and (found[6:] == 0).all()


def test_labels_of_a_step_are_propagated_over_the_features_of_that_step() -> None:
    one, batch = learner("tapl", "conv", inner_steps=2, inner_rate=3.0, engine="loop"), episodes(1, queries=6, noise=1.5)
    step, seen = one.parts["step"], []
    original = type(step).forward

    def watched(params: Any, *rest: Any) -> Any:
        seen.append(params)
        return original(step, params, *rest)

    step.forward = watched
    labels = one.evaluated(batch)["pseudo_labels"][0]
    view, _ = _view(one, batch)
    for k, params in enumerate(seen):
        shares, _ = one.parts["support"].shares(view.support_features(params), view.query_features(params), view)
        assert torch.equal(labels[k], shares.argmax(1))
    assert not torch.equal(labels[0], labels[1])


def test_the_outer_loss_is_that_of_the_combinations_too() -> None:
    for name in ("l2f+tapl", "cxgrad+tapl", "l2f+cxgrad+tapl"):
        found = []
        for engine in ("loop", "batched"):
            losses = [meta_gradient(learner(name, "conv", propagation_weight=mu, engine=engine, **OPTIONS), episodes())[0] for mu in (0, 1)]
            found.append(losses[1] - losses[0])
        assert found[0] > 0.01 and found[0] == pytest.approx(found[1], abs=1e-10)


def test_queries_are_answered_by_head_or_scores_in_evaluation() -> None:
    batch = episodes(queries=4)
    head, scores, mean = (learner("tapl", "conv", answer=answer, **OPTIONS) for answer in ("head", "scores", "mean"))
    found = [one.episode_logits(batch, steps=True).softmax(-1) for one in (head, scores, mean)]
    assert torch.allclose((found[0] + found[1]) / 2, found[2], atol=1e-4)
    assert torch.equal(found[1][:3].argmax(-1).transpose(0, 1), scores.evaluated(batch)["pseudo_labels"])
    assert meta_gradient(head, batch)[0] == meta_gradient(scores, batch)[0], "in training the head answers"


def test_normalised_as_one_batch_it_is_not_maml_even_then() -> None:
    maml, tapl = learner("maml", "conv", **OPTIONS), learner("tapl", "conv", joint=True, **NOTHING, **OPTIONS)
    assert not torch.allclose(maml.episode_logits(episodes()), tapl.episode_logits(episodes()), atol=1e-3)


def test_it_acts_and_warm_up_steps_do_not() -> None:
    maml, tapl = learner("maml", "conv", **OPTIONS), learner("tapl", "conv", warm_up=2, **OPTIONS)
    first, second = (one.episode_logits(episodes(), steps=True) for one in (maml, tapl))
    assert torch.allclose(first[:3], second[:3], atol=1e-10)
    assert not torch.allclose(first[3], second[3], atol=1e-3)


def test_true_query_labels_change_nothing_and_query_images_do() -> None:
    one, batch = learner("tapl", "conv", **OPTIONS), episodes()
    labels = batch._replace(query_y=batch.query_y.roll(1, 1))
    first, second = one.evaluated(batch), one.evaluated(labels)
    assert torch.equal(first["pseudo_labels"], second["pseudo_labels"]) and torch.equal(first["logits"], second["logits"])
    images = batch._replace(query_x=torch.cat([batch.query_x[:, :1], batch.query_x[:, 1:].flip(1) * 2], 1))
    assert not torch.allclose(one.episode_logits(batch)[:, 0], one.episode_logits(images)[:, 0], atol=1e-6)


def test_the_order_of_queries_does_not_matter() -> None:
    one, batch, order = learner("tapl", "conv", **OPTIONS), episodes(queries=4), torch.randperm(12)
    moved = batch._replace(query_x=batch.query_x[:, order], query_y=batch.query_y[:, order])
    assert torch.allclose(one.episode_logits(batch)[:, order], one.episode_logits(moved), atol=1e-9)


def test_one_query_is_enough_and_equal_queries_get_equal_labels() -> None:
    one, batch = learner("tapl", net={"hidden": (7,), "norm": "none"}, **OPTIONS), episodes()
    single = batch._replace(query_x=batch.query_x[:, :1], query_y=batch.query_y[:, :1])
    assert one.episode_logits(single).shape == (3, 1, 3)
    assert one.diagnostics(single)["pseudo_label_accuracy"].shape == (3, 3)
    twins = batch._replace(query_x=batch.query_x[:, [0, 0, 1]], query_y=batch.query_y[:, [0, 0, 1]])
    labels = one.evaluated(twins)["pseudo_labels"]
    assert torch.equal(labels[..., 0], labels[..., 1])


def test_one_query_at_a_time_gives_another_answer() -> None:
    one, batch = learner("tapl", "conv", bn_mode="support", **OPTIONS), episodes()
    alone = batch._replace(query_x=batch.query_x[:, :1], query_y=batch.query_y[:, :1])
    assert not torch.allclose(one.episode_logits(batch)[:, 0], one.episode_logits(alone)[:, 0], atol=1e-4)


def test_accuracy_of_pseudo_labels_is_shown_for_every_step_padded_or_not() -> None:
    one, batch = learner("tapl", "conv", **OPTIONS), episodes(noise=0.05)
    shown = one.diagnostics(batch)["pseudo_label_accuracy"]
    assert shown.shape == (3, 3) and ((shown >= 0) & (shown <= 1)).all() and float(shown[:, 0].mean()) > 0.8
    assert torch.equal(shown, one.diagnostics(padded(batch))["pseudo_label_accuracy"])


def test_labels_after_the_last_step_are_those_of_propagation_under_the_adapted_network() -> None:
    one, batch = learner("tapl", "conv", answer="scores", **OPTIONS), episodes(queries=4, noise=1.5)
    found = one.pseudo_labels(batch)
    assert torch.equal(found[:, :-1], one.evaluated(batch)["pseudo_labels"])
    assert torch.equal(found.transpose(0, 1), one.episode_logits(batch, steps=True).argmax(-1))
    assert learner("l2f", "conv").pseudo_labels(batch) is None


THROUGH = {"labels": "soft", "label_gradient": "through"}


OTHERS: list[dict[str, Any]] = [
    {"labels": "soft"}, THROUGH, {"confidence": True}, {"bandwidth": 2.0}, {"class_mass": True}, {"bandwidth_from": "median"}
]  # fmt: skip


@pytest.mark.parametrize("options", OTHERS)
def test_other_labels_agree_between_engines(options: dict[str, Any]) -> None:
    found = [learner("tapl", "conv", engine=engine, **options, **OPTIONS) for engine in ("loop", "batched")]
    for batch in (episodes(), padded(episodes())):
        assert difference(*(meta_gradient(one, batch)[1] for one in found)) < 1e-10


def test_a_gradient_through_hard_labels_is_refused() -> None:
    with pytest.raises(UserError, match="set strategy.labels=soft"):
        make("tapl", label_gradient="through")


def test_a_gradient_through_soft_labels_differs() -> None:
    found = [learner("tapl", "conv", labels="soft", label_gradient=kind, **OPTIONS) for kind in ("stop", "through")]
    assert torch.allclose(found[0].episode_logits(episodes()), found[1].episode_logits(episodes()), atol=1e-12)
    assert difference(*(meta_gradient(one, episodes())[1] for one in found)) > 1e-6
