"""Runs that differ in nothing but the seed form a group.

A group is labelled by its strategy, by the options that differ where several groups share a strategy, and by what else the runs met where
that differs. Runs that met different scenarios, settings or data are not put side by side unless that is asked for.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runs.recording.directories import Run, find
from scenarios.errors import UserError
from strategies.attacks.registry import attacks
from strategies.defences.registry import defences
from strategies.registry import strategies


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that differ in nothing but the seed.

    Attributes:
        label: the strategy, and what sets this group apart.
        runs: by seed.
    """

    label: str
    runs: tuple[Run, ...]

    @property
    def summary(self) -> dict[str, Any]:
        """The first run's summary, for what all share."""
        return self.runs[0].summary


def collect(directories: Iterable[Path], *, mixed: bool = False) -> list[Group]:
    """Read runs and sort them into groups.

    Args:
        directories: runs' directories, or folders with runs inside (one folder per seed).
        mixed: whether groups may differ in scenario, setting, data or the number of experiences.

    Returns:
        The groups in the order in which their first runs were named. Of two runs with the same configuration and seed the later one counts,
        with a warning.

    Raises:
        UserError: no runs were named, or they met different things and `mixed` is false.
    """
    runs = find(directories)
    if not runs:
        raise UserError("nothing to compare; name runs' directories or folders of runs")
    if not mixed:
        _require_same(runs)
    grouped: dict[str, dict[int, Run]] = defaultdict(dict)
    for run in runs:
        seeds = grouped[repr((_protocol(run), run.strategy, sorted(run.options.items())))]
        if run.seed in seeds:
            first, second = sorted((seeds[run.seed], run), key=lambda same: (same.directory / "summary.json").stat().st_mtime)
            warnings.warn(f"{first.directory} repeats {second.directory} (same options and seed) and is left out", stacklevel=2)
            run = second
        seeds[run.seed] = run
    groups = [tuple(seeds[seed] for seed in sorted(seeds)) for seeds in grouped.values()]
    return [Group(label, group) for label, group in zip(_labels([group[0] for group in groups]), groups)]


def apart(runs: Iterable[Run]) -> list[list[Run]]:
    """Sort runs by what they met, so that each part can be compared.

    Args:
        runs: any finished runs.

    Returns:
        Runs of one scenario, setting, data and number of experiences together, in the order in which the first of each was named.
    """
    parts: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        parts[repr(_protocol(run))].append(run)
    return list(parts.values())


def title(groups: Sequence[Group]) -> str:
    """What the groups have met, in one line.

    Args:
        groups: at least one.

    Returns:
        Scenario, setting and data, all of them where the groups differ.
    """
    parts = (
        lambda run: str(run.summary["scenario"]),
        lambda run: f"setting {run.summary['setting']}",
        lambda run: run.data,
    )
    runs = [group.runs[0] for group in groups]
    return " · ".join(" / ".join(dict.fromkeys(map(part, runs))) for part in parts)


def differing(options: Sequence[dict[str, Any]]) -> list[str]:
    """Find where configurations differ.

    Args:
        options: flat configurations.

    Returns:
        The names whose values are not the same in all of them; an option that one lacks differs.
    """
    keys = dict.fromkeys(key for one in options for key in one)
    return [key for key in keys if len({repr(one.get(key)) for one in options}) > 1]


def short(value: Any) -> str:
    """Write an option's value briefly.

    Args:
        value: the value.

    Returns:
        At most 24 characters.
    """
    if isinstance(value, float):
        return f"{value:g}"
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 24 else text[:23] + "…"


def _protocol(run: Run) -> dict[str, Any]:
    matrix = run.matrix()
    return {
        "scenario": run.summary["scenario"],
        "setting": run.summary["setting"],
        "data": run.data,
        "data fingerprint": str(run.summary["data"].get("fingerprint", "none"))[:12],
        "number of experiences": len(matrix[0]) if matrix else None,
    }


def _require_same(runs: Sequence[Run]) -> None:
    first = _protocol(runs[0])
    for run in runs[1:]:
        for key, value in _protocol(run).items():
            if value != first[key]:
                raise UserError(
                    f"cannot compare runs whose {key} differs: {first[key]} in {runs[0].directory}, {value} in {run.directory}; "
                    "name runs that share it, or add --mixed"
                )


def _value(key: str, value: Any) -> str:
    registry = {"attack.name": attacks, "defence.name": defences}.get(key)
    return registry.shown(str(value)) if registry else short(value)


def _labels(runs: Sequence[Run]) -> list[str]:
    met = differing([_protocol(run) for run in runs])
    labels = []
    for run in runs:
        rivals = [other.options for other in runs if other.strategy == run.strategy]
        keys = [key for key in differing(rivals) if key in run.options and key != "scenario.name"]
        last = [key.removesuffix(".name").rpartition(".")[2] for key in keys]
        names = [end if last.count(end) == 1 else key for key, end in zip(keys, last)]
        told = [short(_protocol(run)[key]) for key in met]
        told += [f"{name}={_value(key, run.options[key])}" for name, key in zip(names, keys)]
        if label := strategies.label(run.strategy):
            told.insert(0, label)
        labels.append(f"{run.strategy} ({', '.join(told)})" if told else run.strategy)
    return labels
