"""TAPL (reference design): its limit, its labels, and what may influence them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.strategies.meta.episodes import difference, episodes, learner, meta_gradient, padded

OPTIONS: dict[str, Any] = {"inner_steps": 3, "inner_rate": 0.1}


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_without_weight_on_pseudo_labels_it_is_maml(network: str) -> None:
    maml, tapl = learner("maml", network, engine="loop", **OPTIONS), learner("tapl", network, engine="loop", pseudo_weight=0, **OPTIONS)
    assert torch.equal(maml.episode_logits(episodes()), tapl.episode_logits(episodes()))
    assert difference(meta_gradient(maml, episodes())[1], meta_gradient(tapl, episodes())[1]) < 1e-12


def test_normalised_as_one_batch_it_is_not_maml_even_then() -> None:
    maml, tapl = learner("maml", "conv", **OPTIONS), learner("tapl", "conv", pseudo_weight=0, joint=True, **OPTIONS)
    assert not torch.allclose(maml.episode_logits(episodes()), tapl.episode_logits(episodes()), atol=1e-3)


def test_it_acts_and_warm_up_steps_do_not() -> None:
    maml, tapl = learner("maml", "conv", **OPTIONS), learner("tapl", "conv", warm_up=2, **OPTIONS)
    first, second = (one.episode_logits(episodes(), steps=True) for one in (maml, tapl))
    assert torch.allclose(first[:3], second[:3], atol=1e-10)
    assert not torch.allclose(first[3], second[3], atol=1e-3)


def test_a_step_descends_on_support_and_pseudo_labelled_queries() -> None:
    one, batch = learner("tapl", net={"hidden": (7,), "norm": "none"}, inner_steps=1, inner_rate=0.5, pseudo_weight=0.7), episodes(1)
    labels = one.evaluated(batch)["pseudo_labels"][0, 0]
    params = {name: value.detach().clone().requires_grad_() for name, value in one.network.named_parameters()}

    def loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(torch.func.functional_call(one.network, params, x), y)

    total = loss(batch.support_x[0], batch.support_y[0]) + 0.7 * loss(batch.query_x[0], labels)
    grads = torch.autograd.grad(total, list(params.values()))
    adapted = {name: value - 0.5 * grad for (name, value), grad in zip(params.items(), grads)}
    expected = torch.func.functional_call(one.network, adapted, batch.query_x[0])
    assert torch.allclose(one.episode_logits(batch)[0], expected, atol=1e-10)


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


THROUGH = {"labels": "soft", "label_gradient": "through"}


@pytest.mark.parametrize("options", [{"labels": "soft"}, THROUGH, {"confidence": True}, {"bandwidth": 2.0}])
def test_other_labels_agree_between_engines(options: dict[str, Any]) -> None:
    found = [learner("tapl", "conv", engine=engine, **options, **OPTIONS) for engine in ("loop", "batched")]
    for batch in (episodes(), padded(episodes())):
        assert difference(*(meta_gradient(one, batch)[1] for one in found)) < 1e-10


def test_a_gradient_through_soft_labels_differs() -> None:
    found = [learner("tapl", "conv", labels="soft", label_gradient=kind, **OPTIONS) for kind in ("stop", "through")]
    assert torch.allclose(found[0].episode_logits(episodes()), found[1].episode_logits(episodes()), atol=1e-12)
    assert difference(*(meta_gradient(one, episodes())[1] for one in found)) > 1e-6
