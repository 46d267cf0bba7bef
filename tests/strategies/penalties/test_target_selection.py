"""Learning rate and damping are chosen on the new task's validation data, and on nothing else."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from scenarios.errors import UserError
from strategies.penalties.target_selection import TargetOnly
from tests.strategies.driver import equal, prepared, run_experience, run_stream
from tests.strategies.penalties.test_kfac import QUICK, setup_for

GRID = {"select_on_target": True, "select_learning_rates": (0.05, 1e-6), "select_dampings": (0.0, 1e-3), **QUICK}


def setup_with_validation(**train):
    setup = setup_for(**train)
    experiences = tuple(
        replace(
            experience,
            validation=experience.train.select(torch.arange(0, len(experience.train), 3)),
            train=experience.train.select(torch.arange(1, len(experience.train), 3)),
        )
        for experience in setup.scenario.experiences
    )
    return replace(setup, scenario=replace(setup.scenario, experiences=experiences))


def test_the_best_candidate_is_kept_and_told():
    setup = setup_with_validation(epochs=6)
    strategy = run_stream(prepared("kfac", setup, **GRID), setup.scenario.experiences[:2])
    rows = strategy.report()["selection"]
    assert len(rows) == 4 and {row["experience"] for row in rows} == {1}
    chosen = [row for row in rows if row["chosen"]]
    assert len(chosen) == 1
    assert all((row["validation_accuracy"], row["damping"]) <= (chosen[0]["validation_accuracy"], chosen[0]["damping"]) for row in rows)
    assert chosen[0]["learning_rate"] == 0.05 and strategy.penalty.damping == chosen[0]["damping"]


def test_it_ends_as_if_the_chosen_candidate_had_been_asked_for():
    setup = setup_with_validation()
    first, second = setup.scenario.experiences[:2]
    single = {**GRID, "select_learning_rates": (0.02,), "select_dampings": (1e-3,)}
    chosen = run_stream(prepared("kfac", setup, **single), [first])
    asked = run_stream(prepared("kfac", setup, damping=1e-3, **QUICK), [first])
    assert equal(chosen.network.state_dict(), asked.network.state_dict())
    networks = []
    for strategy in (chosen, asked):

        def keep(phase, epoch, strategy=strategy):
            if (phase, epoch) == (1, 2):
                networks.append(copy.deepcopy(strategy.network.state_dict()))

        run_experience(strategy, second, at_boundary=keep)
    assert equal(*networks)


def test_of_equal_candidates_the_one_with_more_damping_is_kept():
    setup = setup_with_validation()
    options = {**GRID, "select_learning_rates": (1e-30,), "select_dampings": (0.0, 1e-2, 1e-3)}
    strategy = run_stream(prepared("kfac", setup, **options), setup.scenario.experiences[:2])
    assert [row["damping"] for row in strategy.report()["selection"] if row["chosen"]] == [1e-2]


def test_choosing_fails_if_source_data_are_touched():
    setup = setup_with_validation()
    strategy = prepared("kfac", setup, **GRID)
    first, second = setup.scenario.experiences[:2]
    run_experience(strategy, first)
    for wrong in (replace(second, validation=first.validation), replace(second, train=first.train)):
        with pytest.raises(AssertionError, match="new task's data alone"):
            run_experience(strategy, wrong)


def test_batches_of_a_target_are_those_of_its_examples():
    examples = setup_with_validation().scenario.experiences[1].train
    source = TargetOnly(examples, 8, target=1)
    batches = list(source.epoch(lambda purpose: torch.Generator().manual_seed(0)))
    assert sum(len(batch.x) for batch in batches) == len(examples) and len(batches) == len(source)


def test_without_validation_data_it_is_refused_in_one_line():
    with pytest.raises(UserError, match="scenario.validation_share"):
        prepared("xkfac", setup_for(), **GRID)


def test_resumed_while_choosing_it_goes_on_bit_for_bit():
    setup = setup_with_validation(momentum=0.0)
    whole = run_stream(prepared("xkfac", setup, **GRID), setup.scenario.experiences[:1])
    second, saved = setup.scenario.experiences[1], {}
    run_experience(whole, second, at_boundary=lambda phase, epoch: saved.update({(phase, epoch): copy.deepcopy(whole.state_dict())}))
    for place in ((1, 1), (3, 1), (5, 1)):
        resumed = prepared("xkfac", setup, **GRID)
        resumed.load_state_dict(saved[place])
        run_experience(resumed, second, start=place)
        assert equal(resumed.state_dict(), whole.state_dict()), place
