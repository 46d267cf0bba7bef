"""What a stream draws at random is seeded, and random, and different from experience to experience."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
import torch

import scenarios
from scenarios.options import build
from scenarios.scenario_registry import scenarios as registry
from scenarios.streams.request import Request
from scenarios.streams.streams import PermutedConfig


def orders(**options: object) -> torch.Tensor:
    stream = scenarios.make("permuted-digits", tasks=4, **options)
    return stream.experiences[0].train.storage.view.orders


def test_permutations_of_later_tasks_differ_pairwise() -> None:
    found = orders()
    assert torch.equal(found[0], torch.arange(64)) is not PermutedConfig().permute_first
    for one, other in combinations(found, 2):
        assert (one == other).float().mean() < 0.25


@pytest.mark.parametrize("name", ["seed", "scenario.seed"])
def test_permutations_depend_on_the_seed(name: str) -> None:
    if name == "seed":
        one, again, other = orders(seed=1), orders(seed=1), orders(seed=2)
    else:
        # The scenario's own seed decides, whatever the run's is.
        component, parts = registry.load("permuted-digits")

        def drawn(run: int, own: int) -> torch.Tensor:
            request = Request(name="permuted-digits", parts=parts, seed=run, data=None, data_root=None, report=lambda line: None)
            stream = component.make(build(component.Config, {"tasks": 4, "seed": own}, "scenario"), request)
            return stream.experiences[0].train.storage.view.orders

        one, again, other = drawn(0, 1), drawn(5, 1), drawn(0, 2)
    assert torch.equal(one, again)
    assert (one[1:] == other[1:]).float().mean() < 0.25


def test_a_blurry_stream_lends_to_its_neighbours_alone() -> None:
    stream = scenarios.make("split-digits", setting="class", blurry=0.4)
    for experience in stream.experiences:
        foreign = set(experience.train.tasks.tolist()) - {experience.index}
        assert foreign == {i for i in (experience.index - 1, experience.index + 1) if 0 <= i < len(stream)}


@pytest.mark.parametrize("name, data", [("digits", None), ("cifar-fs", "digits")])
def test_a_random_class_split_is_random_and_seeded(name: str, data: str | None) -> None:
    def sides(seed: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        # The run's seed leaves the division alone: all seeds of a run test on the same classes.
        domain = scenarios.make(name, seed=7 - seed, split_seed=seed, data=data, ways=2, shots=1, queries=1).experiences[0]
        return domain.train.table.names, domain.test.table.names

    found = [sides(seed) for seed in range(4)]
    assert found[0] == sides(0)
    assert not any(set(train) & set(test) for train, test in found)
    assert len({frozenset(train) for train, _ in found}) > 2
    in_order = [names == tuple(sorted(names)) and len({int(b) - int(a) for a, b in pairwise(names)}) == 1 for names, _ in found]
    assert not all(in_order)
