"""A recipe's rows, made of its records: the mean over seeds beside what was published, and a verdict that noise cannot pass.

Those records of a row count whose configuration is today's, and whose pixels are those of the recipe's latest record of the same data;
where there is none, the row is outdated and says why. A seed that was run
on several machines counts once, with the mean of what they gave, and the row tells each. Of two runs of a seed on one machine the later
counts.

The verdict holds our 95 % interval over seeds (Student's t), mean +- half, against the published mean +- the recipe's margin, which does
not depend on our runs:

    within      |mean - published| + half <= margin: all of the interval lies inside
    outside     |mean - published| - half > margin: all of it lies outside, on one side
    undecided   else, and always with one seed: more seeds are needed
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metrics.statistics import Spread, over_seeds
from runs.recording import recipe as recipes
from runs.recording.records import Record, outdated


@dataclass(frozen=True)
class Counted:
    """The records that count for a row.

    Attributes:
        by_seed: for each seed, one record a machine.
        why: what differs from today's configuration; empty where they are current.
    """

    by_seed: Mapping[int, tuple[Record, ...]]
    why: tuple[str, ...]

    @property
    def records(self) -> list[Record]:
        """All of them, by seed."""
        return [record for several in self.by_seed.values() for record in several]

    def values(self, metric: str) -> dict[int, float]:
        """A number by seed.

        Args:
            metric: its name in the summary.

        Returns:
            For each seed that has it, the mean over machines.
        """
        found = {seed: [record.number(metric) for record in several] for seed, several in self.by_seed.items()}
        known = {seed: [value for value in several if value is not None] for seed, several in found.items()}
        return {seed: sum(several) / len(several) for seed, several in known.items() if several}


@dataclass(frozen=True)
class Row:
    """One number of one run, beside the published one.

    Attributes:
        label: the run's.
        shown: the same with what must stand beside the strategy's name.
        metric: its name in the summary; dots lead into nested entries.
        counted: the records.
        spread: of the number over seeds; None where no record has it.
        wanted: how many seeds the recipe asks for.
        within: of a few-shot accuracy, half of the 95 % interval of that mean over test episodes alone, the seeds being what they are.
        paper: the published number; None where there is none.
        source: where it was published.
        margin: how near ours has to be; None where ours is another protocol.
    """

    label: str
    shown: str
    metric: str
    counted: Counted
    spread: Spread | None
    wanted: int
    within: float | None = None
    paper: float | None = None
    source: str = ""
    margin: float | None = None

    @property
    def verdict(self) -> str:
        """What the records say about the published number, in words; empty where there is nothing to hold them against."""
        if self.spread is None:
            return "no record yet"
        if self.counted.why:
            return f"outdated: {'; '.join(self.counted.why)}"
        if self.paper is None:
            return ""
        return "another protocol" if self.margin is None else verdict(self.spread, self.paper, self.margin)


def verdict(ours: Spread, published: float, margin: float) -> str:
    """Hold a mean over seeds against a published one.

    Args:
        ours: the number over seeds, a fraction.
        published: the published mean.
        margin: how near ours has to be.

    Returns:
        Within, outside, or undecided, in points of percent.

    Example:
        >>> verdict(over_seeds([0.70, 0.71, 0.69]), 0.705, 0.05)
        'within ± 5 of it'
        >>> verdict(over_seeds([0.55, 0.75, 0.60]), 0.60, 0.05)
        'undecided: ± 25.9 with 3 seeds'
        >>> verdict(over_seeds([0.60]), 0.60, 0.05)
        'undecided: 1 seed'
    """
    if ours.ci95 is None:
        return "undecided: 1 seed"
    apart = ours.mean - published
    # A hair for the rounding of sums in binary.
    if abs(apart) + ours.ci95 <= margin + 1e-12:
        return f"within ± {100 * margin:g} of it"
    if abs(apart) - ours.ci95 > margin:
        return f"outside ± {100 * margin:g}: {100 * apart:+.1f}"
    return f"undecided: ± {100 * ours.ci95:.1f} with {ours.n} seeds"


def count(records: Sequence[Record], label: str, requests: Sequence[Mapping[str, Any]], scale: str) -> Counted:
    """Choose the records that count for a run.

    Args:
        records: the recipe's.
        label: the run's.
        requests: what the recipe asks for today, one a seed.
        scale: of the recipe.

    Returns:
        Those of today's configuration; where there is none, the outdated ones and why.
    """
    wanted = {request["seed"]: request for request in requests}
    mine = [record for record in records if record.row == label and record.scale == scale and record.seed in wanted]
    pixels = {_kind(record): record.summary["data"]["fingerprint"] for record in records}
    reasons = {record.line: outdated(record, wanted[record.seed]) for record in mine}
    for record in mine:
        if record.summary["data"]["fingerprint"] != pixels[_kind(record)]:
            reasons[record.line].append(f"the pixels of {record.summary['data']['name']} have changed")
    current = [record for record in mine if not reasons[record.line]]
    why = () if current or not mine else tuple(reasons[mine[-1].line])
    latest: dict[int, dict[str, Record]] = {}
    for record in current or mine:
        latest.setdefault(record.seed, {})[record.machine] = record
    return Counted({seed: tuple(latest[seed].values()) for seed in sorted(latest)}, why)


def missing(
    records: Sequence[Record], wanted: Mapping[str, Sequence[Mapping[str, Any]]], scale: str
) -> list[tuple[str, Mapping[str, Any]]]:
    """Find the runs that have no current record.

    Args:
        records: the recipe's.
        wanted: for each label, its requests, one a seed.
        scale: of the recipe.

    Returns:
        Labels and requests, seed by seed: where there is no time for all, the rows still have the same seeds.
    """
    counted = {label: count(records, label, requests, scale) for label, requests in wanted.items()}
    have = {label: each.by_seed if not each.why else {} for label, each in counted.items()}
    lacking = [(label, each) for label, requests in wanted.items() for each in requests if each["seed"] not in have[label]]
    return sorted(lacking, key=lambda each: each[1]["seed"])


def _kind(record: Record) -> str:
    data = record.summary["data"]
    return repr((data["name"], data.get("shape"), data.get("examples")))


def table(recipe: Mapping[str, Any], records: Sequence[Record], scale: str) -> list[Row]:
    """Set what the records say beside what was published.

    Args:
        recipe: its content.
        records: its records.
        scale: one of its scales.

    Returns:
        A row for each expectation, and for each of the recipe's metrics of a run that nothing is expected of.
    """
    wanted = recipes.requests(recipe, scale)
    counted = {label: count(records, label, requests, scale) for label, requests in wanted.items()}
    expected = list(recipe["scales"][scale].get("expected", recipe.get("expected", ())))
    metrics = recipe.get("metrics", ["average_accuracy"])
    covered = {(entry["run"], entry["metric"]) for entry in expected}
    rest = [{"run": label, "metric": metric} for metric in metrics for label in wanted if (label, metric) not in covered]
    rows = [_row(entry, counted[entry["run"]], wanted[entry["run"]]) for entry in expected + rest]
    # A further metric is left out where a run does not have it: learners without an index have no index accuracy.
    return [row for row in rows if row.spread is not None or row.paper is not None or row.metric == metrics[0]]


def _row(entry: Mapping[str, Any], counted: Counted, requests: Sequence[Mapping[str, Any]]) -> Row:
    values = counted.values(entry["metric"])
    halves: list[float] = []
    if entry["metric"].endswith(".mean"):
        halves = list(counted.values(entry["metric"].removesuffix(".mean") + ".ci95").values())
    return Row(
        label=entry["run"],
        shown=_shown(entry["run"], requests[0]),
        metric=entry["metric"],
        counted=counted,
        spread=over_seeds(list(values.values())) if values else None,
        wanted=len(requests),
        within=math.hypot(*halves) / len(halves) if halves else None,
        paper=entry.get("value"),
        source=entry.get("source", ""),
        margin=entry.get("margin"),
    )


def _shown(label: str, request: Mapping[str, Any]) -> str:
    from runs.resolution import OPTIONAL
    from strategies.registry import strategies

    registries = {"strategy": strategies, **OPTIONAL}
    labels = [registry.label(request[section]["name"]) for section, registry in registries.items() if request.get(section, {}).get("name")]
    beside = ", ".join(dict.fromkeys(filter(None, labels)))
    return f"{label} ({beside})" if beside else label
