"""Groups of runs side by side, as a table: mean, standard deviation and 95 % interval over seeds of what their summaries hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from metrics.statistics import Spread, over_seeds
from runs.recording.groups import Group, collect, differing, short, title
from runs.showing.significance import as_rows, judge, sentence

if TYPE_CHECKING:
    import rich.table

__all__ = ["COLUMNS", "Column", "Group", "Row", "Table", "cell", "collect", "render", "table"]


@dataclass(frozen=True)
class Column:
    """One number of a summary.

    Attributes:
        key: where it stands in `summary.json`; dots lead into nested entries.
        heading: what it is called.
        factor: from the summary's unit to the one that is shown.
        digits: shown after the point.
        interval: whether its interval is shown beside the mean.
        within: where the summary holds a run's own 95 % interval, over its test episodes.
        higher: whether more is better; None where groups are not judged by it.
    """

    key: str
    heading: str
    factor: float
    digits: int
    interval: bool
    within: str = ""
    higher: bool | None = None


COLUMNS = (
    Column("average_accuracy", "average accuracy %", 100, 2, True, higher=True),
    Column("average_forgetting", "forgetting %", 100, 2, True, higher=False),
    Column("backward_transfer", "backward transfer %", 100, 2, True),
    Column("few_shot_accuracy.mean", "few-shot accuracy %", 100, 2, True, "few_shot_accuracy.ci95", higher=True),
    Column("few_shot_ensemble.mean", "same, ensemble of best checkpoints %", 100, 2, True, "few_shot_ensemble.ci95"),
    Column("unlearning.target_accuracy", "target accuracy %", 100, 2, True),
    Column("unlearning.old_head_accuracy", "source, old head %", 100, 2, True),
    Column("pl_accuracy.by_size.5.mean", "PL accuracy, 5 per class %", 100, 2, True),
    Column("pl_accuracy.by_size.20.mean", "20 per class %", 100, 2, True),
    Column("pl_accuracy.by_size.100.mean", "100 per class %", 100, 2, True),
    Column("pl_accuracy.best", "best piggybacker %", 100, 2, True),
    Column("pl_accuracy.best_leakage", "its leakage % (0 floor, 100 ceiling)", 100, 1, True),
    Column("feature_probe.past.head", "past experiences: head %", 100, 2, True),
    Column("feature_probe.past.linear_probe", "linear probe %", 100, 2, True),
    Column("feature_probe.past.linear_probe_then", "just after learning %", 100, 2, True),
    Column("feature_probe.past.floor", "initial weights %", 100, 2, True),
    Column("feature_probe.past.cka", "CKA to just after learning", 1, 3, True),
    Column("few_shot_probe.mean", "few-shot probe %", 100, 2, True, "few_shot_probe.ci95"),
    Column("few_shot_probe.above_floor.mean", "above initial weights", 100, 2, True, "few_shot_probe.above_floor.ci95"),
    Column("routing.mean_index_accuracy", "task index right %", 100, 2, True),
    Column("routing.mean_oracle_accuracy", "accuracy given the index %", 100, 2, True),
    Column("attack.clean", "target, clean %", 100, 2, True),
    Column("attack.noise", "target, noise %", 100, 2, True),
    Column("attack.attacked", "target, attacked %", 100, 2, True),
    Column("attack.drop", "drop %", 100, 2, True),
    Column("attack.collateral", "collateral %", 100, 2, True),
    Column("attack.plasticity", "plasticity %", 100, 2, True),
    Column("wall_seconds", "seconds", 1, 1, False),
    Column("peak_memory_bytes", "peak MiB", 2**-20, 0, False),
)
"""What is compared, where the runs have it."""
OF_ONE_DOMAIN = ("few_shot_accuracy.mean", "few_shot_ensemble.mean")


@dataclass(frozen=True)
class Row:
    """One group's numbers.

    Attributes:
        label: the group's.
        seeds: of its runs.
        values: key of a column to the spread over seeds; a number that the runs lack is not there.
        within: of a group of one seed, key of a column to that run's own interval over test episodes.
        best: keys of the columns in which it is told apart from all other groups as the best.
    """

    label: str
    seeds: tuple[int, ...]
    values: dict[str, Spread]
    within: dict[str, float]
    best: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Table:
    """Groups side by side.

    Attributes:
        title: scenario, setting and data.
        columns: what is compared.
        rows: one a group.
        notes: what the reader must know, one sentence each.
        comparisons: of the best group of a column with each other group, as `significance.as_rows` gives them.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    comparisons: tuple[dict[str, Any], ...] = ()


def table(groups: Sequence[Group]) -> Table:
    """Summarise groups over their seeds.

    Args:
        groups: at least one.

    Returns:
        Mean, standard deviation and 95 % interval of every number that a group's runs have.
    """
    rows = []
    for group in groups:
        values, within = {}, {}
        for column in COLUMNS:
            numbers = [number for run in group.runs if (number := _lookup(run.summary, column.key)) is not None]
            if numbers:
                values[column.key] = over_seeds(numbers)
            if len(group.runs) == 1 and (half := _lookup(group.runs[0].summary, column.within)) is not None:
                within[column.key] = half
        rows.append(Row(group.label, tuple(run.seed for run in group.runs), values, within))
    columns = tuple(column for column in COLUMNS if any(column.key in row.values for row in rows) and not _said_twice(column, groups))
    verdicts = {column: judge(_by_seed(groups, column), higher=column.higher) for column in columns if column.higher is not None}
    alone = [frozenset(c.key for c, found in verdicts.items() if found and found.alone and found.best == i) for i in range(len(rows))]
    labels = [row.label for row in rows]
    told = [sentence(column.heading.removesuffix(" %"), labels, found) for column, found in verdicts.items() if found]
    comparisons = tuple(row for column, found in verdicts.items() if found for row in as_rows(column.key, labels, found))
    if told:
        told.append("Paired t tests over common seeds, p-values corrected after Holm, d: effect size; bold: told apart from all others.")
    best_rows = tuple(replace(row, best=best) for row, best in zip(rows, alone))
    return Table(title(groups), columns, best_rows, (*_notes(groups, rows), *told), comparisons)


def _by_seed(groups: Sequence[Group], column: Column) -> list[dict[int, float]]:
    found = [{run.seed: _lookup(run.summary, column.key) for run in group.runs} for group in groups]
    return [{seed: value for seed, value in each.items() if value is not None} for each in found]


def render(content: Table) -> rich.table.Table:
    """Lay a comparison out for the terminal.

    Args:
        content: the comparison.

    Returns:
        A table; a cell has mean and interval, and below them the standard deviation.
    """
    from rich.table import Table as Terminal
    from rich.text import Text

    notes = Text(" ".join(content.notes))
    terminal = Terminal(title=Text(content.title), title_justify="left", caption=notes, caption_justify="left", header_style="")
    terminal.add_column("strategy", overflow="fold")
    terminal.add_column("seeds", justify="right")
    for column in content.columns:
        terminal.add_column(column.heading, justify="right")
    for row in content.rows:
        cells = []
        for column in content.columns:
            mean, line, deviation = cell(row, column, "{mean} ± {ci95}\nsd {sd}", "{}").partition("\n")
            cells.append(Text.assemble((mean, "bold" if column.key in row.best else ""), line, (deviation, "dim")))
        terminal.add_row(Text(row.label), str(len(row.seeds)), *cells)
    return terminal


def _notes(groups: Sequence[Group], rows: Sequence[Row]) -> Iterable[str]:
    if any(len(row.seeds) > 1 for row in rows):
        yield "Mean ± 95 % interval over seeds (Student's t), and standard deviation."
    if any(row.within for row in rows):
        yield "± of one seed: 95 % interval over test episodes."
    if len({row.seeds for row in rows}) > 1:
        yield "The groups ran with different seeds."
    for key, words in (("bn_mode", "Batch norm"), ("label", "Note")):
        known = [(group.label, str(group.runs[0].summary[key])) for group in groups if key in group.runs[0].summary]
        # What stands beside the name already is not said again.
        if told := [f"{label}: {text}" for label, text in known if key != "label" or text not in label]:
            yield f"{words}: {'; '.join(told)}."
    if len({group.runs[0].strategy for group in groups}) > 1:
        shared = [{key: value for key, value in group.runs[0].options.items() if not key.startswith("strategy.")} for group in groups]
        for key in differing(shared):
            if key != "scenario.name":
                told = [f"{group.label}: {short(options.get(key))}" for group, options in zip(groups, shared)]
                yield f"{key} differs ({', '.join(told)})."


def _said_twice(column: Column, groups: Sequence[Group]) -> bool:
    # One domain's few-shot accuracy is the average over experiences as well; what a disposal forgets is the source through its old head.
    summaries = [run.summary for group in groups for run in group.runs]
    if column.key in ("average_forgetting", "backward_transfer") and all("unlearning" in summary for summary in summaries):
        return True
    if not all("few_shot_accuracy" in summary for summary in summaries):
        return False
    single = {len(summary["experiences"]) == 1 for summary in summaries}
    # Of several domains the few-shot accuracy by that name is the last one's, which the average holds as well.
    return (single == {True} and column.key == "average_accuracy") or (single == {False} and column.key in OF_ONE_DOMAIN)


def _lookup(summary: Any, key: str) -> float | None:
    for part in key.split("."):
        if not isinstance(summary, dict) or part not in summary:
            return None
        summary = summary[part]
    return float(summary)


def cell(row: Row, column: Column, template: str, marked: str) -> str:
    """Write one number of a group down.

    Args:
        row: the group.
        column: the number.
        template: how mean, interval and deviation (`mean`, `ci95`, `sd`) stand together.
        marked: how the best is marked, with braces for its mean.

    Returns:
        The text; a dash where the group has no such number.
    """
    spread = row.values.get(column.key)
    if spread is None:
        return "–"
    half = row.within.get(column.key, spread.ci95)
    mean, sd, ci95 = (None if value is None else f"{value * column.factor:.{column.digits}f}" for value in (spread.mean, spread.sd, half))
    if column.key in row.best:
        mean = marked.format(mean)
    if sd and column.interval:
        return template.format(mean=mean, ci95=ci95, sd=sd)
    return f"{mean} ± {ci95}" if column.key in row.within else str(mean)
