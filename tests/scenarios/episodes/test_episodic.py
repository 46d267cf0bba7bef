"""Episodic scenarios: how classes are divided, streams of domains, and tests on another domain."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from string import ascii_letters
from typing import Any

import numpy as np
import pytest
import torch

import scenarios
from scenarios.episodes.episodic import EpisodicScenario, adapt_to
from scenarios.episodes.few_shot import Domains, Episodes, Omniglot, domain_names
from scenarios.errors import DataUnavailableError, UserError
from scenarios.images import ImageSet
from scenarios.options import build
from scenarios.splits import class_list
from scenarios.streams.request import Request
from scenarios.streams.shaping import reshape

Sets = Mapping[str, tuple[ImageSet, ImageSet]]


def image_set(
    name: str,
    names: list[str],
    groups: list[str] | None = None,
    *,
    classes: range | None = None,
    count: int = 40,
    shape: tuple[int, ...] = (1, 28, 28),
) -> ImageSet:
    classes = classes or range(len(names))
    labels = torch.tensor(list(classes)).repeat_interleave(count)
    pixels = torch.randint(0, 256, (len(labels), *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(len(name) + count))
    return ImageSet(name, pixels, labels, tuple(names), "generated", f"{name} {count}", groups=tuple(groups) if groups else None)


def omniglot() -> tuple[ImageSet, ImageSet]:
    # 20 background alphabets with 40 characters, 10 evaluation alphabets with 20: 1,000 classes in all.
    groups = [f"background {i // 40}" for i in range(800)] + [f"evaluation {i // 20}" for i in range(200)]
    names = [f"{group} character {i}" for i, group in enumerate(groups)]
    parts = (image_set("omniglot", names, groups, classes=part, count=4, shape=(1, 35, 35)) for part in (range(800), range(800, 1000)))
    return tuple(parts)  # type: ignore[return-value]


def cifar100() -> tuple[ImageSet, ImageSet]:
    listed, grouped = class_list("cifar-fs"), class_list("fc100")
    assert listed is not None and grouped is not None
    groups = sorted(grouped.train + grouped.validation + grouped.test)
    names = sorted(listed.train + listed.validation + listed.test)
    parts = (image_set("cifar100", names, [groups[i // 5] for i in range(100)], count=count, shape=(3, 8, 8)) for count in (30, 6))
    return tuple(parts)  # type: ignore[return-value]


@dataclass(frozen=True, kw_only=True)
class Shelf(Request):
    """A request whose sets lie in memory."""

    sets: Any = field(default_factory=dict)

    def load(self, name: str, num_classes: int = 0) -> tuple[ImageSet, ImageSet]:
        return self.sets[self.data or name]


SETS: Sets = {
    "omniglot": omniglot(),
    "cifar100": cifar100(),
    "mnist": (image_set("mnist", list("0123456789")), image_set("mnist", list("0123456789"), count=30)),
    "letters": (image_set("letters", list(ascii_letters)), image_set("letters", list(ascii_letters), count=30)),
}


def make(component: Any, name: str, *, sets: str = "", seed: int = 0, data: str | None = None, **options: Any) -> EpisodicScenario:
    request = Shelf(name=name, parts={"set": name, "sets": sets}, seed=seed, data=data, sets=SETS)
    return component.make(build(component.Config, options, "scenario"), request)


def sides(scenario: EpisodicScenario, domain: int = 0) -> list[tuple[str, ...]]:
    experience = scenario.experiences[domain]
    return [stream.table.names for stream in (experience.train, experience.validation, experience.test)]


def assert_disjoint(scenario: EpisodicScenario) -> None:
    train, validation, test = (set(names) for names in sides(scenario))
    assert not train & validation and not train & test and not validation & test


def test_the_embedded_digits_work_from_the_public_surface() -> None:
    scenario: Any = scenarios.make("digits", shots=2, queries=5)
    assert scenario.setting == "episodic" and scenario.input_shape == (1, 8, 8) and scenario.blocks == (range(5),) and len(scenario) == 1
    assert scenario.data["origin"] == "embedded" and scenario.test_episodes == 600
    train, validation, test = sides(scenario)
    assert train == validation and len(train) == len(test) == 5 and not set(train) & set(test)
    experience = scenario.experiences[0]
    assert experience.train.storage.images is not experience.validation.storage.images
    assert experience.train.batch(0, 2).query_x.shape == (2, 25, 1, 8, 8) and experience.test.batch(0, 2).query_x.shape == (2, 75, 1, 8, 8)


def test_omniglot_is_divided_by_characters_whose_turns_stay_together() -> None:
    scenario = make(Omniglot, "omniglot")
    assert [len(names) for names in sides(scenario)] == [4 * 477, 4 * 100, 4 * 423]
    assert_disjoint(scenario)
    characters = [{name.split(" turned")[0] for name in names} for names in sides(scenario)]
    assert [len(part) for part in characters] == [477, 100, 423] and len(set.union(*characters)) == 1000
    assert scenario.input_shape == (1, 28, 28) and scenario.recommended["network"] == "conv4"
    assert scenario.experiences[0].train.spec.queries == scenario.experiences[0].test.spec.queries == 1
    assert [len(names) for names in sides(make(Omniglot, "omniglot", rotations=False))] == [477, 100, 423]


def test_omniglots_alphabets_stay_whole() -> None:
    scenario = make(Omniglot, "omniglot", split="alphabets", rotations=False)
    alphabets = [{name.split(" character")[0] for name in names} for names in sides(scenario)]
    assert [len(part) for part in alphabets] == [15, 5, 10]
    assert all(name.startswith("evaluation") for name in alphabets[2]) and not alphabets[0] & alphabets[1]
    assert [len(names) for names in sides(scenario)] == [600, 200, 200]


def test_a_division_is_the_same_for_all_seeds_of_a_run_but_its_episodes_are_not() -> None:
    first, second, other = make(Omniglot, "omniglot"), make(Omniglot, "omniglot", seed=1), make(Omniglot, "omniglot", split_seed=1)
    assert sides(first) == sides(second) != sides(other)
    draws = [scenario.experiences[0].test.draw(0, 4).support for scenario in (first, make(Omniglot, "omniglot"), second)]
    assert np.array_equal(draws[0], draws[1]) and not np.array_equal(draws[0], draws[2])


def test_train_validation_and_test_episodes_are_drawn_independently() -> None:
    experience = make(Episodes, "mnist").experiences[0]
    assert len({experience.train.key, experience.validation.key, experience.test.key}) == 3


@pytest.mark.parametrize("name", ["cifar-fs", "fc100"])
def test_published_lists_divide_cifar100(name: str) -> None:
    scenario = make(Episodes, name)
    names = class_list(name)
    assert names is not None
    assert_disjoint(scenario)
    if name == "cifar-fs":
        assert [set(part) for part in sides(scenario)] == [set(names.train), set(names.validation), set(names.test)]
    else:
        of_class = dict(zip(SETS["cifar100"][0].class_names, SETS["cifar100"][0].groups or ()))
        assert [{of_class[c] for c in part} for part in sides(scenario)] == [set(names.train), set(names.validation), set(names.test)]
    assert all((stream.table.sizes == 36).all() for stream in (scenario.experiences[0].train, scenario.experiences[0].test))


@pytest.mark.parametrize(
    ("name", "sizes"), [("cifar-fs", (64, 16, 20)), ("fc100", (12, 4, 4)), ("mini-imagenet", (64, 16, 20)), ("cub", (100, 50, 50))]
)
def test_shipped_lists_are_complete_and_disjoint(name: str, sizes: tuple[int, int, int]) -> None:
    names = class_list(name)
    assert names is not None and tuple(len(part) for part in (names.train, names.validation, names.test)) == sizes
    assert len({*names.train, *names.validation, *names.test}) == sum(sizes)


def test_other_data_keep_the_proportions_of_the_split() -> None:
    assert [len(names) for names in sides(make(Episodes, "cifar-fs", data="letters"))] == [33, 9, 10]
    assert_disjoint(make(Episodes, "cifar-fs", data="letters"))
    by_group = make(Episodes, "fc100", data="cifar100")
    assert [len(names) for names in sides(by_group)] == [60, 20, 20] and sides(by_group) != sides(make(Episodes, "fc100"))
    assert [len(names) for names in sides(make(Omniglot, "omniglot", data="letters", queries=3))] == [33, 9, 10]


def test_test_options_change_validation_and_test_alone() -> None:
    scenario = make(Episodes, "cifar-fs", ways=10, test_ways=5, queries=4, test_queries=7, unlabelled=2, test_unlabelled=3, label_ratio=0.5)
    experience = scenario.experiences[0]
    assert (experience.train.spec.ways, experience.train.spec.queries, experience.train.spec.unlabelled) == (10, 4, 2)
    for stream in (experience.validation, experience.test):
        assert (stream.spec.ways, stream.spec.queries, stream.spec.unlabelled, stream.spec.label_ratio) == (5, 7, 3, 1.0)
    assert (experience.train.table.labelled == 18).all() and (experience.test.table.labelled == 36).all()
    assert scenario.ways == experience.ways == 10


def test_domains_share_shape_and_normalisation_and_keep_their_own_episodes() -> None:
    stream = make(Domains, "episodes-omniglot-cifar-fs", sets="omniglot-cifar-fs", queries=2, test_queries=2)
    assert [experience.name for experience in stream.experiences] == ["omniglot", "cifar-fs"] and stream.input_shape == (3, 28, 28)
    assert [experience.index for experience in stream.experiences] == [0, 1] and stream.data["name"] == "omniglot+cifar100"
    first, second = (experience.train.storage for experience in stream.experiences)
    assert torch.equal(first.scale, second.scale) and torch.equal(first.shift, second.shift)
    assert all(experience.test.batch(0, 2).query_x.shape == (2, 10, 3, 28, 28) for experience in stream.experiences)
    alone = make(Episodes, "cifar-fs", queries=2, test_queries=2).experiences[0]
    assert np.array_equal(alone.test.draw(3, 2).support, stream.experiences[1].test.draw(3, 2).support)


def test_names_of_domains_are_taken_apart_or_refused() -> None:
    assert domain_names("mini-imagenet-fc100-mnist") == ["mini-imagenet", "fc100", "mnist"]
    with pytest.raises(UserError, match="mnist"):
        domain_names("omniglot-mnits")
    with pytest.raises(UserError, match="--data"):
        make(Domains, "episodes-mnist-letters", sets="mnist-letters", data="mnist")


def test_a_test_scenario_gets_the_training_scenarios_shape_normalisation_and_composition() -> None:
    train = make(Episodes, "cifar-fs", shots=1, queries=30, test_queries=3, test_episodes=700)
    test = make(Omniglot, "omniglot", ways=3)
    adapted = adapt_to(test, train)
    own, model = adapted.experiences[0].test, train.experiences[0].test
    assert adapted.input_shape == train.input_shape and adapted.ways == train.ways == 5 and adapted.test_episodes == 700
    assert torch.equal(own.storage.scale, model.storage.scale) and own.spec == model.spec and own.key == test.experiences[0].test.key
    assert own.table is test.experiences[0].test.table
    batch, draw = own.batch(0, 3), own.draw(0, 3)
    images = reshape(test.experiences[0].test.storage.images, train.input_shape).images
    expected = images[draw.query[0, 0]].float() * model.storage.scale + model.storage.shift
    assert batch.query_x.shape == (3, 15, 3, 8, 8) and torch.equal(batch.query_x[0, 0], expected)


def test_adapting_a_scenario_to_itself_changes_nothing() -> None:
    scenario = make(Episodes, "mnist")
    first, second = scenario.experiences[0].test.batch(0, 3), adapt_to(scenario, scenario).experiences[0].test.batch(0, 3)
    assert torch.equal(first.support_x, second.support_x) and torch.equal(first.query_x, second.query_x)


def test_moving_a_scenario_keeps_its_episodes() -> None:
    scenario = make(Episodes, "cifar-fs")
    moved = scenario.to(torch.device("cpu"), channels_last=True)
    batch, before = moved.experiences[0].train.batch(0, 2), scenario.experiences[0].train.batch(0, 2)
    assert torch.equal(batch.support_x, before.support_x)
    assert batch.support_x.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


def test_a_set_without_the_published_classes_is_refused() -> None:
    renamed = tuple(replace(part, class_names=tuple(f"c{i}" for i in range(100))) for part in SETS["cifar100"])
    request = Shelf(name="cifar-fs", parts={"set": "cifar-fs"}, sets={"cifar100": renamed})
    with pytest.raises(UserError, match="lacks 64 classes") as caught:
        Episodes.make(Episodes.Config(), request)
    assert len(str(caught.value)) < 200


@pytest.mark.real_data
def test_omniglot_on_disk_has_the_published_numbers_of_classes() -> None:
    if "PALIMPSEST_DATA" not in os.environ:
        pytest.skip("PALIMPSEST_DATA names no folder of data sets")
    try:
        random, alphabets = (scenarios.make("omniglot", split=split, rotations=False) for split in ("random", "alphabets"))
    except DataUnavailableError as error:
        pytest.skip(str(error))
    assert [len(names) for names in sides(random)] == [1100, 100, 423]  # type: ignore[arg-type]
    assert len(sides(alphabets)[2]) == 659 and sum(map(len, sides(alphabets))) == 1623  # type: ignore[arg-type]
