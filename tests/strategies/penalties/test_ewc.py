"""EWC is the list of its penalties; online EWC fades them; both count strength / 2."""

from __future__ import annotations

import pytest
import torch

from tests.strategies.penalties.watch import flat, learn, penalty_gradient, shift, small


def list_of_penalties(strategy, count=3):
    """Learn so many experiences, and keep each one's Fisher and end."""
    kept = []
    for experience in strategy.setup.scenario.experiences[:count]:
        learn(strategy, experience)
        kept.append((strategy.penalty.fisher.mean().clone(), flat(list(strategy.network.parameters()))))
    return kept


@pytest.mark.parametrize("setting", ["domain", "task", "class"])
def test_value_and_gradient_are_those_of_a_penalty_for_each_experience(setting):
    strategy = small("ewc", setting, strength=3.0)
    kept = list_of_penalties(strategy)
    theta = shift(strategy).requires_grad_()
    value = 3.0 / 2 * sum((fisher * (theta - end) ** 2).sum() for fisher, end in kept)
    value.backward()
    assert torch.allclose(strategy.penalty.value(), value.detach(), rtol=1e-12, atol=0)
    assert torch.allclose(penalty_gradient(strategy), theta.grad, rtol=1e-9, atol=1e-15)
    assert value > 0


def test_after_several_experiences_the_value_at_the_last_end_is_that_of_the_list():
    strategy = small("ewc", strength=3.0)
    kept = list_of_penalties(strategy)
    value = 3.0 / 2 * sum((fisher * (kept[-1][1] - end) ** 2).sum() for fisher, end in kept)
    assert value > 0 and torch.allclose(strategy.penalty.value(), value, rtol=1e-12, atol=0)


@pytest.mark.parametrize("gamma", [1.0, 0.5, 0.0])
def test_online_keeps_one_fading_fisher_around_the_last_end(gamma):
    strategy = small("online-ewc", strength=3.0, gamma=gamma)
    kept = list_of_penalties(strategy)
    fisher = gamma**2 * kept[0][0] + gamma * kept[1][0] + kept[2][0]
    theta = shift(strategy)
    expected = 3.0 * fisher * (theta - kept[-1][1])
    assert torch.allclose(penalty_gradient(strategy), expected, rtol=1e-12, atol=1e-16)
    assert torch.allclose(strategy.penalty.value(), 3.0 / 2 * (fisher * (theta - kept[-1][1]) ** 2).sum(), rtol=1e-12, atol=0)


def test_after_the_first_experience_both_forms_agree():
    ends = []
    for name in ("ewc", "online-ewc"):
        strategy = small(name, strength=3.0)
        for experience in strategy.setup.scenario.experiences[:2]:
            ends.append(learn(strategy, experience).end)
    assert torch.equal(ends[0], ends[2]) and torch.equal(ends[1], ends[3])


@pytest.mark.parametrize("estimator", ["exact", "sampled", "empirical", "batch"])
def test_every_estimator_acts_and_is_named_in_the_report(estimator):
    strategy = small("ewc", strength=3.0, fisher=estimator)
    learn(strategy, strategy.setup.scenario.experiences[0])
    shift(strategy)
    assert float(strategy.penalty.value()) > 0 and strategy.report()["fisher"] == estimator


def test_the_batch_estimator_measures_on_batches_of_training():
    for estimator, length in (("batch", 3), ("exact", 1)):
        strategy = small("ewc", fisher=estimator)
        measuring = strategy.phases(strategy.setup.scenario.experiences[0])[-1]
        assert len(measuring.batches) == length


def test_as_many_samples_as_asked_for_are_measured_the_same_in_every_call():
    strategy = small("ewc", fisher_samples=10)
    experience = strategy.setup.scenario.experiences[0]
    chosen = [strategy.phases(experience)[-1].batches.examples.rows for _ in range(2)]
    assert len(chosen[0]) == 10 and torch.equal(*chosen)
    assert len(small("ewc", fisher_samples=1000).phases(experience)[-1].batches.examples) == len(experience.train)
