"""A sweep from its beginning to its tables: what is asked for, looked up, carried out, and summed up."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from runs import stopping
from runs.recording import store
from runs.showing import terminal
from runs.showing.remaining import clock_face
from runs.stopping import StoppedError
from runs.sweep import learned, protocols, sharing, specification, trials
from runs.sweep.board import Board
from runs.sweep.executor import Executor
from runs.sweep.learned import Scores
from runs.sweep.processes import Processes
from runs.sweep.schedule import FAILURES, Tally, carry_out
from runs.sweep.sharing import Sharing
from runs.sweep.space import Point, expand
from runs.sweep.specification import Select, Sweep
from runs.sweep.trials import Trial
from scenarios.errors import UserError, nearest, shortened

if TYPE_CHECKING:
    from filelock import BaseFileLock
    from rich.console import Console


@dataclass(frozen=True, kw_only=True)
class How:
    """How a sweep is carried out: nothing of it changes a number.

    Attributes:
        jobs: runs side by side; None for as many as there are processors, on GPUs for as many as fit there.
        threads: of each run; None for one where several run side by side, else torch's own number.
        per_device: runs that share a GPU; None for as many as its memory holds, or as `jobs` makes them.
        executor: `processes` of this machine, `ray` or `slurm`.
        address: of the Ray cluster, or parameters of Slurm joined by commas.
        dry_run: only tell what would be run.
        quiet: print nothing.
    """

    jobs: int | None = None
    threads: int | None = None
    per_device: int | None = None
    executor: str = "processes"
    address: str | None = None
    dry_run: bool = False
    quiet: bool = False


def run(sweep: Sweep, folder: Path, how: How) -> None:
    """Carry a sweep out, or go on with it, and write its tables.

    Args:
        sweep: what is asked for.
        folder: of its runs.
        how: with how many processes, and what is shown.

    Raises:
        UserError: something in the request is wrong, or the folder holds something else.
    """
    console = terminal.console(how.quiet)
    if (folder / "config.yaml").exists():
        raise UserError(f"{folder} holds a single run; choose another --out for a sweep")
    folder = folder.absolute()
    if how.dry_run:
        found, points, notes = look(sweep, folder, protocols.SELECTION if sweep.select else "")
        _announce(found, notes, folder, console)
        _plan(found, how.jobs or processors(), console)
        if sweep.search.method == "optuna":
            console.print(f"then {sweep.search.samples} points in all for each combination of names, drawn by what these give")
        if sweep.select:
            reported = len(protocols.groups(points)) * len(sweep.seeds)
            console.print(f"then {reported} runs of what was chosen, with seeds {', '.join(map(str, sweep.seeds))}")
        return
    console.print("looking for what is to be run")
    carrying = _Carrying(sweep, folder, how, console)
    try:
        if sweep.select is None:
            carrying.stage("")
        else:
            carrying.selected(sweep.select)
    finally:
        carrying.close()
    carrying.conclude()


def look(
    sweep: Sweep, folder: Path, stage: str, chosen: Sequence[str] | None = None, scores: Scores = MappingProxyType({})
) -> tuple[list[Trial], list[Point], list[str]]:
    """Expand a sweep, check its options, and find what is over already. Imports torch.

    Args:
        sweep: what is asked for.
        folder: of its runs.
        stage: empty for all runs of a sweep; the selection's, or the report's.
        chosen: labels of the points of a report.
        scores: of points that need not be looked at again, where further ones are drawn by them.

    Returns:
        The runs of the stage, all points, and notes for the user.
    """
    from runs.sweep import known

    specification.import_files(sweep.base)
    points, notes = expand(sweep, scores)
    stated, seeds = points, sweep.seeds
    if stage == protocols.SELECTION and sweep.select:
        rivals = [point for group in protocols.groups(points) if len(group) > 1 for point in group if point.label not in scores]
        stated, seeds = [protocols.to_select(point, sweep.select) for point in rivals], sweep.select.selection_seeds
    elif chosen is not None:
        stated = [point for point in points if point.label in chosen]
    return known.look(trials.of(stated, seeds, folder, stage), folder / stage), points, notes


class _Carrying:
    """A sweep under way, stage by stage."""

    def __init__(self, sweep: Sweep, folder: Path, how: How, console: Console) -> None:
        self.sweep, self.folder, self.how, self.console = sweep, folder, how, console
        self.tally, self.begun, self.total = Tally(), False, 0
        self.jobs = how.jobs or min(processors(), 64)
        self.executor = _executor(self.jobs, sweep, folder, how)
        if isinstance(self.executor, Processes) and sweep.base.get("device") != "cpu":
            self.executor.sharing = shared(self.executor.call(f"{sharing.__name__}:count"), how)
            if how.per_device and self.executor.sharing and not how.jobs:
                self.jobs = self.executor.jobs = how.per_device * self.executor.sharing.devices
        elif how.per_device:
            raise UserError("--per-device is of runs on the GPUs of this machine; leave it out")
        self._lock: BaseFileLock | None = None
        self.scores: dict[str, float | None] = {}
        self._again = stopping.command("simulate resume", folder)

    def stage(self, stage: str, chosen: Sequence[str] | None = None, notes: Sequence[str] = ()) -> tuple[list[Trial], list[Point]]:
        asked = (self.sweep, self.folder, stage, chosen, self.scores)
        looked = self.executor.call(f"{__name__}:look", *asked) if isinstance(self.executor, Processes) else look(*asked)
        found, points, told = looked
        if found or not self.begun:
            _announce(found, () if self.begun else told, self.folder / stage, self.console)
        if not self.begun:
            self.sweep.write(self.folder)
            self._lock, self.begun = store.claim(self.folder), True
        self.total += len(found)
        try:
            with Board(self.console, found, self.jobs) as board:
                carry_out(found, self.executor, board, self.folder, self.tally)
        except KeyboardInterrupt:
            over = f"{len(self.tally.done)} of {self.total} runs are done"
            line = f"interrupted; {over}: go on with the same command or {self._again}"
            raise StoppedError(line, stopping.INTERRUPTED) from None
        self.tally.write(self.folder)
        if stage != protocols.SELECTION:
            summarise(found, self.tally, self.folder, self.console, notes)
        return found, points

    def selected(self, select: Select) -> None:
        found, points = self._candidates(select)
        chosen = protocols.choose(found, self.tally.done, points, select)
        if (search := self.sweep.as_dict()["search"])["method"] != "grid":
            told = {"optuna": learned.version()} if search["method"] == "optuna" else {}
            chosen.content["search"] = {**search, **told}
        protocols.write(chosen, self.folder)
        for note in chosen.notes:
            self.console.print(note, soft_wrap=True)
        self.stage(protocols.REPORT, chosen.labels, chosen.notes)

    def _candidates(self, select: Select) -> tuple[list[Trial], list[Point]]:
        found, points = self.stage(protocols.SELECTION)
        while self.sweep.search.method == "optuna" and (new := [point.label for point in points if point.label not in self.scores]):
            scores, _ = protocols.scored(found, self.tally.done, select)
            for label in new:
                known = list(scores[label].values())
                self.scores[label] = sum(known) / len(known) if len(known) == len(select.selection_seeds) else None
            more, points = self.stage(protocols.SELECTION)
            found += more
        return found, points

    def close(self) -> None:
        self.executor.close()
        if self._lock is not None:
            self._lock.release()

    def conclude(self) -> None:
        if self.tally.failed:
            name, outcome = next(iter(self.tally.failed.items()))
            several = f"{len(self.tally.failed)} of {self.total} runs failed, first {name}: {outcome.line}"
            line = f"{several}; all reasons are in {self.folder / FAILURES}; try them again with {self._again}"
            raise StoppedError(line, stopping.STOPPED)


def _executor(jobs: int, sweep: Sweep, folder: Path, how: How) -> Executor:
    if how.executor == "processes":
        return Processes(jobs, how.threads or (1 if jobs > 1 else None))
    gpu = sweep.base.get("device") == "cuda"
    if how.executor == "ray":
        from runs.sweep.on_ray import OnRay

        return OnRay(how.address, how.jobs, how.threads or 1, gpu=gpu)
    if how.executor == "slurm":
        from runs.sweep.on_slurm import OnSlurm

        return OnSlurm(folder / "slurm", how.address, how.jobs, how.threads or 1, gpu=gpu)
    raise UserError(f"there is no executor '{shortened(how.executor)}'{nearest(how.executor, ('processes', 'ray', 'slurm'))}")


def shared(devices: int, how: How) -> Sharing | None:
    """How runs share the GPUs of this machine.

    Args:
        devices: how many there are.
        how: `per_device` of them on each; else `jobs` of them on all, evenly; else as many as memory and processors allow.

    Returns:
        The sharing; None where there is no GPU.

    Raises:
        UserError: runs shall share a GPU, and there is none.
    """
    if not devices:
        if how.per_device:
            raise UserError("there is no GPU here that runs could share; leave --per-device out")
        return None
    asked = how.per_device or (-(-how.jobs // devices) if how.jobs else None)
    return Sharing(devices, asked or -(-min(processors(), 64) // devices), fixed=asked is not None)


def summarise(found: Sequence[Trial], tally: Tally, folder: Path, console: Console, notes: Sequence[str]) -> None:
    """Put the runs that are over side by side: a table for each scenario, on the terminal and as files.

    Args:
        found: the runs of the sweep.
        tally: which are over.
        folder: where the tables are written; of several scenarios into `tables/SCENARIO`.
        console: where they are shown.
        notes: for every table.
    """
    from runs.showing import compare, formats

    met: dict[str, list[Path]] = defaultdict(list)
    for trial in found:
        if trial.name in tally.done:
            met[_met(trial.point)].append(tally.done[trial.name])
    for name, places in met.items():
        groups = compare.collect(places, mixed=len(met) == 1)
        table = compare.table(groups)
        table = replace(table, notes=(*notes, *table.notes))
        written = formats.write(table, folder if len(met) == 1 else folder / "tables" / re.sub(r"[^\w.+=-]+", "-", name))
        console.print(compare.render(table))
        console.print(f"table {', '.join(map(str, written))}", soft_wrap=True)
    if met:
        console.print(f"runs in {folder}; draw them with {stopping.command('simulate plot', folder)}", soft_wrap=True)


def _met(point: Point) -> str:
    parts = [point.names["scenario"], point.names.get("data"), *(point.values.get(f"scenario.{name}") for name in ("setting", "tasks"))]
    return "_".join(str(part) for part in parts if part is not None)


def go_on(folder: Path, how: How) -> None:
    """Go on with the sweep of a folder.

    Args:
        folder: with a file `sweep.yaml`.
        how: with how many processes, and what is shown.
    """
    run(specification.read(folder / specification.FILE), folder, how)


def folder_of(sweep: Sweep) -> Path:
    """Where a sweep from the command line is written that names no place: the same for the same command, so that it goes on.

    Args:
        sweep: what is asked for, but for its seeds.

    Returns:
        A path under `./simulations`.
    """
    content = replace(sweep, seeds=(0,)).as_dict()
    varied = sweep.vary[0]
    names = []
    for section in ("scenario", "strategy"):
        held = varied.get(section) or [sweep.base.get(section, {}).get("name", "")]
        names.append("+".join(map(str, held)))  # type: ignore[arg-type]
    stem = "_".join(re.sub(r"[^\w.+-]+", "-", name)[:60] for name in names)
    digest = hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
    return Path("simulations") / f"{stem}_{digest[:8]}"


def processors() -> int:
    """How many processors this process may use.

    Returns:
        At least 1.
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _announce(found: Sequence[Trial], notes: Sequence[str], folder: Path, console: Console) -> None:
    counts = {state: sum(trial.state == state for trial in found) for state in ("done", "begun", "new")}
    words = {"done": "over already", "begun": "to go on with", "new": "to begin"}
    told = ", ".join(f"{counts[state]} {words[state]}" for state in counts if counts[state])
    console.print(f"{len(found)} runs: {told}; in {folder}", soft_wrap=True)
    for note in notes:
        console.print(f"note: {note}", soft_wrap=True)


def _plan(found: Sequence[Trial], jobs: int, console: Console) -> None:
    for trial in found:
        known = trial.seconds is not None
        about = f"about {clock_face(trial.seconds or 0)} ({trial.found})" if known else "of unknown length: nothing like it was run"
        state = {"done": "over", "begun": f"goes on, {about}", "new": about}[trial.state]
        console.print(f"{trial.name}: {state}", soft_wrap=True)
    to_do = [trial for trial in found if trial.state != "done"]
    seconds = [trial.seconds for trial in to_do if trial.seconds is not None]
    if not to_do:
        console.print("nothing is left to run")
    elif len(seconds) == len(to_do):
        console.print(f"about {clock_face(sum(seconds) / min(jobs, len(to_do)))} with {jobs} jobs, starts and other machines' speed apart")
    else:
        console.print(f"how long this takes cannot be told: nothing like {len(to_do) - len(seconds)} of the runs was run before")

