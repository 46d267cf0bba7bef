"""The paragraph that opens a report: which method, how sure, what it cost."""

from __future__ import annotations

import math
from collections.abc import Sequence

from metrics.statistics import over_seeds
from runs.reporting.gathering import Part, runs_of
from runs.reporting.grids import lookup
from runs.showing.compare import Column
from runs.showing.significance import LEVEL, judge

FURTHER = (
    Column("pl_accuracy.best", "accuracy that the best piggybacker gets back of the source", 100, 2, True, higher=False),
    Column("attack.drop", "drop of the target's accuracy under attack", 100, 2, True, higher=False),
)
"""What decides besides the columns that a comparison judges."""


def opening(part: Part) -> str:
    """Say what a part of a report shows.

    Args:
        part: of a report.

    Returns:
        One paragraph: what was run, which group is best and whether seeds can tell, and what it cost.
    """
    runs = runs_of(part)
    groups = f"{len(part.groups)} groups" if len(part.groups) > 1 else "one group"
    first = f"{part.table.title}: {_counted(len(runs), 'run')} in {groups}."
    judged = [column for column in part.table.columns if column.higher is not None]
    # Forgetting alone says little: what learns nothing forgets nothing.
    asked = [column for column in judged if column.higher][:1] + list(FURTHER)
    return " ".join([first, *(text for column in asked if (text := _best(part, column))), _costs(part)])


def _best(part: Part, column: Column) -> str:
    path = tuple(column.key.split("."))
    found = [{run.seed: lookup(run.summary, path) for run in group.runs} for group in part.groups]
    known = [{seed: value for seed, value in each.items() if value is not None} for each in found]
    means = {index: sum(each.values()) / len(each) for index, each in enumerate(known) if each}
    if not means:
        return ""
    place = (max if column.higher else min)(means, key=lambda index: means[index])
    spread = over_seeds(list(known[place].values()))
    interval = "" if spread.ci95 is None else f" ± {column.factor * spread.ci95:.{column.digits}f}"
    sure = f" (95 % interval over {spread.n} seeds)" if interval else " (one seed)"
    half = part.table.rows[place].within.get(column.key)
    if half is not None:
        interval, sure = f" ± {column.factor * half:.{column.digits}f}", " (95 % interval over test episodes, one seed)"
    number = f"{column.factor * spread.mean:.{column.digits}f}{interval} %{sure}"
    name, label = column.heading.removesuffix(" %"), part.groups[place].label
    if len(means) == 1:
        return f"{label}: {name} {number}."
    word = "highest" if column.higher else "lowest"
    return f"{label} has the {word} {name}, {number}. {_sure(part, known, higher=bool(column.higher), best=place)}"


def _sure(part: Part, known: Sequence[dict[int, float]], *, higher: bool, best: int) -> str:
    verdict = judge(known, higher=higher)
    if verdict is None:
        return "No two groups share two seeds, so how sure this is cannot be told: run more seeds."
    worst = max(verdict.others.values())
    if verdict.alone:
        return f"Paired t tests over common seeds tell it apart from all others (largest corrected p {_p(worst)})."
    close = {index: p for index, p in verdict.others.items() if not p < LEVEL}
    untested = sum(bool(each) for each in known) - 1 - len(verdict.others)
    told = [f"{part.groups[index].label} (corrected p {_p(p)})" for index, p in sorted(close.items(), key=lambda item: -item[1])]
    parts = [f"seeds cannot tell it from {', '.join(told[:3])}{f' and {len(told) - 3} more' if len(told) > 3 else ''}"] if told else []
    parts += [f"{_counted(untested, 'group')} shared too few seeds with it to be tested"] if untested else []
    return f"But {'; '.join(parts)}."


def _costs(part: Part) -> str:
    told = []
    for group in part.groups:
        seconds = [value for run in group.runs if (value := lookup(run.summary, ("wall_seconds",))) is not None]
        if seconds:
            told.append((sum(seconds) / len(seconds), group.label))
    if not told:
        return ""
    (least, cheap), (most, dear) = min(told), max(told)
    if f"{least:.1f}" == f"{most:.1f}":
        cost = f"a run took {least:.1f} s"
    else:
        cost = f"a run took from {least:.1f} s ({cheap}) to {most:.1f} s ({dear})"
    memory = [value for run in runs_of(part) if (value := lookup(run.summary, ("peak_memory_bytes",))) is not None]
    room = f", at most {max(memory) / 2**20:.0f} MiB" if memory else ""
    processor = [value for run in runs_of(part) if (value := lookup(run.summary, ("cpu_seconds",))) is not None]
    whole = f"; all runs together {_duration(sum(processor))} of processor time" if len(processor) == len(runs_of(part)) else ""
    return f"Cost: {cost}{room}{whole}."


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" + ("s" if number != 1 else "")


def _p(value: float) -> str:
    if math.isnan(value):
        return "not defined"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.1f} minutes"
