"""L2F: attenuation of the initialisation, its limit, its embedding, and what it means for layers that a norm follows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from strategies.meta.l2f import Attenuation
from tests.strategies.meta.episodes import difference, episodes, learner, meta_gradient

OPTIONS: dict[str, Any] = {"inner_steps": 3, "inner_rate": 0.3}


def _forced(one: Any, value: float) -> Any:
    part = one.parts["initialise"]
    part.scales = lambda embedding: torch.full_like(embedding, value)
    return one


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_attenuation_by_one_is_maml_bit_for_bit(network: str) -> None:
    maml = learner("maml", network, engine="loop", **OPTIONS)
    l2f = _forced(learner("l2f", network, engine="loop", **OPTIONS), 1.0)
    (loss, gradient), (other_loss, other_gradient) = meta_gradient(maml, episodes()), meta_gradient(l2f, episodes())
    assert loss == other_loss
    assert all(torch.equal(value, other_gradient[name]) for name, value in gradient.items())
    assert torch.equal(maml.episode_logits(episodes()), l2f.episode_logits(episodes()))


def test_it_acts() -> None:
    maml, l2f = learner("maml", "conv", **OPTIONS), learner("l2f", "conv", **OPTIONS)
    assert not torch.allclose(maml.episode_logits(episodes()), l2f.episode_logits(episodes()), atol=1e-3)
    gradient = meta_gradient(l2f, episodes())[1]
    assert any(float(value.abs().max()) > 0 for name, value in gradient.items() if name.startswith("parts."))


def test_attenuation_lies_between_0_and_1_one_for_each_adapted_tensor() -> None:
    conv4, conv = learner("l2f", "conv4"), learner("l2f", "conv")
    assert len(conv4.adapted) == 6
    for one in (conv4, conv):
        scales = one.diagnostics(episodes())["attenuation"]
        assert scales.shape == (3, len(one.adapted))
        assert ((scales > 0) & (scales < 1)).all()
    assert ((0.35 < scales) & (scales < 0.65)).all(), "it begins near one half"
    near = learner("l2f", "conv", attenuation="near-one").diagnostics(episodes())["attenuation"]
    assert ((near > 0.7) & (near < 1)).all()


def _embedding(one: Any, batch: Any) -> Tensor:
    seen: list[Tensor] = []
    part = one.parts["initialise"]
    one.parts["initialise"].scales = lambda embedding: seen.append(embedding) or Attenuation.scales(part, embedding)
    object.__setattr__(one.config, "engine", "loop")
    one.episode_logits(batch)
    return torch.stack(seen)


def test_the_heads_coordinates_of_the_embedding_are_zero() -> None:
    embedding = _embedding(learner("l2f", "conv"), episodes())
    assert (embedding[:, -2:].abs() < 1e-15).all()
    assert (embedding[:, :-2].abs() > 1e-8).all()


def test_the_embedding_is_the_mean_gradient_of_the_support_loss_at_theta() -> None:
    one, batch = learner("l2f", "mlp", net={"hidden": (7,), "norm": "none"}), episodes(1)
    logits = one.network(batch.support_x[0])
    loss = torch.nn.functional.cross_entropy(logits, batch.support_y[0])
    grads = torch.autograd.grad(loss, [dict(one.network.named_parameters())[name] for name in one.adapted])
    assert torch.allclose(_embedding(one, batch)[0], torch.stack([grad.mean() for grad in grads]), atol=1e-15)


def test_attenuating_what_a_norm_follows_keeps_the_function_and_grows_its_gradient() -> None:
    one, batch = learner("l2f", "conv", bn_eps=1e-20), episodes(1)
    names = [layer.weight for layer in one.net.affines if layer.normalised]
    params = {name: value.detach().clone().requires_grad_() for name, value in one.network.named_parameters()}
    small = {name: (value.detach() * (0.1 if name in names else 1)).requires_grad_() for name, value in params.items()}
    from strategies.meta.episodic.normalise import ByBatch

    grads, answers = [], []
    for at in (params, small):
        answers.append(one.net.head(at, one.net.features(at, batch.support_x[0], ByBatch(1e-20))))
        loss = torch.nn.functional.cross_entropy(answers[-1], batch.support_y[0])
        grads.append(dict(zip(one.adapted, torch.autograd.grad(loss, [at[name] for name in one.adapted]))))
    assert torch.allclose(*answers, atol=1e-10)
    for name in one.adapted:
        assert torch.allclose(grads[1][name], grads[0][name] * (10 if name in names else 1), rtol=1e-8)


def test_a_detached_embedding_gives_theta_no_gradient() -> None:
    found = {}
    for detach in (True, False):
        one = learner("l2f", "mlp", detach_embedding=detach, **OPTIONS)
        one.parts["initialise"].attenuator[0].weight.data *= 100
        found[detach] = meta_gradient(one, episodes())[1]
    assert difference(found[True], found[False]) > 1e-6


@pytest.mark.parametrize("detach", [True, False])
def test_the_factored_engine_serves_it_with_either_embedding(detach: bool) -> None:
    found = []
    for engine in ("loop", "factored"):
        one = learner("l2f", "mlp", engine=engine, detach_embedding=detach, **OPTIONS)
        one.parts["initialise"].attenuator[0].weight.data *= 100
        found.append(meta_gradient(one, episodes())[1])
    assert difference(*found) < 1e-10


def test_queries_do_not_change_the_attenuation() -> None:
    one, batch = learner("l2f", "conv"), episodes()
    other = batch._replace(query_x=batch.query_x.flip(1) * 3)
    assert torch.equal(one.diagnostics(batch)["attenuation"], one.diagnostics(other)["attenuation"])


def test_first_order_gradient_of_an_attenuation_is_the_alignment_of_support_and_query_gradients() -> None:
    one = learner("l2f", "conv", engine="loop", first_order=True, bn_eps=1e-20, inner_steps=3, inner_rate=0.05)
    batch = episodes(1)
    part, scales = one.parts["initialise"], torch.full((len(one.adapted),), 0.5, dtype=torch.float64, requires_grad=True)
    part.scales = lambda embedding: scales
    steps, step = [], one.parts["step"]
    original = type(step).forward

    def watched(params: Any, state: Any, objective: Any, rates: Any, gradient: Any) -> Any:
        moved = original(step, params, state, objective, rates, gradient)
        steps.append({name: (params[name] - value) / 0.05 for name, value in moved[0].items()})
        adapted.append(moved[0])
        return moved

    adapted: list[Any] = []
    step.forward = watched
    loss = one.episode_loss(batch).loss
    outer = torch.autograd.grad(loss, [scales, *(adapted[-1][name] for name in one.adapted)])
    for i, name in enumerate(one.adapted[:2]):
        total = sum(each[name] for each in steps)
        assert float(0.5 * outer[0][i].detach()) == pytest.approx(float(0.05 * (outer[1 + i] * total).sum().detach()), rel=1e-6)
