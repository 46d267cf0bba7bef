"""The tables of a report: cells with what they are sorted by, cut by subject (accuracy, few-shot, disposal, attack, cost)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from metrics.statistics import over_seeds
from runs.recording.groups import Group
from runs.reporting.gathering import Part, runs_of
from runs.showing.compare import Column, Row, cell


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: what is shown.
        order: what it is sorted by; None for its text.
        best: whether it is marked.
        more: what is shown when it is pointed at.
    """

    text: str
    order: float | None = None
    best: bool = False
    more: str = ""


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        title: above it.
        headings: of the columns.
        rows: cells, as many as headings.
        notes: below it, one sentence each.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()

    @property
    def numeric(self) -> set[int]:
        """Columns that hold numbers."""
        return {place for row in self.rows for place, each in enumerate(row) if each.order is not None}


Path = tuple[str, ...]
SUBJECTS = (
    ("Few-shot learning", ("few_shot_",)),
    ("Disposal: target, and what retraining gets back (PL accuracy)", ("unlearning.", "pl_accuracy.")),
    ("Features", ("feature_probe.",)),
    ("Task index", ("routing.",)),
    ("Attack", ("attack.",)),
)
"""Title of a table, and how the keys of its columns begin; the others make the summary."""
COSTS = (
    ("seconds", ("wall_seconds",), 1.0, 1),
    ("processor seconds", ("cpu_seconds",), 1.0, 1),
    ("training s", ("train_seconds",), 1.0, 1),
    ("testing s", ("evaluate_seconds",), 1.0, 1),
    ("peak MiB", ("peak_memory_bytes",), 2.0**-20, 0),
    ("parameters", ("parameters",), 1.0, 0),
)


def grids(part: Part) -> list[Grid]:
    """Lay out all tables of a part.

    Args:
        part: of a report.

    Returns:
        The summary, then a table for each further subject that the runs have numbers of, then the costs.
    """
    columns = [column for column in part.table.columns if column.key not in ("wall_seconds", "peak_memory_bytes")]
    subjects = {title: [column for column in columns if column.key.startswith(begins)] for title, begins in SUBJECTS}
    rest = [column for column in columns if not any(column in several for several in subjects.values())]
    decided = [column for several in subjects.values() for column in several if column.higher is not None]
    cost = [column for column in part.table.columns if column not in columns]
    found = [_compared("Summary", part, [*rest, *decided, *cost], part.table.notes)]
    found += [_compared(title, part, several) for title, several in subjects.items() if several]
    runs = [run.summary for run in runs_of(part)]
    for title, entry in (("PL accuracy by size of the piggyback set", "by_size"), ("PL accuracy by piggybacker", "by_piggybacker")):
        names = dict.fromkeys(str(name) for summary in runs for name in summary.get("pl_accuracy", {}).get(entry, {}))
        if names:
            found.append(_looked_up(title, part.groups, [(f"{name}, %", ("pl_accuracy", entry, name, "mean"), 100.0, 2) for name in names]))
    return [*found, _looked_up("Costs", part.groups, COSTS), _all_runs(part)]


def _compared(title: str, part: Part, columns: Sequence[Column], notes: tuple[str, ...] = ()) -> Grid:
    rows = []
    for row in part.table.rows:
        cells = [_number(row, column) for column in columns]
        rows.append((Cell(row.label), Cell(str(len(row.seeds)), len(row.seeds), more=f"seeds {', '.join(map(str, row.seeds))}"), *cells))
    return Grid(title, ("group", "n", *(column.heading for column in columns)), tuple(rows), notes)


def _number(row: Row, column: Column) -> Cell:
    spread = row.values.get(column.key)
    if spread is None:
        return Cell("–")
    more = "" if spread.sd is None else f"sd {spread.sd * column.factor:.{column.digits}f}, {spread.n} seeds"
    return Cell(cell(row, column, "{mean} ± {ci95}", "{}"), spread.mean, column.key in row.best, more)


def _looked_up(title: str, groups: Sequence[Group], wanted: Sequence[tuple[str, Path, float, int]]) -> Grid:
    held = [each for each in wanted if any(lookup(run.summary, each[1]) is not None for group in groups for run in group.runs)]
    rows = []
    for group in groups:
        cells = []
        for _, path, factor, digits in held:
            values = [value for run in group.runs if (value := lookup(run.summary, path)) is not None]
            cells.append(_mean([factor * value for value in values], digits))
        rows.append((Cell(group.label), Cell(str(len(group.runs)), len(group.runs)), *cells))
    return Grid(title, ("group", "n", *(heading for heading, *_ in held)), tuple(rows))


def _mean(values: Sequence[float], digits: int) -> Cell:
    if not values:
        return Cell("–")
    spread = over_seeds(values)
    interval = f" ± {spread.ci95:.{digits}f}" if spread.ci95 and spread.sd else ""
    return Cell(f"{spread.mean:.{digits}f}{interval}", spread.mean)


def _all_runs(part: Part) -> Grid:
    columns = [column for column in part.table.columns if column.higher is not None or column.key == "wall_seconds"]
    rows = []
    for group in part.groups:
        for run in group.runs:
            values = [lookup(run.summary, tuple(column.key.split("."))) for column in columns]
            cells = [Cell("–") if value is None else Cell(f"{value * c.factor:.{c.digits}f}", value) for value, c in zip(values, columns)]
            rows.append((Cell(group.label), Cell(str(run.seed), run.seed), *cells, Cell(str(run.directory))))
    return Grid("Every run", ("group", "seed", *(column.heading for column in columns), "directory"), tuple(rows))


def lookup(summary: Any, path: Path) -> float | None:
    """Find a number of a summary.

    Args:
        summary: nested dictionaries.
        path: keys that lead to it.

    Returns:
        The number; None where there is none.
    """
    for key in path:
        if not isinstance(summary, dict) or key not in summary:
            return None
        summary = summary[key]
    return float(summary) if isinstance(summary, int | float) else None
