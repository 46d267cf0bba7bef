"""Meta-SGD: its step by hand, its gradient, and MAML as its beginning."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from scenarios.errors import UserError
from tests.strategies.meta.episodes import difference, episodes, learner, meta_gradient

PLAIN = {"hidden": (5,), "norm": "none"}


def test_it_begins_as_maml_in_answers_and_gradient() -> None:
    options = {"inner_steps": 2, "inner_rate": 0.3}
    plain, own = learner("maml", "conv", **options), learner("metasgd", "conv", **options)
    assert torch.allclose(plain.episode_logits(episodes()), own.episode_logits(episodes()), atol=1e-12)
    first, second = (meta_gradient(one, episodes())[1] for one in (plain, own))
    assert difference(first, second) < 1e-12 and any("rates" in name for name in second)


def test_a_step_and_its_gradient_are_those_of_its_equation() -> None:
    one, batch = learner("metasgd", net=PLAIN), episodes(2)
    generator = torch.Generator().manual_seed(1)
    alphas = list(one.parts["step"].rates)
    for alpha in alphas:
        alpha.data = 0.3 * torch.randn(alpha.shape, generator=generator, dtype=torch.float64)
    theta = dict(one.network.named_parameters())

    def loss(at: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(torch.func.functional_call(one.network, at, x), y)

    losses = []
    for e in range(2):
        grads = torch.autograd.grad(loss(theta, batch.support_x[e], batch.support_y[e]), list(theta.values()), create_graph=True)
        adapted = {name: value - alpha * grad for (name, value), alpha, grad in zip(theta.items(), alphas, grads)}
        losses.append(loss(adapted, batch.query_x[e], batch.query_y[e]))
    expected = torch.autograd.grad((losses[0] + losses[1]) / 2, [*theta.values(), *alphas])
    names = [*theta, *(f"parts.step.rates.{i}" for i in range(len(alphas)))]
    assert difference(meta_gradient(one, batch)[1], dict(zip(names, expected))) < 1e-11


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_engines_agree(network: str) -> None:
    first, second = (meta_gradient(learner("metasgd", network, engine=engine), episodes())[1] for engine in ("loop", "batched"))
    assert difference(first, second) < 1e-10
    with pytest.raises(UserError, match="engine=factored serves maml"):
        learner("metasgd", network, engine="factored").episode_loss(episodes())


def test_it_combines_with_methods_of_other_steps_and_with_no_second_step_size() -> None:
    assert type(learner("l2f+metasgd", "conv").parts["step"]).__name__ == "OwnRates"
    for name in ("metasgd", "metasgd+tapl"):
        with pytest.raises(UserError, match="leave strategy.learn_rates out"):
            learner(name, learn_rates=True)
    with pytest.raises(UserError, match="both replace the step 'step'"):
        learner("cxgrad+metasgd")
