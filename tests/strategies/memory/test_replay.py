"""Replay remembers a fair sample of the stream, trains on it, and without memory is naive bit for bit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.random import Randomness
from scenarios.streams.arrival import blur
from scenarios.streams.views import Permutation
from strategies.memory.buffer import reservoir
from strategies.memory.rehearsal import WithReplay
from strategies.phase import TrainConfig
from tests.strategies.driver import accuracy, equal, make_setup, prepared, run_experience, run_stream, tiny_scenario

NOTHING = torch.zeros(0, dtype=torch.int64)


def sequential_reservoir(kept, met, new, size, generator):
    kept = kept.tolist()
    drawn = torch.rand(new, generator=generator, dtype=torch.float64).tolist()
    for number, uniform in zip(range(met, met + new), drawn):
        place = int(uniform * (number + 1))
        if number < size:
            kept.append(number)
        elif place < size:
            kept[place] = number
    return kept


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 12), st.lists(st.integers(0, 30), max_size=4), st.integers(0, 1000))
def test_the_reservoir_is_the_sequential_algorithm(size, lengths, seed):
    kept, met = NOTHING, 0
    for number, new in enumerate(lengths):
        expected = sequential_reservoir(kept, met, new, size, Randomness(seed).generator(number))
        kept = reservoir(kept, met, new, size, Randomness(seed).generator(number))
        met += new
        assert kept.tolist() == expected
        assert len(kept) == min(size, met) == len(set(kept.tolist()))


def test_every_example_of_the_stream_is_kept_with_the_same_probability():
    counts = torch.zeros(30)
    for seed in range(1000):
        kept = NOTHING
        for met in (0, 10, 20):
            kept = reservoir(kept, met, 10, 6, Randomness(seed).generator(met))
        counts[kept] += 1
    expected = 1000 * 6 / 30
    # 5 standard deviations of a binomial count
    assert (counts - expected).abs().max() < 5 * (expected * (1 - 6 / 30)) ** 0.5


@pytest.mark.parametrize("setting", ["task", "domain", "class"])
def test_without_memory_it_is_naive_bit_for_bit(setting):
    setup = make_setup(tiny_scenario(setting, shape=(3, 16, 16)), "conv", TrainConfig(epochs=2, batch_size=16, augmentation="crop-flip"))
    replay, naive = run_stream(prepared("replay", setup, memory=0)), run_stream(prepared("naive", setup))
    assert equal(replay.network.state_dict(), naive.network.state_dict())


@pytest.mark.parametrize("setting", ["task", "domain", "class"])
def test_it_acts_and_remembers(setting):
    scenario = tiny_scenario(setting, noise=70.0)
    setup = make_setup(scenario, train=TrainConfig(epochs=4, batch_size=16))
    replay, naive = run_stream(prepared("replay", setup, memory=40)), run_stream(prepared("naive", setup))
    assert not equal(replay.network.state_dict(), naive.network.state_dict())
    kept = accuracy(replay, scenario.experiences[0])
    assert kept > 0.8 and kept >= accuracy(naive, scenario.experiences[0])


def test_the_memory_holds_rows_of_experiences_met_with_their_own_targets_and_tasks():
    setup = make_setup(tiny_scenario())
    strategy = prepared("replay", setup, memory=20)
    for index, experience in enumerate(setup.scenario.experiences):
        run_experience(strategy, experience)
        memory = strategy.memory
        assert len(memory) == 20 and int(memory.tasks.max()) <= index
        assert torch.equal(memory.storage.images.labels[memory.rows], memory.targets)
        assert torch.equal(memory.targets // 2, memory.tasks)
    assert strategy.report() == {"replay_memory": {"examples": 20, "bytes": 20 * 64}}


def test_new_examples_come_as_without_replay_and_remembered_ones_go_round():
    setup = make_setup(tiny_scenario(), train=TrainConfig(epochs=1, batch_size=5))
    strategy = prepared("replay", setup, memory=8, batch_size=3)
    run_experience(strategy, setup.scenario.experiences[0])
    second = setup.scenario.experiences[1]
    with_replay = strategy.phases(second)[0].batches
    assert isinstance(with_replay, WithReplay)

    def generator_for(purpose):
        return setup.randomness.generator(purpose, 0)

    plain = list(with_replay.new.epoch(generator_for))
    mixed = list(with_replay.epoch(generator_for))
    assert len(plain) == len(mixed) == len(with_replay)
    seen = []
    for new, both in zip(plain, mixed):
        assert torch.equal(both.x[: len(new.x)], new.x) and len(both.x) == len(new.x) + 3
        assert both.tasks[len(new.x) :].eq(0).all()
        remembered = [tuple(image.flatten().tolist()) for image in both.x[len(new.x) :]]
        assert len(set(remembered)) == 3
        seen += remembered
    # a round takes two batches of 3 from the 8 and leaves 2 out; the next is shuffled anew
    assert len(set(seen)) == 8


@pytest.mark.parametrize("blurry", [0.0, 0.4])
def test_remembered_examples_are_seen_as_their_own_experience_sees_them(blurry):
    orders = torch.stack([torch.randperm(64, generator=torch.Generator().manual_seed(index)) for index in range(3)])
    scenario = tiny_scenario("domain")
    generator = torch.Generator().manual_seed(0)
    parts = blur([experience.train for experience in scenario.experiences], blurry, generator)
    stream = tuple(
        replace(experience, train=replace(part, storage=replace(part.storage, view=Permutation(orders))))
        for experience, part in zip(scenario.experiences, parts)
    )
    setup = make_setup(replace(scenario, experiences=stream), train=TrainConfig(epochs=1, batch_size=17))
    strategy = prepared("replay", setup, memory=9, batch_size=4)
    for experience in setup.scenario.experiences:
        for batch in strategy.phases(experience)[0].batches.epoch(lambda purpose: setup.randomness.generator(purpose)):
            storage = experience.train.storage
            pixels = (batch.x - storage.shift) / storage.scale
            for seen, task, label in zip(pixels, batch.tasks.tolist(), batch.y.tolist()):
                upright = torch.empty(64)
                upright[orders[task]] = seen.flatten()
                found = (storage.images.images.flatten(1).float() - upright).abs().amax(1).argmin()
                assert (storage.images.images[found].flatten().float() - upright).abs().max() < 0.01
                assert int(storage.images.labels[found]) == 2 * task + label
        run_experience(strategy, experience)
    assert len(strategy.memory) == 9 and strategy.memory.task is None


@pytest.mark.parametrize("memory", [0, 6])
def test_a_last_batch_of_one_joins_the_one_before_with_memory_as_without(memory):
    setup = make_setup(tiny_scenario(train=9), train=TrainConfig(epochs=1, batch_size=17), options={"norm": "batch"})
    strategy = prepared("replay", setup, memory=memory, batch_size=2)
    run_experience(strategy, setup.scenario.experiences[0])
    batches = strategy.phases(setup.scenario.experiences[1])[0].batches
    sizes = [len(batch.x) for batch in batches.epoch(lambda purpose: setup.randomness.generator(purpose))]
    assert sizes == [18 + (2 if memory else 0)] and len(batches) == 1


def test_a_memory_smaller_than_a_batch_is_replayed_whole():
    setup = make_setup(tiny_scenario(), train=TrainConfig(epochs=1, batch_size=16))
    strategy = prepared("replay", setup, memory=4)
    run_experience(strategy, setup.scenario.experiences[0])
    batch = next(strategy.phases(setup.scenario.experiences[1])[0].batches.epoch(lambda purpose: setup.randomness.generator(purpose)))
    assert len(batch.x) == 20


def test_resumed_between_passes_it_goes_on_bit_for_bit():
    setup = make_setup(tiny_scenario(), train=TrainConfig(epochs=3, batch_size=16, momentum=0.0))
    whole = prepared("replay", setup, memory=20)
    saved = {}
    run_experience(whole, setup.scenario.experiences[0])

    def save(phase, epoch):
        saved[epoch] = {name: value for name, value in copy_state(whole.state_dict()).items()}

    run_experience(whole, setup.scenario.experiences[1], at_boundary=save)
    resumed = prepared("replay", setup, memory=20)
    resumed.load_state_dict(saved[1])
    run_experience(resumed, setup.scenario.experiences[1], start=(0, 1))
    assert equal(whole.state_dict(), resumed.state_dict())


def copy_state(state):
    if isinstance(state, torch.Tensor):
        return state.clone()
    return {name: copy_state(value) for name, value in state.items()} if isinstance(state, dict) else state
