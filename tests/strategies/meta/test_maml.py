"""MAML: functional adaptation, its orders, its options, and what its answer may depend on."""

from __future__ import annotations

import torch
from torch.nn import functional

from tests.strategies.meta.episodes import difference, episodes, learner, meta_gradient


def test_adaptation_is_gradient_descent_on_the_support_set() -> None:
    one, batch = learner("maml", net={"hidden": (7,), "norm": "none"}, inner_steps=2, inner_rate=0.5), episodes(1)
    params = {name: value.detach().clone().requires_grad_() for name, value in one.network.named_parameters()}
    for _ in range(2):
        logits = torch.func.functional_call(one.network, params, batch.support_x[0])
        grads = torch.autograd.grad(functional.cross_entropy(logits, batch.support_y[0]), list(params.values()))
        params = {name: (value - 0.5 * grad).detach().requires_grad_() for (name, value), grad in zip(params.items(), grads)}
    expected = torch.func.functional_call(one.network, params, batch.query_x[0])
    assert torch.allclose(one.episode_logits(batch)[0], expected, atol=1e-12)


def test_answers_after_every_step_begin_before_adaptation_and_end_with_the_answer() -> None:
    one, batch = learner("maml", inner_steps=3, inner_rate=0.3), episodes()
    steps = one.episode_logits(batch, steps=True)
    assert steps.shape == (4, 3, 6, 3)
    assert torch.allclose(steps[-1], one.episode_logits(batch), atol=1e-12)
    assert torch.allclose(steps[0, 1], one.logits(batch.query_x[1]), atol=1e-12)


def test_query_labels_never_influence_an_answer() -> None:
    for name in ("maml", "anil", "l2f", "cxgrad", "tapl", "l2f+cxgrad+tapl"):
        one, batch = learner(name, inner_steps=2, inner_rate=0.3), episodes()
        other = batch._replace(query_y=batch.query_y.roll(1, 1))
        assert torch.equal(one.episode_logits(batch, steps=True), one.episode_logits(other, steps=True))


def test_adaptation_leaves_the_learner_as_it_was() -> None:
    one = learner("maml", inner_steps=2, inner_rate=0.3)
    before = {name: value.clone() for name, value in one.network.state_dict().items()}
    one.episode_logits(episodes())
    one.episode_loss(episodes())
    assert all(torch.equal(value, before[name]) for name, value in one.network.state_dict().items())


def test_tasks_are_independent() -> None:
    one, batch = learner("maml", inner_steps=2, inner_rate=0.3), episodes(3)
    apart = []
    for e in range(3):
        single = batch._replace(**{name: getattr(batch, name)[e : e + 1] for name in ("support_x", "support_y", "query_x", "query_y")})
        apart.append(meta_gradient(one, single)[1])
    mean = {name: sum(each[name] for each in apart) / 3 for name in apart[0]}
    assert difference(meta_gradient(one, batch)[1], mean) < 1e-10  # type: ignore[arg-type]


def test_first_order_has_no_second_derivatives_and_can_end() -> None:
    batch, options = episodes(), {"inner_steps": 3, "inner_rate": 0.3}
    second = meta_gradient(learner("maml", **options), batch)[1]
    first = meta_gradient(learner("maml", first_order=True, **options), batch)[1]
    switching = learner("maml", first_order_iterations=2, **options)
    assert difference(first, second) > 1e-3
    assert difference(meta_gradient(switching, batch)[1], first) < 1e-12
    switching.iteration = 2
    assert difference(meta_gradient(switching, batch)[1], second) < 1e-12


def test_first_order_is_the_query_gradient_at_the_adapted_weights() -> None:
    one, batch = learner("maml", net={"hidden": (7,), "norm": "none"}, first_order=True, inner_steps=1, inner_rate=0.5), episodes(1)
    params = {name: value.detach().clone().requires_grad_() for name, value in one.network.named_parameters()}

    def loss(at: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(torch.func.functional_call(one.network, at, x), y)

    grads = torch.autograd.grad(loss(params, batch.support_x[0], batch.support_y[0]), list(params.values()))
    adapted = {name: (value - 0.5 * grad).detach().requires_grad_() for (name, value), grad in zip(params.items(), grads)}
    expected = torch.autograd.grad(loss(adapted, batch.query_x[0], batch.query_y[0]), list(adapted.values()))
    assert difference(meta_gradient(one, batch)[1], dict(zip(adapted, expected))) < 1e-12


def test_norms_are_learned_outside_only() -> None:
    one = learner("maml", "conv")
    assert not any("norm" in name for name in one.adapted)
    gradient = meta_gradient(one, episodes())[1]
    assert all(float(value.abs().max()) > 0 for name, value in gradient.items() if "norm" in name)


def test_multi_step_loss_anneals_from_all_steps_to_the_last() -> None:
    one = learner("maml", inner_steps=4, inner_rate=0.1, multi_step_iterations=10)
    weights = []
    for one.iteration in (0, 5, 9, 10):
        weights.append(one._step_weights())
        assert abs(sum(weights[-1].values()) - 1) < 1e-12
    assert weights[0] == {1: 0.25, 2: 0.25, 3: 0.25, 4: 0.25} and weights[3] == {4: 1.0}
    assert weights[1][1] == 0.125 and weights[1][4] == 0.625
    logits = learner("maml", inner_steps=4, inner_rate=0.1).episode_logits(episodes(), steps=True)[1:]
    each = [functional.cross_entropy(step.flatten(0, 1), episodes().query_y.flatten()) for step in logits]
    one.iteration = 5
    expected = sum(weight * value for weight, value in zip(weights[1].values(), each))
    assert abs(float(one.episode_loss(episodes()).loss.detach() - expected)) < 1e-10


def test_more_steps_can_be_taken_in_evaluation_than_step_sizes_were_learned() -> None:
    one = learner("maml", inner_steps=2, test_steps=5, inner_rate=0.3, learn_rates=True)
    plain = learner("maml", inner_steps=5, inner_rate=0.3)
    assert torch.allclose(one.episode_logits(episodes(), steps=True), plain.episode_logits(episodes(), steps=True), atol=1e-12)


def test_classes_that_an_episode_lacks_are_never_answered() -> None:
    one, batch = learner("maml", inner_steps=2, inner_rate=0.3), episodes()
    kept = batch.support_y != 2
    fewer = batch._replace(support_mask=kept, support_y=batch.support_y.masked_fill(~kept, -100))
    assert (one.episode_logits(fewer).argmax(-1) != 2).all()
    assert (one.episode_logits(fewer)[..., 2] < -1e8).all()


def test_a_saved_state_is_taken_up_bit_for_bit() -> None:
    one, other = learner("maml", learn_rates=True), learner("maml", learn_rates=True, seed=7)
    one.iteration = 3
    other.load_state_dict(one.state_dict())
    assert other.iteration == 3 and torch.equal(one.episode_logits(episodes()), other.episode_logits(episodes()))


def test_training_improves_answers_and_acts_through_adaptation() -> None:
    one = learner("maml", dtype=torch.float32, inner_rate=0.4, meta_batch=8)
    optimizer = torch.optim.Adam(one.parameters(), 0.01)
    for i in range(60):
        optimizer.zero_grad()
        one.episode_loss(episodes(8, shots=1, seed=i, noise=0.3, dtype=torch.float32)).loss.backward()
        optimizer.step()
    batch = episodes(64, shots=1, seed=999, noise=0.3, dtype=torch.float32)
    before, after = ((step.argmax(-1) == batch.query_y).float().mean() for step in one.episode_logits(batch, steps=True))
    assert after > 0.6 and before < 0.5


def test_a_clamp_bounds_the_networks_outer_gradient_and_leaves_the_methods_own_modules_alone() -> None:
    free, bound = learner("l2f", "conv"), learner("l2f", "conv", gradient_clamp=1e-3)
    for one in (free, bound):
        one.episode_loss(episodes()).loss.backward()
        one.after_backward()
    for (name, first), second in zip(free.network.named_parameters(), bound.network.parameters()):
        assert torch.equal(first.grad.clamp(-1e-3, 1e-3), second.grad), name
    assert max(float(parameter.grad.abs().max()) for parameter in free.network.parameters()) > 1e-3
    assert all(torch.equal(first.grad, second.grad) for first, second in zip(free.parts.parameters(), bound.parts.parameters()))
    (phase,) = bound.phases(type("Experience", (), {"train": None})())
    assert phase.updates[0].after_backward == bound.after_backward


def test_the_sum_over_tasks_is_the_mean_times_their_number() -> None:
    mean, total = meta_gradient(learner("maml"), episodes(3)), meta_gradient(learner("maml", over_tasks="sum"), episodes(3))
    assert abs(3 * mean[0] - total[0]) < 1e-10
    assert difference({name: 3 * value for name, value in mean[1].items()}, total[1]) < 1e-10
