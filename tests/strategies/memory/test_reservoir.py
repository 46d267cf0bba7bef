"""The reservoir is uniform over the whole stream, and differs from experience to experience and from seed to seed."""

from __future__ import annotations

import torch

from tests.strategies.driver import make_setup, prepared, tiny_scenario


def memory_after(experiences, size, seed):
    setup = make_setup(tiny_scenario(experiences=experiences), seed=seed)
    strategy = prepared("replay", setup, memory=size)
    for experience in setup.scenario.experiences:
        strategy.take_up(experience)
    return strategy.memory


def test_a_memory_over_four_experiences_holds_each_alike():
    counts = sum(torch.bincount(memory_after(4, 40, seed).tasks, minlength=4) for seed in range(30)).double() / 30
    assert counts.sum() == 40
    # Each count of 10 has a standard deviation of 2.4 in one run, 0.45 in the mean of 30.
    assert (counts - 10).abs().max() < 1.8, counts


def test_what_is_kept_depends_on_the_seed():
    kept = {tuple(memory_after(2, 12, seed).rows.tolist()) for seed in range(4)}
    assert len(kept) == 4


def test_each_experience_draws_its_places_anew():
    setup = make_setup(tiny_scenario(experiences=3))
    keys, generator = [], setup.randomness.generator

    class Watched(type(setup.randomness)):
        def generator(self, *purpose, device="cpu"):
            keys.append(purpose)
            return generator(*purpose, device=device)

    strategy = prepared("replay", setup, memory=10)
    object.__setattr__(strategy.setup, "randomness", Watched(setup.randomness.seed))
    for experience in setup.scenario.experiences:
        strategy.take_up(experience)
    assert len(set(keys)) == 3
