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
from typing import TYPE_CHECKING

from runs import stopping
from runs.recording import store
from runs.showing import terminal
from runs.showing.remaining import clock_face
from runs.stopping import StoppedError
from runs.sweep import specification, trials
from runs.sweep.board import Board
from runs.sweep.processes import Processes
from runs.sweep.schedule import FAILURES, Tally, carry_out
from runs.sweep.space import Point, expand
from runs.sweep.specification import Sweep
from runs.sweep.trials import Trial
from scenarios.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, kw_only=True)
class How:
    """How a sweep is carried out: nothing of it changes a number.

    Attributes:
        jobs: runs side by side; None for as many as there are processors, or one on a GPU.
        threads: of each run; None for one where several run side by side, else torch's own number.
        dry_run: only tell what would be run.
        quiet: print nothing.
    """

    jobs: int | None = None
    threads: int | None = None
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
        found, notes = look(sweep, folder)
        _announce(found, notes, folder, console)
        _plan(found, how.jobs or processors(), console)
        return
    jobs = how.jobs or (1 if sweep.base.get("device") == "cuda" else min(processors(), 64))
    executor = Processes(jobs, how.threads or (1 if jobs > 1 else None))
    try:
        found, notes = executor.call("runs.sweep.sweeping:look", sweep, folder)
        _announce(found, notes, folder, console)
        sweep.write(folder)
        lock = store.claim(folder)
        try:
            _carry_out(found, executor, Board(console, found, jobs), folder)
        finally:
            lock.release()
    finally:
        executor.close()


def look(sweep: Sweep, folder: Path) -> tuple[list[Trial], list[str]]:
    """Expand a sweep, check its options, and find what is over already. Imports torch.

    Args:
        sweep: what is asked for.
        folder: of its runs.

    Returns:
        The runs, and notes for the user.
    """
    from runs.sweep import known

    specification.import_files(sweep.base)
    points, notes = expand(sweep)
    return known.look(trials.of(points, sweep.seeds, folder), folder), notes


def _carry_out(found: Sequence[Trial], executor: Processes, board: Board, folder: Path) -> None:
    tally = Tally()
    again = stopping.command("simulate resume", folder)
    try:
        with board:
            carry_out(found, executor, board, folder, tally)
    except KeyboardInterrupt:
        line = f"interrupted; {len(tally.done)} of {len(found)} runs are done: go on with the same command or {again}"
        raise StoppedError(line, stopping.INTERRUPTED) from None
    tally.write(folder)
    if tally.done:
        summarise(found, tally, folder, board.console)
    if tally.failed:
        name, outcome = next(iter(tally.failed.items()))
        several = f"{len(tally.failed)} of {len(found)} runs failed, first {name}: {outcome.line}"
        raise StoppedError(f"{several}; all reasons are in {folder / FAILURES}; try them again with {again}", stopping.STOPPED)


def summarise(found: Sequence[Trial], tally: Tally, folder: Path, console: Console) -> None:
    """Put the runs that are over side by side: a table for each scenario, on the terminal and as files.

    Args:
        found: the runs of the sweep.
        tally: which are over.
        folder: where the tables are written; of several scenarios into `tables/SCENARIO`.
        console: where they are shown.
    """
    from runs.showing import compare, formats

    met: dict[str, list[Path]] = defaultdict(list)
    for trial in found:
        if trial.name in tally.done:
            met[_met(trial.point)].append(tally.done[trial.name])
    for name, places in met.items():
        groups = compare.collect(places, mixed=len(met) == 1)
        table = compare.table(groups)
        written = formats.write(table, folder if len(met) == 1 else folder / "tables" / re.sub(r"[^\w.+=-]+", "-", name))
        console.print(compare.render(table))
        console.print(f"table {', '.join(map(str, written))}", soft_wrap=True)
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

