import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metrics import continual

NAN = math.nan


@st.composite
def matrices(draw, least=1):
    size = draw(st.integers(least, 6))
    cells = draw(st.lists(st.integers(0, 1000), min_size=size * (size + 1), max_size=size * (size + 1)))
    values = torch.tensor(cells, dtype=torch.float64).view(size + 1, size) / 1000
    return values[1:], values[0]


@given(matrices(least=2))
def test_every_metric_equals_its_definition_written_as_a_loop(case):
    matrix, initial = case
    last = len(matrix) - 1
    r = matrix.tolist()
    forgetting = [max(r[i][j] for i in range(j, last)) - r[last][j] for j in range(last)]
    assert continual.forgetting(matrix).tolist() == pytest.approx(forgetting, abs=1e-12)
    assert continual.average_forgetting(matrix) == pytest.approx(sum(forgetting) / last, abs=1e-12)
    assert continual.average_accuracy(matrix) == pytest.approx(sum(r[last]) / (last + 1), abs=1e-12)
    assert continual.backward_transfer(matrix) == pytest.approx(sum(r[last][j] - r[j][j] for j in range(last)) / last, abs=1e-12)
    forward = sum(r[j - 1][j] - initial.tolist()[j] for j in range(1, last + 1)) / last
    assert continual.forward_transfer(matrix, initial) == pytest.approx(forward, abs=1e-12)
    assert continual.learning_accuracy(matrix) == pytest.approx(sum(r[j][j] for j in range(last + 1)) / (last + 1), abs=1e-12)
    assert continual.intransigence(matrix, initial) == pytest.approx(
        sum(initial.tolist()[j] - r[j][j] for j in range(last + 1)) / (last + 1), abs=1e-12
    )


@given(matrices())
def test_curves_equal_their_definitions_written_as_loops(case):
    matrix, _ = case
    r, size = matrix.tolist(), len(matrix)
    assert continual.average_accuracy_seen(matrix).tolist() == pytest.approx([sum(r[i][: i + 1]) / (i + 1) for i in range(size)])
    ages = [sum(r[j + age][j] for j in range(size - age)) / (size - age) for age in range(size)]
    assert continual.accuracy_by_age(matrix).tolist() == pytest.approx(ages)


@given(matrices(least=2))
def test_definitions_hang_together(case):
    matrix, _ = case
    assert continual.average_forgetting_diagonal(matrix) == pytest.approx(-continual.backward_transfer(matrix), abs=1e-12)
    assert (continual.forgetting(matrix) >= continual.forgetting_diagonal(matrix)).all()
    assert continual.average_accuracy_seen(matrix)[-1].item() == pytest.approx(continual.average_accuracy(matrix))
    assert continual.accuracy_by_age(matrix)[0].item() == pytest.approx(continual.learning_accuracy(matrix))
    last = len(matrix) - 1
    gain = continual.average_accuracy(matrix) - continual.learning_accuracy(matrix)
    assert gain == pytest.approx(continual.backward_transfer(matrix) * last / (last + 1), abs=1e-12)


@given(matrices(least=2))
def test_forgetting_is_the_diagonal_form_where_an_experience_is_best_when_just_learned(case):
    matrix, _ = case
    born = torch.ones_like(matrix).tril().bool()
    decaying = matrix.masked_fill(~born, 2).cummin(0).values
    assert torch.allclose(continual.forgetting(decaying), continual.forgetting_diagonal(decaying))


@given(matrices(least=2))
def test_what_comes_before_an_experience_is_learned_changes_nothing_but_forward_transfer(case):
    matrix, initial = case
    born = torch.ones_like(matrix).tril().bool()
    emptied = matrix.masked_fill(~born, NAN)
    assert continual.forgetting(emptied).tolist() == continual.forgetting(matrix).tolist()
    assert continual.average_accuracy_seen(emptied).tolist() == continual.average_accuracy_seen(matrix).tolist()
    assert continual.summarise(emptied, initial).keys() == {"average_accuracy", "average_forgetting", "backward_transfer"}
    assert continual.forward_transfer(emptied, initial) is None


def test_a_metric_that_needs_an_empty_cell_is_absent():
    matrix = torch.tensor([[0.9, 0.5, 0.5], [NAN, 0.9, 0.5], [0.7, 0.8, 0.9]])
    assert continual.forgetting(matrix).isnan().tolist() == [True, False]
    assert continual.average_forgetting(matrix) is None
    assert continual.backward_transfer(matrix) == pytest.approx(-0.15)
    assert continual.forward_transfer(matrix, torch.tensor([NAN, 0.5, 0.5])) == pytest.approx(0.0)
    assert continual.forward_transfer(matrix, torch.tensor([0.5, NAN, 0.5])) is None
    matrix[2, 0] = NAN
    assert continual.average_accuracy(matrix) is None and continual.backward_transfer(matrix) is None


def test_one_experience_has_an_average_accuracy_and_nothing_to_forget_or_transfer():
    matrix = torch.tensor([[0.5]])
    assert continual.summarise(matrix, torch.tensor([0.25])) == {"average_accuracy": 0.5}
    assert continual.forgetting(matrix).tolist() == [] and continual.average_forgetting_diagonal(matrix) is None


def test_better_at_the_end_than_ever_before_is_negative_forgetting():
    assert continual.average_forgetting(torch.tensor([[0.5, 0.0], [0.75, 1.0]])) == -0.25


def test_an_unfinished_matrix_is_refused_with_what_to_do():
    with pytest.raises(ValueError, match="square.*cut it"):
        continual.average_accuracy(torch.zeros(2, 3))


def test_float32_counts_are_averaged_in_float64():
    matrix = torch.full((3, 3), 0.1)
    assert continual.average_accuracy(matrix) == pytest.approx(float(torch.tensor(0.1)), abs=1e-16)
