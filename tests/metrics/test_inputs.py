"""Metrics take tensors, arrays and nested lists, and say which shape they need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy
import pytest
import torch

from metrics import accuracy, continual, fewshot

MATRIX, ROW = [[0.9, 0.1, 0.2], [0.7, 0.8, 0.3], [0.6, 0.75, 1.0]], [0.1, 0.2, 0.3]
LOGITS, TARGETS = [[0.1, 0.9], [0.8, 0.3], [0.2, 0.7]], [1, 1, 1]
CASES: list[tuple[Callable[..., Any], list[Any]]] = [
    (continual.average_accuracy, [MATRIX]),
    (continual.average_accuracy_seen, [MATRIX]),
    (continual.accuracy_by_age, [MATRIX]),
    (continual.forgetting, [MATRIX]),
    (continual.average_forgetting, [MATRIX]),
    (continual.average_forgetting_diagonal, [MATRIX]),
    (continual.backward_transfer, [MATRIX]),
    (continual.forward_transfer, [MATRIX, ROW]),
    (continual.learning_accuracy, [MATRIX]),
    (continual.intransigence, [MATRIX, ROW]),
    (accuracy.predictions, [LOGITS]),
    (accuracy.correct, [LOGITS, TARGETS]),
    (accuracy.accuracy, [LOGITS, TARGETS]),
    (accuracy.correct_each, [LOGITS, TARGETS, [[True, True], [False, True]]]),
    (accuracy.per_class_accuracy, [[[3, 1], [0, 4]]]),
    (fewshot.per_step, [MATRIX]),
]


def plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [plain(part) for part in value]
    return value.tolist() if isinstance(value, torch.Tensor) else value


@pytest.mark.parametrize(("metric", "arguments"), CASES, ids=[metric.__name__ for metric, _ in CASES])
def test_lists_arrays_and_tensors_give_the_same(metric: Callable[..., Any], arguments: list[Any]) -> None:
    from_lists = plain(metric(*arguments))
    assert plain(metric(*map(numpy.array, arguments))) == from_lists
    tensors = [torch.from_numpy(numpy.array(each)) for each in arguments]
    assert plain(metric(*tensors)) == from_lists


@pytest.mark.parametrize(("metric", "arguments"), CASES, ids=[metric.__name__ for metric, _ in CASES])
def test_a_wrong_shape_is_told_with_the_right_one(metric: Callable[..., Any], arguments: list[Any]) -> None:
    with pytest.raises(ValueError, match="must have the shape|must be square"):
        metric([arguments[0]], *arguments[1:])
    with pytest.raises(ValueError, match="tensor, an array or nested lists"):
        metric([["a", "b"], ["c"]], *arguments[1:])


def test_episodes_of_a_list() -> None:
    assert fewshot.over_episodes([0.5, 0.7] * 300).mean == pytest.approx(0.6)
    with pytest.raises(ValueError, match="at least 2"):
        fewshot.over_episodes([0.5])
