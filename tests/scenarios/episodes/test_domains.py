"""Groups of one set as domains: how they are cut, ordered and divided, and meta-batches over several of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from scenarios.episodes.domains import Groups
from scenarios.episodes.episodes import EpisodeBatches
from scenarios.episodes.mixture import MixedEpisodes
from scenarios.errors import UserError
from scenarios.options import build
from tests.scenarios.episodes.test_episodic import SETS, Shelf


def make(name: str = "cifar-fs", *, seed: int = 0, data: str | None = None, **options: Any) -> Any:
    request = Shelf(name=f"domains-{name}", parts={"set": name}, seed=seed, data=data, sets=SETS)
    return Groups.make(build(Groups.Config, options, "scenario"), request)


def classes(domain: Any) -> list[set[str]]:
    return [set(stream.table.names) for stream in (domain.train, domain.validation, domain.test)]


def test_superclasses_are_put_together_until_a_domain_has_classes_enough_and_share_none() -> None:
    stream = make()
    assert [len(part) for part in map(classes, stream.experiences)] == [3] * 5
    met: set[str] = set()
    for domain in stream.experiences:
        train, validation, test = classes(domain)
        assert len(train) == len(test) == 10 and train == validation and not train & test and not (train | test) & met
        assert len(domain.name.split(" + ")) == 4
        met |= train | test
    assert len(met) == 100


def test_alphabets_are_domains_by_themselves_whichever_half_of_the_set_they_lie_in() -> None:
    stream = make("omniglot", ways=2, shots=1, queries=1, test_queries=1)
    assert len(stream) == 30 and stream.experiences[25].name == "evaluation 5"
    assert all(name.startswith("evaluation 5 ") for part in classes(stream.experiences[25]) for name in part)


def test_order_and_number_are_options_and_a_domain_is_divided_alike_wherever_it_stands() -> None:
    plain, turned, again = make(), make(domain_order=(3, 0)), make(seed=7)
    assert [each.name for each in turned.experiences] == [plain.experiences[3].name, plain.experiences[0].name]
    assert classes(turned.experiences[1]) == classes(plain.experiences[0]) == classes(again.experiences[0])
    assert len(make(domains=2)) == 2 and len(make(groups_per_domain=3, ways=2)) == 6
    assert len(make(groups_per_domain=3, ways=2).experiences[-1].name.split(" + ")) == 5, "the last takes what is left over"
    orders = {tuple(each.name for each in make(seed=seed, domain_order="seeded").experiences) for seed in range(3)}
    assert len(orders) == 3
    held = classes(make(validation_share=0.25).experiences[0])
    assert [len(part) for part in held] == [5, 5, 10] and not held[0] & held[1]


def test_episodes_of_domains_and_seeds_differ() -> None:
    first, second = make(), make(seed=1)
    draws = [stream.test.draw(0, 3).support for stream in (*first.experiences[:2], second.experiences[0])]
    assert not np.array_equal(draws[0], draws[1]) and not np.array_equal(draws[0], draws[2])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"name": "letters"}, "the classes of 'letters' lie in no groups"),
        ({"domains": 9}, "scenario.domains=9 is more than the 5"),
        ({"domain_order": (0, 5)}, "there is no domain 5; give numbers from 0 to 4"),
        ({"domain_order": (1, 1)}, "named twice"),
        ({"groups_per_domain": 21}, "'cifar100' has 20 groups; choose at most 20"),
        ({"groups_per_domain": 1}, "scenario.ways=5 exceed"),
        ({"test_share": 0.6, "validation_share": 0.4}, "leave no class of domain"),
    ],
)
def test_what_makes_no_domains_is_one_line(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        make(**asked)
    assert "\n" not in str(raised.value)


def generators() -> Any:
    return lambda purpose: torch.Generator().manual_seed(len(purpose))


def test_meta_batches_of_one_domain_are_its_own_and_of_several_are_drawn_from_all_alike() -> None:
    streams = tuple(domain.train for domain in make(shots=1, queries=1).experiences)
    alone = zip(MixedEpisodes(streams[:1], 2, 3).epoch(generators()), EpisodeBatches(streams[0], 2, 3).epoch(generators()))
    assert all(torch.equal(one.query_x, other.query_x) and one.ways == other.ways == 5 for one, other in alone)
    mixed = MixedEpisodes(streams, 10, 40)
    shapes = {batch.support_x.shape for batch in mixed.epoch(generators())}
    assert shapes == {(10, 5, 3, 8, 8)} and len(mixed) == 40
    means = torch.stack([stream.batch(0, 1).support_x.mean() for stream in streams])
    assert len(means.unique()) == 5
    again = zip(mixed.epoch(generators()), mixed.epoch(generators()))
    assert all(torch.equal(one.support_x, other.support_x) for one, other in again)
