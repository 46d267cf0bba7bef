"""The accuracy matrix as a file and as a table on the terminal.

`accuracy_matrix.csv` has the header `after,<experience>,...`, a row `initial` (before any learning) and one row for each learned
experience, numbered from 0. An empty cell is one that the run's setting or strategy could not answer; in memory it is nan.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scenarios.errors import UserError

if TYPE_CHECKING:
    import numpy
    from rich.table import Table


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
    path = Path(path)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["after", *names])
        for label, row in zip(["initial", *range(len(rows) - 1)], rows):
            writer.writerow([label, *("" if math.isnan(cell) else repr(cell) for cell in row)])
    os.replace(part, path)


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


def render_matrix(names: Sequence[str], initial: Sequence[float], matrix: Sequence[Sequence[float]], title: str = "") -> Table:
    """Lay an accuracy matrix out for the terminal, in per cent.

    Args:
        names: the experiences' names, one a column.
        initial: accuracies before any learning; nan where there is none.
        matrix: accuracies after each learned experience, one row each.
        title: what stands above the table.

    Returns:
        A table whose rows are named by what was learned last; the experience just learned is bold, an empty cell is a dot.
    """
    from rich.table import Table

    table = Table(title=title or None, title_justify="left", header_style="")
    table.add_column("accuracy % after", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right")
    for row, cells in enumerate([initial, *matrix], start=-1):
        texts = ["·" if math.isnan(cell) else f"{100 * cell:.1f}" for cell in map(float, cells)]
        if 0 <= row < len(texts):
            texts[row] = f"[bold]{texts[row]}[/bold]"
        label = "initial" if row < 0 else names[row] if row < len(names) else str(row)
        table.add_row(label, *texts, end_section=row == -1, style="dim" if row == -1 else "")
    return table
