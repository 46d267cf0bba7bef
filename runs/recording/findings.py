"""What a recipe says about its runs: a text whose numbers are filled in from records.

A placeholder stands in braces and names a row of the recipe and a metric:

    {rescl average_accuracy}                                the mean over seeds, in percent with one digit
    {rescl average_accuracy ±}                              with its 95 % interval over seeds
    {rescl average_accuracy - naive average_accuracy ±}     the difference by common seeds, signed, in points
    {rescl average_forgetting / naive average_forgetting}   the ratio of two means
    {rescl seeds}                                           how many seeds have a record
    {hnet routing.oracle_accuracy.1}                        one entry of a list, by its place from 0

Durations (`cpu_seconds`) are given in seconds. A finding is told only where every one of its numbers has a current record.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from metrics.statistics import Spread, over_seeds
from runs.recording import recipe as recipes
from runs.recording.records import Record
from runs.recording.rows import Counted, count
from scenarios.errors import UserError


def told(recipe: Mapping[str, Any], records: Sequence[Record], scale: str) -> str | None:
    """Fill a finding in.

    Args:
        recipe: its content.
        records: its records.
        scale: one of its scales.

    Returns:
        The text; None where there is none, where a number of it has no current record, or where it names no number and a run has no record.

    Raises:
        UserError: a placeholder cannot be read, or names a row that the recipe does not have.
    """
    text = recipes.text(recipe, "finding", scale)
    wanted = recipes.requests(recipe, scale)
    counted = {label: count(records, label, requests, scale) for label, requests in wanted.items()}
    counted = {label: each for label, each in counted.items() if each.by_seed and not each.why}
    places = re.findall(r"\{([^{}]*)\}", text)
    if not text or (not places and counted.keys() != wanted.keys()):
        return None
    for label in {word for place in places for word in _labels(place)}:
        if label not in wanted:
            raise UserError(f"a finding names the row '{label}', which its recipe does not have; rows: {', '.join(wanted)}")
        if label not in counted:
            return None
    return re.sub(r"\{([^{}]*)\}", lambda found: _fill(found[1], counted), text)


def _parse(place: str) -> tuple[str, str | None, str | None]:
    found = re.fullmatch(r"(\S+ \S+)(?: ([-/]) (\S+ \S+))?(?: ±)?", place)
    if not found:
        raise UserError(f"'{{{place}}}' in a finding is no placeholder; write {{ROW METRIC}}, {{ROW METRIC - ROW METRIC ±}} or the like")
    return found[1], found[2], found[3]


def _labels(place: str) -> list[str]:
    first, _, second = _parse(place)
    return [operand.split()[0] for operand in (first, second) if operand]


def _fill(place: str, counted: Mapping[str, Counted]) -> str:
    interval = place.endswith(" ±")
    first, operator, second = _parse(place)
    label, metric = first.split()
    if metric == "seeds":
        return str(len(counted[label].by_seed))
    values = _values(first, counted)
    factor = 1 if metric.endswith("seconds") else 100
    if second:
        other = _values(second, counted)
        if operator == "/":
            return f"{over_seeds(list(values.values())).mean / over_seeds(list(other.values())).mean:.2f}"
        values = {seed: values[seed] - other[seed] for seed in values if seed in other}
    return _written(over_seeds([factor * value for value in values.values()]), signed=operator == "-", interval=interval)


def _values(operand: str, counted: Mapping[str, Counted]) -> dict[int, float]:
    label, metric = operand.split()
    values = counted[label].values(metric)
    if not values:
        raise UserError(f"a finding names '{operand}', which no record of the row holds")
    return values


def _written(spread: Spread, *, signed: bool, interval: bool) -> str:
    mean = f"{spread.mean:+.1f}" if signed else f"{spread.mean:.1f}"
    if not interval:
        return mean
    return f"{mean} ± {spread.ci95:.1f}" if spread.ci95 is not None else f"{mean} (1 seed)"
