"""A Fisher on some of the examples takes them at random from all of them, by the run's seed."""

from __future__ import annotations

from tests.strategies.driver import make_setup, prepared, tiny_scenario


def chosen(seed, index=0):
    setup = make_setup(tiny_scenario(), seed=seed)
    strategy = prepared("ewc", setup, fisher_samples=12)
    (phase,) = strategy.penalty.measuring(setup.scenario.experiences[index])
    return phase.batches.examples


def test_examples_are_drawn_from_all_classes_and_depend_on_the_seed_and_the_experience():
    first = chosen(0)
    assert len(first) == 12 and len(set(first.rows.tolist())) == 12
    assert set(first.targets.tolist()) == {0, 1}
    assert first.rows.tolist() == chosen(0).rows.tolist() != chosen(1).rows.tolist()
    offset = make_setup(tiny_scenario()).scenario.experiences[1].train.rows[0]
    assert (chosen(0, 1).rows - offset).tolist() != first.rows.tolist()
