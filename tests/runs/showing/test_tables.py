import math

import numpy
import pytest
import torch
from rich.console import Console

from runs.showing import tables
from scenarios.errors import UserError

NAN = math.nan


def shown(table, width=80):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))
    console.print(table)
    return console.export_text()


@pytest.mark.parametrize("kind", [list, numpy.array, lambda cells: torch.tensor(cells, dtype=torch.float64)])
def test_a_matrix_is_read_back_bit_for_bit(tmp_path, kind):
    initial, matrix = [0.1, NAN, 1 / 3], [[0.9355, NAN, 0.0], [1.0, 2 / 3, 0.1 + 0.2], [1e-17, 0.5, NAN]]
    tables.write_matrix(tmp_path / "m.csv", ["a", 'with, comma and "quote"', "ü"], kind(initial), kind(matrix))
    names, first, rest = tables.read_matrix(tmp_path / "m.csv")
    assert names == ["a", 'with, comma and "quote"', "ü"]
    numpy.testing.assert_array_equal(first, initial)
    numpy.testing.assert_array_equal(rest, matrix)


def test_the_file_is_as_the_design_says(tmp_path):
    tables.write_matrix(tmp_path / "m.csv", ["a", "b"], [0.5, NAN], [[1.0, NAN], [0.25, 0.75]])
    assert (tmp_path / "m.csv").read_text() == "after,a,b\ninitial,0.5,\n0,1.0,\n1,0.25,0.75\n"
    assert [path.name for path in tmp_path.iterdir()] == ["m.csv"]


def test_a_stopped_run_has_fewer_rows_than_columns(tmp_path):
    tables.write_matrix(tmp_path / "m.csv", ["a", "b", "c"], [0.5, 0.5, 0.5], [[1.0, 0.5, 0.5]])
    assert tables.read_matrix(tmp_path / "m.csv")[2].shape == (1, 3)
    tables.write_matrix(tmp_path / "m.csv", ["a", "b", "c"], [0.5, 0.5, 0.5], [])
    assert tables.read_matrix(tmp_path / "m.csv")[2].shape == (0, 3)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "after,a\n",
        "after,a\n0,0.5\n",
        "after,a\ninitial,0.5\n1,0.5\n",
        "after,a\ninitial,half\n",
        "after,a,b\ninitial,0.5\n",
        "x,a\ninitial,0.5\n",
        "\x00\x01",
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path, text):
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(UserError, match="is not an accuracy matrix") as error:
        tables.read_matrix(tmp_path / "m.csv")
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="no accuracy matrix at .*m.csv"):
        tables.read_matrix(tmp_path / "m.csv")


def test_the_terminal_shows_per_cent_and_dots_for_empty_cells():
    text = shown(tables.render_matrix(["cat, dog", "[red]"], [0.5, NAN], [[0.987, NAN], [0.25, 1.0]]))
    rows = [line.split() for line in text.splitlines()]
    assert ["initial", "50.0", "·"] in rows
    assert ["0:", "cat,", "dog", "98.7", "·"] in rows and ["1:", "[red]", "25.0", "100.0"] in rows


@pytest.mark.parametrize("count", [5, 10, 20, 100])
def test_long_streams_fit_a_terminal_of_80_columns_and_show_the_last_experience(count):
    cells = numpy.full((count, count), 0.5)
    text = shown(tables.render_matrix([f"a long name of experience {i}" for i in range(count)], cells[0], cells))
    assert "…" not in "".join(line[26:] for line in text.splitlines())
    assert str(count - 1) in text.splitlines()[1].split()
    assert f"\n {count - 1}: a long name of" in text
