"""Transfers: three roles, two blocks of outputs, one shape; subsets that are stratified and the same for everyone."""

from __future__ import annotations

import pytest
import torch

import scenarios
from scenarios.errors import UserError
from scenarios.transfer import subsets


def test_a_split_has_three_roles_and_disposal_sees_the_targets_data():
    made = scenarios.make("transfer-split-digits", source_classes=6, class_order=(9, 8, 7, 6, 5, 4, 3, 2, 1, 0), target_examples=50)
    source, target, dispose = made.experiences
    assert [experience.role for experience in made.experiences] == ["source", "target", "dispose"]
    assert source.classes == ("9", "8", "7", "6", "5", "4") and made.blocks == (range(6), range(6, 10))
    assert len(target.train) == 50 and torch.equal(dispose.train.rows, target.train.rows)
    assert dispose.outputs == target.outputs and not len(dispose.test)
    assert not set(source.train.rows.tolist()) & set(target.train.rows.tolist())
    assert made.recommended["probe"] == "piggyback"


def test_sets_of_other_shapes_are_brought_to_one_and_that_is_said():
    said: list[str] = []
    made = scenarios.make("transfer-digits-generated", target_classes=3, source_examples=40, report=said.append)
    assert made.input_shape == (3, 32, 32) and made.num_outputs == 13 and len(made.experiences[0].train) == 40
    assert any(line.startswith("digits is brought from 1x8x8 to 3x32x32") for line in said)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("transfer-split-digits", {"source_classes": 9}, "leaves a task of fewer than 2 classes; choose from 2 to 8"),
        ("transfer-digits-generated", {"source_classes": 11}, "scenario.source_classes=11 is more than the 10 classes of 'digits'"),
        ("transfer-digits-generated-digits", {}, "must name two data sets"),
        ("transfer-digits-genarated", {}, "unknown data set 'genarated'; did you mean generated"),
    ],
)
def test_what_cannot_be_transferred_is_one_line(name, options, message):
    with pytest.raises(UserError, match=message):
        scenarios.make(name, **options)


def test_subsets_are_stratified_repeatable_and_refuse_more_than_a_class_has():
    examples = scenarios.make("transfer-split-digits").experiences[0].train

    def draw(seed, count=7):
        return subsets.per_class(examples, count, torch.Generator().manual_seed(seed))

    assert examples.targets[draw(0)].bincount().tolist() == [7] * 5
    assert torch.equal(draw(0), draw(0)) and subsets.digest(examples, draw(0)) == subsets.digest(examples, draw(0))
    assert subsets.digest(examples, draw(0)) != subsets.digest(examples, draw(1))
    tenth = subsets.percentage(examples, 10, torch.Generator().manual_seed(0))
    assert all(13 <= count <= 15 for count in examples.targets[tenth].bincount().tolist())
    with pytest.raises(UserError, match="a piggyback subset of 1000 per class is larger than the smallest class"):
        draw(0, 1000)


def test_orders_go_through_the_whole_subset_before_they_repeat():
    order = subsets.orders(torch.arange(10, 16), 4, 6, torch.Generator().manual_seed(0))
    assert order.shape == (6, 4)
    assert sorted(order.flatten()[:6].tolist()) == sorted(order.flatten()[6:12].tolist()) == list(range(10, 16))
    assert subsets.orders(torch.arange(3), 32, 2, torch.Generator().manual_seed(0)).shape == (2, 3)
