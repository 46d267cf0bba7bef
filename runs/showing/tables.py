"""The accuracy matrix as a file and as a table on the terminal.

`accuracy_matrix.csv` has the header `after,<experience>,...`, a row `initial` (before any learning) and one row for each learned
experience, numbered from 0. An empty cell is one that the run's setting or strategy could not answer; in memory it is nan.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runs.recording import files
from scenarios.errors import UserError

if TYPE_CHECKING:
    import numpy
    from rich.table import Table

MOST_COLUMNS = 14
"""Columns that a terminal can show."""


def write_matrix(path: Path, names: Sequence[str], initial: Sequence[float], matrix: Sequence[Sequence[float]]) -> None:
    """Write an accuracy matrix, all of it or nothing; a float64 value is read back bit for bit.

    Args:
        path: the file.
        names: the experiences' names, one a column.
        initial: accuracies before any learning; nan where there is none. Lists, arrays and tensors on the CPU will do.
        matrix: accuracies after each learned experience, one row each, of the same width.
    """
    rows = [list(map(float, row)) for row in (initial, *matrix)]
    assert all(len(row) == len(names) for row in rows), f"{len(names)} names for rows of {[len(row) for row in rows]} cells"
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["after", *names])
    for label, row in zip(["initial", *range(len(rows) - 1)], rows):
        writer.writerow([label, *("" if math.isnan(cell) else repr(cell) for cell in row)])
    files.write_text(Path(path), text.getvalue())


def read_matrix(path: Path) -> tuple[list[str], numpy.ndarray, numpy.ndarray]:
    """Read an accuracy matrix.

    Args:
        path: the file.

    Returns:
        The experiences' names, the initial row `[columns]`, and the matrix `[rows, columns]`, float64 with nan for empty cells.
        A run that was stopped has fewer rows than columns.

    Raises:
        UserError: the file is not there or is not an accuracy matrix.
    """
    import numpy

    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file))
        labels = [row[0] for row in rows]
        cells = numpy.array([[float(cell) if cell else math.nan for cell in row[1:]] for row in rows], dtype=numpy.float64)
    except OSError as error:
        raise UserError(f"no accuracy matrix at {path} ({error.strerror}): name a run that has learned an experience") from error
    except (ValueError, IndexError, csv.Error) as error:
        raise UserError(f"{path} is not an accuracy matrix ({error}): repeat the run") from error
    expected = ["initial", *map(str, range(len(rows) - 1))]
    if header[:1] != ["after"] or labels != expected or cells.shape != (len(rows), len(header) - 1):
        raise UserError(f"{path} is not an accuracy matrix (header 'after,...', row 'initial', rows 0, 1, ...): repeat the run")
    return header[1:], cells[0], cells[1:]


def numbered(index: int, name: str, length: int = 24) -> str:
    """Name an experience with its number, briefly.

    Args:
        index: its place in the stream.
        name: its name.
        length: the most characters.

    Returns:
        Number and name, the end cut off where it is too long; the name alone where it ends with the number.

    Example:
        >>> numbered(3, "cat, deer"), numbered(3, "permutation 3"), numbered(3, "apple, ..., beaver", length=12)
        ('3: cat, deer', 'permutation 3', '3: apple…')
    """
    if name.split()[-1:] == [str(index)] and len(name) <= length:
        return name
    text = f"{index}: {name}"
    return text if len(text) <= length else text[: length - 1].rstrip(" ,.") + "…"


def render_matrix(names: Sequence[str], initial: Sequence[float], matrix: Sequence[Sequence[float]]) -> Table:
    """Lay an accuracy matrix out for the terminal, in per cent.

    Args:
        names: the experiences' names, one a column.
        initial: accuracies before any learning; nan where there is none.
        matrix: accuracies after each learned experience, one row each.

    Returns:
        A table whose rows are named by what was learned last and whose columns are numbered. The experience just learned is bold, an empty
        cell is a dot. More than 8 columns are rounded to whole numbers, and of more than 14 some are left out.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    step = -(-len(names) // MOST_COLUMNS)
    columns = sorted(set(range(len(names) - 1, -1, -step)))
    digits = 1 if len(columns) <= 8 else 0
    caption = f"one in {step} of {len(names)} experiences" if step > 1 else None
    table = Table(caption=caption, caption_justify="left", header_style="", box=box.SIMPLE_HEAD)
    table.padding = (0, 1, 0, 0)
    table.add_column("accuracy % after \\ on", no_wrap=True)
    for column in columns:
        table.add_column(str(column), justify="right", no_wrap=True)
    for row, cells in enumerate([initial, *matrix], start=-1):
        if row >= 0 and row not in columns:
            continue
        texts = ["·" if math.isnan(float(cells[column])) else f"{100 * float(cells[column]):.{digits}f}" for column in columns]
        shown = [Text(text, style="bold" if column == row else "") for column, text in zip(columns, texts)]
        label = "initial" if row < 0 else numbered(row, names[row])
        table.add_row(Text(label), *shown, style="dim" if row < 0 else "")
    return table
