"""Which examples an experience has: drawn by class, divided, and refused where a class would have none."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import scenarios
from scenarios.errors import UserError
from scenarios.options import build
from scenarios.random import Randomness
from scenarios.streams.orders import class_order
from scenarios.streams.selecting import limit_by_class
from scenarios.streams.streams import SplitConfig


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALIMPSEST_CACHE", str(tmp_path / "cache"))


def counts(examples: Any) -> list[int]:
    return torch.unique(examples.targets, return_counts=True)[1].tolist()


def own(path: Path, train: Sequence[int], test: Sequence[int]) -> str:
    """A set whose classes have so many images."""
    generator = np.random.default_rng(0)
    arrays = {}
    for side, sizes in (("train", train), ("test", test)):
        labels = np.repeat(np.arange(len(sizes)), sizes)
        arrays |= {f"x_{side}": generator.integers(0, 256, (len(labels), 6, 6)), f"y_{side}": labels}
    np.savez(path, **arrays)
    return f"npz:{path}"


def test_few_training_examples_are_drawn_from_all_classes(tmp_path: Path) -> None:
    stream: Any = scenarios.make("split-cifar100", data=own(tmp_path / "own.npz", [12] * 100, [1] * 100), train_examples=20)
    for experience in stream.experiences:
        assert counts(experience.train) == [2] * 10


def test_examples_are_drawn_at_random_in_proportion_and_at_least_one_of_a_class(tmp_path: Path) -> None:
    data = own(tmp_path / "own.npz", [100, 50, 10, 1], [2, 2, 2, 2])
    drawn = {}
    for seed in (0, 0, 1):
        stream: Any = scenarios.make("split-mnist", data=data, tasks=1, train_examples=40, seed=seed)
        train = stream.experiences[0].train
        sizes = counts(train)
        assert sum(sizes) == 40 and sizes[3] == 1
        assert all(abs(size - 1 - 36 * (whole - 1) / 157) < 1 for size, whole in zip(sizes, (100, 50, 10, 1)))
        assert train.rows.tolist() == sorted(set(train.rows.tolist())), "each at most once"
        drawn.setdefault(seed, []).append(train.rows.tolist())
    assert drawn[0][0] == drawn[0][1] != drawn[1][0]
    assert max(drawn[0][0][:20]) > 20, "not the first of them"


@pytest.mark.parametrize("count", [1, 3, 4, 5, 10, 24, 25, 26, None])
def test_so_many_are_drawn_as_are_wanted(tmp_path: Path, count: int | None) -> None:
    stream: Any = scenarios.make("split-mnist", data=own(tmp_path / "own.npz", [9, 9, 6, 1], [1, 1, 1, 1]), tasks=1)
    examples = stream.experiences[0].train
    if count in (1, 3):
        with pytest.raises(UserError, match=f"scenario.train_examples={count} is fewer than the 4 classes"):
            limit_by_class(examples, count, torch.Generator())
    else:
        drawn = limit_by_class(examples, count, torch.Generator())
        assert len(drawn) == min(count or 25, 25) and min(counts(drawn)) >= 1


@pytest.mark.parametrize("scenario", ["split-mnist", "permuted-mnist", "rotated-mnist"])
def test_a_share_for_validation_that_leaves_a_class_nothing_is_refused_before_training(tmp_path: Path, scenario: str) -> None:
    data = own(tmp_path / "own.npz", [1, 1], [2, 2])
    with pytest.raises(UserError, match=r"validation_share=0.9 leaves class '[01]' without a training example \(it has 1\)"):
        scenarios.make(scenario, data=data, tasks=1, validation_share=0.9)
    with pytest.raises(UserError, match="validation_share=0.1 of 2 training examples is none to select on"):
        scenarios.make(scenario, data=data, tasks=1, validation_share=0.1)
    assert len(scenarios.make(scenario, data=data, tasks=1)) == 1


@pytest.mark.parametrize("scenario", ["split-omniglot", "permuted-omniglot"])
def test_a_set_whose_halves_share_no_class_is_no_stream(tmp_path: Path, scenario: str) -> None:
    from tests.scenarios.sources.files import write_omniglot

    write_omniglot(tmp_path / "omniglot-py", packed=False)
    with pytest.raises(UserError, match="class 'Early/character01' of 'omniglot' has no test image, which experience 0 needs"):
        scenarios.make(scenario, data_root=tmp_path, tasks=1)


def test_an_order_of_20000_classes_takes_less_than_a_second() -> None:
    order = torch.randperm(20_000).tolist()
    start = time.process_time()
    config = build(SplitConfig, {"class_order": ",".join(map(str, order))}, "scenario")
    assert isinstance(config.class_order, tuple) and class_order(config.class_order, 20_000, Randomness(0)) == order
    with pytest.raises(UserError, match="repeats class"):
        class_order((*order[1:], order[1]), 20_000, Randomness(0))
    with pytest.raises(UserError, match="names unknown class 10, 11, 12, 13, 14, ...; give each of 0 to 9 once"):
        class_order(config.class_order, 10, Randomness(0))
    assert time.process_time() - start < 1
