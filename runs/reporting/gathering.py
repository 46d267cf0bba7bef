"""What a report is made of: finished runs, part by part of what they met, and what was left out."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from runs.recording.directories import Run, find, within
from runs.recording.groups import Group, apart, collect
from runs.showing import compare
from scenarios.errors import UserError


@dataclass(frozen=True)
class Part:
    """Runs that met the same scenario, setting and data.

    Attributes:
        groups: over seeds.
        table: the comparison of the groups.
        given: the shortest list of directories that names the runs and no others.
    """

    groups: tuple[Group, ...]
    table: compare.Table
    given: tuple[Path, ...]


@dataclass(frozen=True)
class Gathered:
    """What was found in the directories that were named.

    Attributes:
        parts: one for each scenario, setting and data.
        left_out: what is not in the report and why, one sentence each.
    """

    parts: tuple[Part, ...]
    left_out: tuple[str, ...]


def gather(directories: Sequence[Path]) -> Gathered:
    """Read the runs of a report.

    Args:
        directories: runs' directories, or folders with runs inside.

    Returns:
        The finished runs; unfinished ones and repetitions are named.

    Raises:
        UserError: a directory is not there or is neither a run nor a folder of runs, or no run is finished.
    """
    finished: dict[Path, Path] = {}
    unfinished: dict[Path, Path] = {}
    for directory in directories:
        if not directory.is_dir():
            raise UserError(f"there is no directory {directory}; name a run's directory or a folder of runs")
        done, begun = within(directory)
        if not done and not begun:
            raise UserError(f"{directory} holds no runs; name a run's directory or a folder of runs")
        for kept, paths in ((finished, done), (unfinished, begun)):
            kept.update({path.resolve(): path for path in paths if path.resolve() not in kept})
    if not finished:
        first = next(iter(unfinished.values()))
        raise UserError(f"no run of {len(unfinished)} is finished; finish one with: simulate resume {first}")
    told = [f"Left out as unfinished: {path}." for path in unfinished.values()]
    parts = []
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for runs in apart(find(finished.values())):
            groups = collect(run.directory for run in runs)
            used = [run.directory for group in groups for run in group.runs]
            parts.append(Part(tuple(groups), compare.table(groups), tuple(_shortest(used, directories))))
    return Gathered(tuple(parts), (*told, *(f"{str(warning.message)}." for warning in found)))


def runs_of(part: Part) -> list[Run]:
    """All runs of a part.

    Args:
        part: of a report.

    Returns:
        The runs, group by group, by seed.
    """
    return [run for group in part.groups for run in group.runs]


def _shortest(paths: Iterable[Path], named: Sequence[Path]) -> list[Path]:
    # A folder stands for its runs where it holds no others; no folder above those that the user has named is looked into.
    rest, found = list(paths), []
    tops = [directory.resolve() for directory in named]
    while rest:
        chosen = rest[0]
        for folder in chosen.parents:
            if not any(folder.resolve().is_relative_to(top) for top in tops):
                break
            inside, _ = within(folder)
            if not set(inside) <= set(rest):
                break
            chosen = folder
        covered = set(within(chosen)[0]) or {chosen}
        rest = [path for path in rest if path not in covered]
        found.append(chosen)
    return found
