"""What is kept: each policy against its definition, and a stream's reservoir against the sequential algorithm."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch

from scenarios.random import Randomness
from strategies.memory.buffer import Buffer, ClassReservoir, Known, herd, stay
from strategies.memory.stream import StreamBuffer
from strategies.phase import TrainConfig
from tests.strategies.driver import equal, make_setup, prepared, run_stream, tiny_scenario

POLICIES = ("reservoir", "balanced", "herding", "loss-aware")


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("setting", ["task", "domain", "class"])
def test_a_policy_keeps_rows_with_their_own_targets_and_experiences(policy, setting):
    setup = make_setup(tiny_scenario(setting), train=TrainConfig(epochs=1, batch_size=16))
    strategy = run_stream(prepared("replay", setup, memory=20, buffer=policy))
    memory = strategy.memory
    assert len(memory) == 20 == len(set(memory.rows.tolist()))
    labels = memory.storage.images.labels[memory.rows]
    assert torch.equal(labels, 2 * memory.tasks + (memory.targets if setting == "domain" else memory.targets - 2 * memory.tasks))
    if policy in ("balanced", "herding"):
        assert sorted(torch.bincount(labels).tolist()) == ([3] * 4 + [4] * 2)
    other = run_stream(prepared("replay", setup, memory=20))
    assert equal(memory.rows, other.memory.rows) is (policy == "reservoir")


def test_the_balanced_reservoir_is_even_in_classes_and_within_them():
    labels = [0] * 60 + [1] * 8 + [2] * 30
    counts = torch.zeros(len(labels))
    for seed in range(400):
        reservoir, places = ClassReservoir(12, 3), torch.zeros(0, dtype=torch.int64)
        for start in range(0, len(labels), 14):
            new = labels[start : start + 14]
            owners = reservoir.take_up(new, Randomness(seed).generator(start), len(places))
            places = torch.cat([places, torch.arange(start, start + len(new))])[owners]
        assert torch.equal(torch.tensor(labels)[places], reservoir.places)
        assert torch.bincount(reservoir.places).tolist() == [4, 4, 4]
        counts[places] += 1
    for start, stop in ((0, 60), (60, 68), (68, 98)):
        share = 4 / (stop - start)
        assert (counts[start:stop] - 400 * share).abs().max() < 5 * (400 * share * (1 - share)) ** 0.5 + 1


def test_herding_takes_the_nearest_mean_each_time():
    features = torch.randn(6, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    phi = features / features.norm(dim=1, keepdim=True)
    chosen = herd(features, 4).tolist()
    for number in range(1, 5):
        rivals = [i for i in range(6) if i not in chosen[: number - 1]]
        distances = {i: (phi.mean(0) - phi[[*chosen[: number - 1], i]].mean(0)).norm() for i in rivals}
        assert min(distances, key=distances.get) == chosen[number - 1]
    assert len(herd(features, 9)) == 6


def test_who_leaves_is_drawn_by_weight_without_return():
    weights = torch.tensor([1.0, 3.0, 6.0])
    stays = torch.zeros(3)
    for seed in range(2000):
        stays[stay(weights, 1, Randomness(seed).generator("leave"))] += 1
    expected = torch.zeros(3)
    for first, second, last in permutations(range(3)):
        expected[last] += weights[first] / 10 * weights[second] / (10 - weights[first])
    assert (stays / 2000 - expected).abs().max() < 5 * 0.5 / 2000**0.5


def test_a_loss_aware_memory_keeps_what_is_not_known_yet():
    setup = make_setup(tiny_scenario("class"))
    buffer = Buffer(12, "loss-aware", setup)
    known = Known(lambda examples: examples.rows, lambda examples: torch.where(examples.rows % 2 == 1, 50.0, 0.0))
    for experience in setup.scenario.experiences:
        buffer.take_up(experience.train, setup.randomness.generator(experience.index), known)
    # 12 were let in by the reservoir's chances, then more; whatever was in doubt left the even rows behind
    odd = buffer.memory.rows % 2 == 1
    assert len(buffer.memory) == 12 and odd[buffer.memory.tasks > 0].float().mean() > 0.7 and buffer.met == 144


@pytest.mark.parametrize("policy", ["reservoir", "balanced"])
def test_a_stream_is_let_in_as_one_by_one(policy):
    setup = make_setup(tiny_scenario("class"))
    empty = torch.zeros(0, 2)
    whole = StreamBuffer(6, policy, setup, {"extra": empty})
    kept: list[int] = []
    for batch in range(9):
        numbers = torch.arange(5 * batch, 5 * batch + 5)
        new = {"rows": numbers, "targets": numbers % 3, "tasks": numbers * 0, "extra": torch.stack([numbers, -numbers], 1).float()}
        whole.take_up(batch, new)
        if policy == "reservoir":
            drawn = torch.rand(5, generator=torch.Generator().manual_seed(batch), dtype=torch.float64).tolist()
            for number, uniform in zip(numbers.tolist(), drawn):
                place = number if number < 6 else int(uniform * (number + 1))
                if place < 6:
                    kept[place : place + 1] = [number]
            assert whole.kept["rows"][: len(whole)].tolist() == kept
    rows = whole.kept["rows"]
    assert len(whole) == 6 == len(set(rows.tolist())) and torch.equal(whole.kept["extra"][:, 1], -rows.float())
    assert policy == "reservoir" or torch.bincount(rows % 3).tolist() == [2, 2, 2]
    assert whole.report() == {"examples": 6, "bytes": 6 * 64, "extra_bytes": 48}
