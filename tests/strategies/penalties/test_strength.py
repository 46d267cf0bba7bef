"""The two conventions of a strength: which is in force, and what they multiply."""

from __future__ import annotations

import pytest
import torch

from tests.strategies.driver import prepared, run_experience, run_stream
from tests.strategies.penalties.watch import learn, small

NAMES = ["ewc", "online-ewc", "si", "mas", "alasso"]
IN_FORCE = [
    ({}, "mean"),
    ({"strength": 3.0}, "published"),
    ({"strength": 3.0, "scale": "mean"}, "mean"),
    ({"scale": "published"}, "published"),
]


@pytest.mark.parametrize("options, scale", IN_FORCE)
@pytest.mark.parametrize("name", NAMES)
def test_a_strength_that_is_given_is_the_published_ones_unless_the_scale_is_given_too(name, options, scale):
    report = small(name, **options).report()
    assert report["scale"] == scale
    assert report["strength"] == 3.0 if options.get("strength") else report["strength"] > 0


def test_the_published_defaults_are_those_of_the_methods():
    found = {name: small(name, scale="published").report()["strength"] for name in NAMES}
    assert found == {"ewc": 1000.0, "online-ewc": 1000.0, "si": 1.0, "mas": 1.0, "alasso": 1.0}


@pytest.mark.parametrize("name, share", [("ewc", 0.5), ("online-ewc", 0.5), ("si", 1.0), ("mas", 1.0), ("alasso", 1.0)])
def test_in_the_mean_an_importance_is_as_many_as_there_are_experiences(name, share):
    strategy = small(name, strength=0.25, scale="mean")
    for number, experience in enumerate(strategy.setup.scenario.experiences, 1):
        learn(strategy, experience)
        penalty = strategy.penalty
        assert penalty.factor * float(penalty.importance.flat.mean()) == pytest.approx(0.25 * share * number)


@pytest.mark.parametrize("name", ["ewc", "si", "mas"])
def test_by_its_mean_a_penalty_does_not_depend_on_the_unit_of_its_importances(name):
    values = []
    for unit in (1.0, 1e-6):
        strategy = small(name, strength=0.25, scale="mean")
        learn(strategy, strategy.setup.scenario.experiences[0])
        strategy.penalty.importance.flat.mul_(unit)
        strategy.penalty.load_state_dict(strategy.penalty.state_dict())
        for parameter in strategy.network.parameters():
            parameter.data.add_(0.01)
        values.append(strategy.penalty.value())
    torch.testing.assert_close(values[0], values[1])


@pytest.mark.parametrize("name", NAMES)
def test_where_nothing_is_important_nothing_is_kept(name):
    strategy = small(name, scale="mean")
    strategy.penalty.experiences = 1
    strategy.penalty.load_state_dict({**strategy.penalty.state_dict(), "experiences": 1})
    assert strategy.penalty.factor == 0


def test_the_two_conventions_meet_at_the_strength_that_makes_them_one():
    setup = small("mas").setup
    first = prepared("mas", setup, strength=0.5, scale="mean")
    optimizers = run_experience(first, setup.scenario.experiences[0])
    second = run_stream(prepared("mas", setup, strength=first.penalty.factor), setup.scenario.experiences[:2])
    run_experience(first, setup.scenario.experiences[1], optimizers)
    assert all(torch.equal(one, other) for one, other in zip(first.network.parameters(), second.network.parameters()))
    assert first.penalty.factor != pytest.approx(second.penalty.factor)
