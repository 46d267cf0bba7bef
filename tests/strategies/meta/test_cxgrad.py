"""CxGrad: lengths of weights instead of scaled gradients, and what the context can carry."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from scenarios.errors import UserError
from strategies.meta.episodic.normalise import ByBatch
from tests.strategies.meta.episodes import difference, episodes, learner, meta_gradient

TINY = 1e-18


def _forced(one: Any, gammas: Any) -> Any:
    one.parts["step"].gammas = gammas
    return one


def _own_length(one: Any, detach: bool = False) -> Any:
    def gammas(context: Any, params: Any) -> Any:
        lengths = torch.stack([params[name].norm() for name in one.rescaled])
        return (lengths.detach() if detach else lengths) + 0 * context.sum()

    return gammas


def _make(**options: Any) -> Any:
    return learner("cxgrad", "conv", **{"inner_steps": 3, "inner_rate": 0.05, "engine": "loop", **options})


@pytest.mark.parametrize("first_order", [False, True])
def test_the_weights_own_length_is_maml(first_order: bool) -> None:
    maml = learner("maml", "conv", inner_steps=3, inner_rate=0.05, first_order=first_order)
    one = _make(first_order=first_order)
    _forced(one, _own_length(one))
    assert torch.allclose(maml.episode_logits(episodes()), one.episode_logits(episodes()), atol=1e-12)
    assert difference(meta_gradient(maml, episodes())[1], meta_gradient(one, episodes())[1]) < 1e-10


def test_the_weights_own_length_as_a_constant_is_maml_forward_only() -> None:
    maml, one = learner("maml", "conv", inner_steps=3, inner_rate=0.05), _make()
    _forced(one, _own_length(one, detach=True))
    assert torch.allclose(maml.episode_logits(episodes()), one.episode_logits(episodes()), atol=1e-12)
    assert difference(meta_gradient(maml, episodes())[1], meta_gradient(one, episodes())[1]) > 1e-4


def test_a_length_of_one_is_not_maml() -> None:
    maml, one = learner("maml", "conv", inner_steps=3, inner_rate=0.05), _make()
    _forced(one, lambda context, params: torch.ones(2, dtype=torch.float64) + 0 * context.sum())
    assert not torch.allclose(maml.episode_logits(episodes()), one.episode_logits(episodes()), atol=1e-3)


def test_lengths_of_the_meta_weights_do_not_matter() -> None:
    one, other = _make(), _make()
    for name in other.rescaled:
        dict(other.network.named_parameters())[name].data *= 7.5
    assert torch.allclose(one.episode_logits(episodes(), steps=True)[1:], other.episode_logits(episodes(), steps=True)[1:], atol=1e-10)
    gradient = meta_gradient(one, episodes())[1]
    for name in one.rescaled:
        weight = dict(one.network.named_parameters())[name].detach()
        along = float((gradient[name] * weight).sum() / gradient[name].norm() / weight.norm())
        assert abs(along) < 1e-10


def test_without_eps_the_context_stays_zero_and_with_it_moves() -> None:
    still, moving = _make(bn_eps=TINY).diagnostics(episodes()), _make(bn_eps=1e-3).diagnostics(episodes())
    assert still["context_norm"].shape == (3, 3) and still["log_gamma"].shape == (3, 3, 2)
    assert float(still["context_norm"].max()) < 1e-10
    assert float(moving["context_norm"].min()) > 1e-7


def test_the_context_starts_afresh_for_every_task() -> None:
    one, batch = _make(bn_eps=1e-2), episodes(3)
    order = torch.tensor([2, 0, 1])
    moved = batch._replace(**{name: getattr(batch, name)[order] for name in ("support_x", "support_y", "query_x", "query_y")})
    assert torch.equal(one.episode_logits(batch)[order], one.episode_logits(moved))


def test_lengths_are_positive_one_for_each_normalised_weight_and_none_for_the_head() -> None:
    one = learner("cxgrad", "conv4")
    assert len(one.rescaled) == 4 and not any("head" in name or "bias" in name for name in one.rescaled)
    assert one.diagnostics(episodes())["log_gamma"].isfinite().all()
    assert one.parts["step"].generator[0].weight.shape == (100, 100)


def test_queries_change_neither_context_nor_lengths() -> None:
    one, batch = _make(bn_eps=1e-2), episodes()
    other = batch._replace(query_x=batch.query_x.flip(1) * 3)
    assert all(torch.equal(value, one.diagnostics(other)[name]) for name, value in one.diagnostics(batch).items())


@pytest.mark.parametrize("first_order", [False, True])
def test_fixed_lengths_are_scaled_gradient_steps(first_order: bool) -> None:
    """Without eps: w <- w - alpha (|w| / gamma)^2 grad, for weights that a norm follows."""
    gamma = torch.tensor([0.3, 0.6], dtype=torch.float64)
    one, scaled = _make(bn_eps=TINY, first_order=first_order, inner_steps=5), learner("maml", "conv", engine="loop", bn_eps=TINY,
        first_order=first_order, inner_steps=5, inner_rate=0.05)  # fmt: skip
    _forced(one, lambda context, params: gamma + 0 * context.sum())

    def step(params: Any, state: Any, objective: Any, rates: Any, gradient: Any) -> Any:
        grads = gradient(objective, params)
        factor = {name: (params[name].norm() / value) ** 2 for name, value in zip(one.rescaled, gamma)}
        return {name: value - factor.get(name, 1) * rates[name] * grads[name] for name, value in params.items()}, state, {}

    scaled.parts["step"].forward = step
    assert torch.allclose(one.episode_logits(episodes()), scaled.episode_logits(episodes()), atol=1e-8)
    tolerance = 1e-7
    gradient, expected = meta_gradient(one, episodes())[1], meta_gradient(scaled, episodes())[1]
    if first_order:
        gradient, expected = ({name: value for name, value in each.items() if name not in one.rescaled} for each in (gradient, expected))
    assert difference(gradient, expected) < tolerance


def test_it_acts_and_its_generator_learns() -> None:
    one = _make()
    gradient = meta_gradient(one, episodes())[1]
    assert float(gradient["parts.step.generator.2.bias"].abs().max()) > 1e-4
    maml = learner("maml", "conv", inner_steps=3, inner_rate=0.05)
    assert not torch.allclose(maml.episode_logits(episodes()), one.episode_logits(episodes()), atol=1e-4)


def test_networks_without_norms_are_refused() -> None:
    with pytest.raises(UserError, match="network.norm=batch"):
        learner("cxgrad", "mlp", net={"hidden": (7,), "norm": "none"})


def test_the_context_descends_from_zero_by_a_step_before_the_loop_and_one_in_each_of_its_steps() -> None:
    """The loop written out, with an eps that gives the context something to carry."""
    one, batch = _make(bn_eps=1e-2, inner_steps=2, context_rate=5.0), episodes(1)
    generator, params = one.parts["step"].generator, dict(one.network.named_parameters())

    def rescaled(at: Any, context: torch.Tensor) -> Any:
        lengths = dict(zip(one.rescaled, generator(context)))
        return {name: lengths[name] * value / value.norm() if name in lengths else value for name, value in at.items()}

    def loss(at: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        logits = one.net.head(at, one.net.features(at, x, ByBatch(1e-2)))
        return torch.nn.functional.cross_entropy(logits, y)

    def support(at: Any) -> torch.Tensor:
        return loss(at, batch.support_x[0], batch.support_y[0])

    context, norms = torch.zeros(100, dtype=torch.float64, requires_grad=True), []
    context = (context - 5 * torch.autograd.grad(support(rescaled(params, context)), context)[0]).detach().requires_grad_()
    first, at = context, params
    for _ in range(2):
        moved = rescaled(at, context)
        grads = torch.autograd.grad(support(moved), [context, *(moved[name] for name in one.adapted)], create_graph=True)
        context = context - 5 * grads[0]
        at = {**moved, **{name: moved[name] - 0.05 * grad for name, grad in zip(one.adapted, grads[1:])}}
        norms.append(float(context.norm().detach()))
    assert one.diagnostics(batch)["context_norm"][0].tolist() == pytest.approx(norms, rel=1e-9)
    names = [*dict(one.network.named_parameters())]
    learned = [*one.network.parameters(), *one.parts.parameters()]
    expected = torch.autograd.grad(loss(at, batch.query_x[0], batch.query_y[0]), learned)
    names += [f"parts.{name}" for name, _ in one.parts.named_parameters()]
    assert difference(meta_gradient(one, batch)[1], dict(zip(names, expected))) < 1e-9
    assert first.norm() > 0 and norms[0] > 0
