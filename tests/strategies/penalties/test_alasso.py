"""ALASSO's surrogate, its update, and the limits in which it is SI or nothing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as draw
from torch import Tensor

from strategies.penalties.alasso import AlassoConfig, AlassoPenalty
from strategies.penalties.flat import Flat
from tests.strategies.penalties.watch import Watched, flat, learn, penalty_gradient, shift, small


def surrogate(x: Tensor, importance: Tensor, direction: Tensor, a: float, eps: float) -> Tensor:
    """Section c.2, one number after the other."""
    values = []
    for x_k, o_k, r_k in zip(x.tolist(), importance.tolist(), direction.tolist()):
        side = x_k * r_k
        values.append(0.0 if side == 0 else (o_k if side < 0 else a * o_k + eps) * x_k**2)
    return torch.tensor(values, dtype=torch.float64)


def made(config: AlassoConfig, importance: list[float], direction: list[int], centre: list[float] | None = None) -> AlassoPenalty:
    """A penalty on a row of parameters, in the midst of a stream."""
    parameter = torch.nn.Parameter(torch.zeros(len(importance), dtype=torch.float64))
    penalty = AlassoPenalty(Flat([parameter]), config)
    state = penalty.state_dict()
    state["importance"] = torch.tensor(importance, dtype=torch.float64)
    state["direction"] = torch.tensor(direction, dtype=torch.int8)
    state["centre"] = torch.tensor(centre or [0.0] * len(importance), dtype=torch.float64)
    penalty.load_state_dict({**state, "experiences": 1})
    return penalty


def put(penalty: AlassoPenalty, values: Tensor) -> None:
    with torch.no_grad():
        penalty.flat.parameters[0].copy_(values)
    penalty.path.refresh()


def added(penalty: AlassoPenalty) -> Tensor:
    parameter = penalty.flat.parameters[0]
    parameter.grad = torch.zeros_like(parameter)
    penalty.add_gradient_()
    return parameter.grad


def stream(name: str, count: int = 3, seed: int = 0, **options: object) -> tuple[object, list[Watched]]:
    strategy = small(name, seed=seed, **options)
    parameters = list(strategy.network.parameters())
    optimizer = torch.optim.Adam(parameters, 1e-2)
    return strategy, [learn(strategy, experience, 8, optimizer) for experience in strategy.setup.scenario.experiences[:count]]


OPTIONS = [{}, {"a": 3.0, "eps": 0.0, "strength": 0.3, "strength_update": 2.0, "a_update": 1.5}]


@pytest.mark.parametrize("options", OPTIONS)
def test_after_the_first_experience_its_importance_is_that_of_si(options):
    alasso, si = stream("alasso", 1, **options)[0], stream("si", 1)[0]
    assert torch.equal(alasso.penalty.importance.flat, si.penalty.importance.flat)
    assert si.penalty.importance.flat.max() > 0


def test_without_overestimation_it_is_si_to_the_end_of_the_second_experience_and_departs_then():
    alasso = stream("alasso", strength=2.0, a=1.0, eps=0.0)[1]
    si = stream("si", strength=2.0)[1]
    for ours, theirs in zip(alasso[:2], si[:2]):
        assert all(map(torch.equal, ours.moves, theirs.moves)) and torch.equal(ours.end, theirs.end)
    assert not torch.allclose(alasso[2].end, si[2].end, rtol=0, atol=1e-4)


def test_the_recursion_of_si_needs_a_negative_update_strength_and_no_damping():
    rest = {"a": 1.0, "eps": 0.0, "a_update": 1.0, "eps_update": 0.0, "strength_update": -1.0, "xi": 0.0}
    strategy = small("alasso", **rest)
    penalty = strategy.penalty
    previous = torch.zeros_like(penalty.importance.flat)
    for experience in strategy.setup.scenario.experiences:
        watched = learn(strategy, experience, 8)
        si = previous + torch.where(watched.displacement == 0, 0.0, watched.path / watched.displacement**2)
        positive = watched.path >= 0
        assert torch.allclose(penalty.importance.flat[positive], si[positive], rtol=1e-9)
        assert bool(positive.any())
        previous = penalty.importance.flat.clone()


def test_the_update_follows_the_specification_step_by_step():
    config = {"xi": 0.03, "strength_update": 0.7, "a_update": 1.2, "eps_update": 0.1, "omega_smoothing": 0.6, "a": 2.5, "strength": 1.3}
    strategy = small("alasso", **config)
    penalty = strategy.penalty
    importance = torch.zeros(len(penalty.flat), dtype=torch.float64)
    direction = torch.ones_like(importance)
    for experience in strategy.setup.scenario.experiences:
        watched = learn(strategy, experience)
        old = surrogate(watched.displacement, importance, direction, 1.2, 0.1)
        candidate = (watched.path - 0.7 * old) / (watched.displacement**2 + 0.03)
        importance = torch.maximum(0.6 * candidate + 0.4 * importance, importance)
        direction = torch.where(watched.displacement < 0, -1.0, torch.where(watched.displacement > 0, 1.0, direction))
        assert torch.allclose(penalty.importance.flat, importance, rtol=1e-9, atol=1e-15)
        assert torch.equal(penalty.direction.double(), direction)
        assert torch.equal(penalty.centre.flat, watched.end)


def test_the_new_parabola_accounts_for_the_new_loss_and_the_old_surrogate():
    strategy = small("alasso", strength_update=0.8, xi=0.0)
    penalty = strategy.penalty
    matched = 0
    for experience in strategy.setup.scenario.experiences:
        importance, direction = penalty.importance.flat.clone(), penalty.direction.clone()
        watched = learn(strategy, experience)
        old = surrogate(watched.displacement, importance, direction, 1.0, 0.0)
        drop = watched.path - 0.8 * old
        chosen = (penalty.importance.flat > importance) & (watched.displacement != 0)
        new = surrogate(-watched.displacement, penalty.importance.flat, penalty.direction, 1.8, 1e-6)
        assert torch.allclose(new[chosen], drop[chosen], rtol=1e-9)
        matched += int(chosen.sum())
    assert matched > 100


def test_the_importance_never_decreases_and_is_never_negative():
    strategy = small("alasso", strength=3.0)
    before = strategy.penalty.importance.flat.clone()
    for experience in strategy.setup.scenario.experiences:
        learn(strategy, experience)
        assert bool((strategy.penalty.importance.flat >= before).all()) and bool((before >= 0).all())
        before = strategy.penalty.importance.flat.clone()


def test_value_and_gradient_are_0_at_the_centre():
    strategy = small("alasso")
    learn(strategy, strategy.setup.scenario.experiences[0])
    assert float(strategy.penalty.value()) == 0 and bool((penalty_gradient(strategy) == 0).all())


@given(
    importance=draw.floats(1e-3, 10), r=draw.sampled_from([-1, 1]), t=draw.floats(1e-3, 5), a=draw.floats(0.5, 5), eps=draw.floats(0, 2)
)
@settings(max_examples=50, deadline=None)
def test_the_unobserved_side_is_steeper_by_a_and_eps(importance, r, t, a, eps):
    penalty = made(AlassoConfig(a=a, eps=eps), [importance], [r], [0.3])
    sides = []
    for step in (r * t, -r * t):
        put(penalty, torch.tensor([0.3 + step], dtype=torch.float64))
        sides.append(float(penalty.value()))
    assert sides[0] / sides[1] == pytest.approx(a + eps / importance, rel=1e-9)


def test_mirrored_parameters_and_directions_have_the_same_surrogate():
    config = AlassoConfig(a=2.0, eps=0.1)
    theta = torch.tensor([0.5, -0.2, 0.7], dtype=torch.float64)
    first = made(config, [1.0, 2.0, 0.0], [1, -1, 1], [0.1, 0.2, 0.3])
    mirrored = made(config, [1.0, 2.0, 0.0], [-1, 1, -1], [-0.1, -0.2, -0.3])
    put(first, theta)
    put(mirrored, -theta)
    assert torch.allclose(first.value(), mirrored.value(), rtol=1e-15) and torch.allclose(added(first), -added(mirrored), rtol=1e-15)


@pytest.mark.parametrize("options", OPTIONS)
def test_the_gradient_is_autograds_of_the_written_formula(options):
    strategy, _ = stream("alasso", 2, **options)
    penalty, config = strategy.penalty, strategy.config
    theta = shift(strategy).requires_grad_()
    x = theta - penalty.centre.flat
    unobserved = x * penalty.direction > 0
    coefficient = torch.where(unobserved, config.a * penalty.importance.flat + config.eps, penalty.importance.flat)
    assert penalty.factor == (config.strength or penalty.strength.value * 2 / float(penalty.importance.flat.mean()))
    value = penalty.factor * (coefficient * x**2).sum()
    value.backward()
    assert torch.allclose(penalty.value(), value.detach(), rtol=1e-12)
    assert torch.allclose(penalty_gradient(strategy), theta.grad, rtol=1e-9, atol=1e-15)
    assert bool(unobserved.any()) and bool((~unobserved).any())


def test_what_does_not_move_keeps_importance_and_direction():
    penalty = made(AlassoConfig(xi=0.0), [1.0, 2.0, 0.0], [-1, 1, -1])
    penalty.before_experience(None)
    penalty.after_experience()
    assert penalty.importance.flat.tolist() == [1.0, 2.0, 0.0] and penalty.direction.tolist() == [-1, 1, -1]


def test_the_direction_survives_an_importance_of_0():
    penalty = made(AlassoConfig(strength=1.0, eps=1.0), [0.0, 0.0], [1, -1])
    put(penalty, torch.tensor([0.1, 0.1], dtype=torch.float64))
    assert added(penalty).tolist() == pytest.approx([0.2, 0.0])


def test_the_first_experience_is_free_unless_asked_for():
    for asked in (False, True):
        strategy = small("alasso", strength=1.0, eps=0.5, penalise_first_task=asked)
        strategy.penalty.before_experience(strategy.network)
        start = flat(list(strategy.network.parameters()))
        theta = shift(strategy)
        below = (theta < start) * 2 * 0.5 * (theta - start)
        expected = below if asked else torch.zeros_like(below)
        assert torch.allclose(penalty_gradient(strategy), expected, rtol=1e-12, atol=1e-16)
        assert float(strategy.penalty.value()) == pytest.approx(float((expected**2).sum() / (4 * 0.5)), rel=1e-12)
