"""Unequal cuts and class orders: what users of LUCIR's and PyCIL's protocols expect, counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import scenarios
from metrics.continual import average_incremental_accuracy
from scenarios.errors import UserError
from scenarios.random import Randomness
from scenarios.streams.orders import class_order

# The first ten of CIFAR-100's order in LUCIR's and PyCIL's logs.
PUBLISHED = [68, 56, 78, 8, 23, 84, 90, 65, 74, 76]


def widths(**options: Any) -> list[int]:
    return [len(each.outputs) for each in scenarios.make("split-digits", **options).experiences]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"first_classes": 6}, [6, 2, 2]),
        ({"first_classes": 6, "tasks": 5}, [6, 1, 1, 1, 1]),
        ({"first_classes": 4, "tasks": 3}, [4, 3, 3]),
        ({"first_classes": 9}, [9, 1]),
        ({"first_classes": 7}, [7, 3]),
        ({"classes_per_task": "5,3,2"}, [5, 3, 2]),
        ({"classes_per_task": "4,2,..."}, [4, 2, 2, 2]),
        ({"classes_per_task": [10, "..."]}, [10]),
        ({"classes_per_task": 10}, [10]),
    ],
)
def test_experiences_have_as_many_classes_as_asked_for(options: dict, expected: list[int]) -> None:
    assert widths(setting="class", **options) == expected


@pytest.mark.parametrize("setting", ["task", "class"])
def test_unequal_experiences_hold_each_example_once_under_its_own_output(setting: str) -> None:
    order = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]
    stream: Any = scenarios.make("split-digits", setting=setting, classes_per_task="5,1,4", class_order=order)
    for side in ("train", "test"):
        images = stream.experiences[0].train.storage.images if side == "train" else stream.experiences[0].test.storage.images
        seen: list[int] = []
        for experience in stream.experiences:
            examples = getattr(experience, side)
            for row, target in zip(examples.rows.tolist(), examples.targets.tolist()):
                assert order.index(int(images.labels[row])) == target and target in experience.outputs
            seen += examples.rows.tolist()
        assert sorted(seen) == list(range(len(images)))
    assert [list(block) for block in stream.blocks] == [[0, 1, 2, 3, 4], [5], [6, 7, 8, 9]]
    assert stream.in_play(1) == (range(6) if setting == "class" else range(5, 6))
    assert stream.task_mask().sum(1).tolist() == [5, 1, 4]


def test_cifar100_is_cut_as_in_b50_inc10() -> None:
    stream: Any = scenarios.make("split-cifar100", data="generated", setting="class", first_classes=50, class_order="pycil")
    assert [len(each.outputs) for each in stream.experiences] == [50, 10, 10, 10, 10, 10]
    assert list(stream.experiences[0].classes[:10]) == [stream.experiences[0].train.storage.images.class_names[c] for c in PUBLISHED]


def test_pycils_order_is_numpys_permutation_of_seed_1993_whatever_the_runs_seed() -> None:
    np.random.seed(1993)
    shuffled = np.arange(100)
    np.random.shuffle(shuffled)
    assert class_order("pycil", 100, Randomness(0)) == class_order("pycil", 100, Randomness(5)) == shuffled.tolist()
    assert class_order("pycil", 100, Randomness(0))[:10] == PUBLISHED
    assert class_order("numpy", 100, Randomness(1993)) == shuffled.tolist() != class_order("numpy", 100, Randomness(5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"first_classes": 10}, "leaves none of the 10 classes of 'digits'; choose at most 9"),
        ({"first_classes": 4, "tasks": 5}, "the 6 classes after scenario.first_classes=4 cannot be cut into 4 .* from 2, 3, 4, 7"),
        ({"first_classes": 4, "tasks": 1}, "cannot be cut into 0 equal experiences"),
        ({"first_classes": 0}, "scenario.first_classes must be at least 1"),
        ({"classes_per_task": "5,3"}, r"5\+3 = 8, and 'digits' has 10 classes; list them all"),
        ({"classes_per_task": "5,4,..."}, r"5\+4 = 9, and 'digits' has 10"),
        ({"classes_per_task": "..."}, "is a list of numbers, of which ... in the end repeats the last"),
        ({"classes_per_task": "5,...,5"}, "is a list of numbers"),
        ({"classes_per_task": "5,0,5"}, "scenario.classes_per_task must be at least 1"),
        ({"classes_per_task": "5,five"}, "scenario.classes_per_task must be a whole number"),
        ({"classes_per_task": "5,5", "tasks": 2}, "leave scenario.tasks out"),
        ({"classes_per_task": "5,5", "first_classes": 2}, "leave scenario.first_classes out"),
        ({"class_order": "lucir"}, "scenario.class_order must be"),
        ({"classes_per_task": "6,4", "setting": "domain"}, r"equally many classes in every experience, not \[4, 6\]"),
    ],
)
def test_cuts_that_cannot_be_made_are_refused_in_one_line(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        widths(**options)


def test_incremental_accuracy_is_that_of_all_test_examples_seen() -> None:
    generator = torch.Generator().manual_seed(0)
    right = [torch.rand(3, size, generator=generator) < 0.6 for size in (50, 10, 20)]
    matrix = torch.stack([part.double().mean(1) for part in right], 1)
    expected = sum(float(torch.cat([part[i] for part in right[: i + 1]]).double().mean()) for i in range(3)) / 3
    assert average_incremental_accuracy(matrix, [50, 10, 20]) == pytest.approx(expected, abs=1e-12)
    matrix[0, 2] = torch.nan
    assert average_incremental_accuracy(matrix, [50, 10, 20]) == pytest.approx(expected, abs=1e-12)
    matrix[2, 0] = torch.nan
    assert average_incremental_accuracy(matrix, [50, 10, 20]) is None
