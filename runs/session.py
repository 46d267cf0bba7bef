"""What the commands do with a person at the other end: run, resume, sweep, repeat what was published."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runs import config, early, stopping
from runs.recording import files, seeds
from runs.recording.seeds import Seeds
from runs.showing import show, terminal
from runs.starting import importing
from runs.stopping import StoppedError
from scenarios.errors import UserError, shortened
from strategies.registry import strategies

if TYPE_CHECKING:
    from rich.console import Console

    from runs.result import RunResult


def run(request: Mapping[str, Any], out: Path | None, *, number: str | None, quiet: bool, resume: bool) -> None:
    """Run a request, once or for several seeds, and show the result.

    Args:
        request: what is asked for.
        out: the run's directory; None for a new one.
        number: how many seeds, as the user wrote it; None for a single run.
        quiet: print nothing.
        resume: go on with the run in `out`.

    Raises:
        UserError: something in the request is wrong.
    """
    if resume and out is None:
        raise UserError("--resume needs --out RUN, the directory of the run to go on with")
    count = whole(number, "--seeds", 1)
    console = terminal.console(quiet)
    names = {part: config.named(request, part)[0] for part in ("scenario", "strategy")}
    first = whole(request.get("seed"), "--seed", 0) or 0
    if "," in names["strategy"]:
        from runs import victims

        folder = out or new_folder(names["scenario"], "victims", str(first))
        victims.run(request, folder, range(first, first + (count or 1)), quiet=quiet, resume=resume)
        return
    if count is None:
        folder = out or new_folder(names["scenario"], names["strategy"], str(first))
        show.run(one(request, folder, console, quiet=quiet, resume=resume), console)
        return
    folder = out or new_folder(names["scenario"], names["strategy"], f"{first}-{first + count - 1}")
    if (folder / "config.yaml").exists():
        raise UserError(f"{folder} holds a single run; choose another --out for several seeds")
    several(Seeds(folder, request, range(first, first + count)), console, quiet=quiet, resume=resume)


def sweep(
    request: Mapping[str, Any],
    settings: Mapping[str, Any],
    out: Path | None,
    *,
    number: str | None,
    jobs: str | None,
    dry_run: bool,
    quiet: bool,
) -> bool:
    """Carry out a command on which something has several values, or whose seeds run side by side.

    Args:
        request: all that is asked for.
        settings: that part of it which `--set` gave.
        out: the folder of the runs; None for one that the same command finds again.
        number: how many seeds, as the user wrote it; None for one.
        jobs: how many runs side by side, as the user wrote it.
        dry_run: only tell what would be run.
        quiet: print nothing.

    Returns:
        False where the command asks for nothing of the kind, and nothing was done.
    """
    from runs.sweep import specification

    victims = bool(request.get("attack")) and "," not in str(request.get("attack", {}).get("name"))
    asked = jobs is not None or dry_run
    if not asked and (victims or not specification.may_vary(request, settings)):
        return False
    for part in ("scenario", "strategy"):
        config.named(request, part)
    found = specification.from_command(request, settings, whole(number, "--seeds", 1))
    if not asked and not found.vary[0]:
        return False
    from runs.sweep import sweeping

    how = sweeping.How(jobs=whole(jobs, "--jobs", 1), dry_run=dry_run, quiet=quiet)
    sweeping.run(found, out or sweeping.folder_of(found), how)
    return True


def sweep_file(
    file: Path,
    out: Path | None,
    numbers: Mapping[str, str | None],
    *,
    executor: str = "processes",
    address: str | None = None,
    dry_run: bool = False,
    quiet: bool = False,
) -> None:
    """Carry out a sweep that a file asks for.

    Args:
        file: the YAML file.
        out: the folder of the runs; None for one of the file's name.
        numbers: how many `jobs` side by side and `threads` of each, as the user wrote them.
        executor: who carries the runs out.
        address: of the executor.
        dry_run: only tell what would be run.
        quiet: print nothing.
    """
    from runs.sweep import specification, sweeping

    jobs, threads = (whole(numbers.get(name), f"--{name}", 1) for name in ("jobs", "threads"))
    how = sweeping.How(jobs=jobs, threads=threads, executor=executor, address=address, dry_run=dry_run, quiet=quiet)
    sweeping.run(specification.read(file), out or Path("simulations") / file.stem, how)


def several(asked: Seeds, console: Console, *, quiet: bool, resume: bool) -> None:
    """Carry out the runs of a folder of seeds and sum them up.

    Args:
        asked: the folder, and what is run in it.
        console: where progress is shown.
        quiet: show none.
        resume: go on with the runs that are there; those that are over are left alone.

    Raises:
        StoppedError: it was interrupted.
        KeyboardInterrupt: it was interrupted before anything was written.
    """
    again = stopping.command("simulate resume", asked.folder)
    try:
        for seed in asked.seeds:
            console.print(f"seed {seed}", style="bold")
            place = asked.place(seed)
            if resume and (place / "summary.json").exists():
                redraw(place)
            else:
                one({**asked.request, "seed": seed}, place, console, quiet=quiet, resume=resume, again=again, before=asked.write)
        show.group(asked.folder, console)
    except KeyboardInterrupt:
        if not asked.written:
            raise
        raise StoppedError(f"interrupted between two runs; go on with {again}", stopping.INTERRUPTED) from None


def one(
    request: Mapping[str, Any],
    folder: Path,
    console: Console,
    *,
    quiet: bool,
    resume: bool,
    again: str = "",
    before: Callable[[], None] = lambda: None,
) -> RunResult:
    """Carry out one run, draw its plots, and tell the user if it stops.

    Args:
        request: what is asked for.
        folder: the run's directory.
        console: where progress is shown.
        quiet: show none.
        resume: go on with the run in `folder`.
        again: the command that goes on with it, in backquotes; by default `simulate resume`.
        before: is called when the request is found good, before anything is written.

    Returns:
        The result.

    Raises:
        StoppedError: it was interrupted, it diverged, or what it wrote could not be written.
    """
    from runs.showing.progress import Progress, Terminal

    again = again or stopping.command("simulate resume", folder)
    progress = Progress() if quiet else Terminal(console)
    early.check(request)
    # Torch takes seconds to import: the user has read the first line by then. Matplotlib waits until there is something to draw.
    with progress.starting(f"{config.named(request, 'strategy')[0]} on {config.named(request, 'scenario')[0]}: starting"), importing():
        from runs.engine import DivergenceError, InterruptedRunError
        from runs.plan import make_plan
        from runs.simulation import carry_out

        plan = make_plan(request, progress)
    progress.say(
        f"{plan.scenario.name}, setting {plan.scenario.setting}: {len(plan.scenario)} experiences of {plan.scenario.data['name']} "
        f"({plan.scenario.data['origin']} data); {strategies.shown(plan.resolved['strategy']['name'])} "
        f"on {plan.resolved['network']['name']}, "
        f"{plan.device.type}, seed {plan.resolved['seed']}; writing to {folder}"
    )
    try:
        before()
        result = carry_out(plan, folder, resume=resume, progress=progress)
        with importing():
            from runs import plots

        plots.draw(folder)
    except InterruptedRunError:
        raise StoppedError(f"interrupted; everything is saved: go on with {again}", stopping.INTERRUPTED) from None
    except KeyboardInterrupt:
        raise StoppedError(f"interrupted; {stopping.going_on(folder, again)}", stopping.INTERRUPTED) from None
    except DivergenceError as error:
        lower = f"--out NEW --set train.learning_rate={plan.train.learning_rate / 10:g}"
        line = f"{error}; the last good checkpoint is {folder / 'checkpoint.pt'}; begin again with a lower rate: {lower}"
        raise StoppedError(line, stopping.STOPPED) from None
    except OSError as error:
        raise StoppedError(f"{stopping.in_words(error)}; {stopping.going_on(folder, again)}", stopping.STOPPED) from error
    return result


def resume(folder: Path, *, quiet: bool) -> None:
    """Go on with a run, or with the seeds of a folder; of a run that is over, draw the plots that are missing.

    Args:
        folder: the run's directory.
        quiet: print nothing.

    Raises:
        UserError: there is no run, or it is over.
    """
    console = terminal.console(quiet)
    if (folder / "sweep.yaml").exists():
        from runs.sweep import sweeping

        sweeping.go_on(folder, sweeping.How(quiet=quiet))
        return
    asked = seeds.found(folder)
    if asked is None and not (folder / "config.yaml").exists():
        raise UserError(f"{folder} holds no run; name the directory that was printed when it began")
    if asked is not None:
        done = all((asked.place(seed) / "summary.json").exists() for seed in asked.seeds)
        if not done or any(redraw(asked.place(seed)) for seed in asked.seeds) or not any(folder.glob("*.png")):
            several(asked, console, quiet=quiet, resume=True)
            return
    elif not (folder / "summary.json").exists():
        show.run(one(config.from_file(folder / "config.yaml"), folder, console, quiet=quiet, resume=True), console)
        return
    elif drawn := redraw(folder):
        console.print(f"the run was over; drawn now: {', '.join(map(str, drawn))}", soft_wrap=True)
        return
    raise UserError(f"{folder} is over already; look at it with `simulate evaluate {folder}` or `simulate plot {folder}`")


def redraw(folder: Path) -> list[Path]:
    """Draw what a kill between the summary and the last plot has left undrawn.

    Args:
        folder: the directory of a run that is over.

    Returns:
        The files that were missing.
    """
    from runs import plots
    from runs.recording import store

    with store.claim(folder), stopping.as_written(str(folder)):
        files.sweep(folder)
        return plots.draw(folder, missing=True)


def recipe(name: str, out: Path | None, data_root: Path | None, scale: str, *, rows: str | None, repeat: bool) -> None:
    """Run what a recipe has no record of, add the records, and show its numbers beside the published ones.

    Args:
        name: the recipe.
        out: where its runs are written; a run that is over there is recorded, not repeated.
        data_root: where data sets lie.
        scale: which of its scales.
        rows: labels of its runs, joined by commas; None for all.
        repeat: run what has a record as well.

    Raises:
        UserError: a run in `out` is of other options than the recipe's, or is recorded already and was to be repeated.
    """
    from runs.recording import recipe as recipes
    from runs.recording import records, results
    from runs.recording.code import code
    from runs.recording.rows import missing

    console = terminal.console()
    content = recipes.read(name)
    folder = out or recipes.folder(name, scale)
    home = records.home(folder)
    wanted = recipes.rows(content, scale, rows)
    todo = missing([] if repeat else records.read(name, home), wanted, scale)
    console.print(f"{content['title']} ({content['paper']})")
    if todo:
        minutes = content["scales"][scale].get("minutes", "?")
        console.print(f"{len(todo)} runs to do (all rows: about {minutes} minutes); writing to {folder}")
        if code()["dirty"]:
            console.print("the tree has changes that are in no commit; the records will say so")
    else:
        console.print("every run has a record; --repeat runs them again")
    again = stopping.command(f"simulate recipe {name} --scale {scale} --out", folder)
    for label, request in todo:
        place = recipes.place_of(folder, label, request)
        if not (place / "summary.json").exists():
            console.print(f"{label}, seed {request['seed']}", style="bold")
            asked = {**request, "data_root": str(data_root)} if data_root else request
            one(asked, place, console, quiet=False, resume=(place / "config.yaml").exists(), again=again)
        record = records.of_directory(place, scale, label)
        if differs := records.outdated(record, request):
            raise UserError(f"{place} was run with other options ({'; '.join(differs)}); move it away, or give another --out")
        if not records.append(name, record, home, content.get("metrics", ())) and repeat:
            raise UserError(f"{place} holds a run that is recorded already; give another --out to repeat it")
        if home == records.FOLDER:
            results.refresh()
    results.show(content, records.read(name, home), scale, console)
    console.print(f"records in {home / name}.jsonl")


def new_folder(scenario: str, strategy: str, seed: str) -> Path:
    """A directory of a new run.

    Args:
        scenario: its scenario.
        strategy: its strategy.
        seed: its seed or seeds.

    Returns:
        A path under `./simulations` that does not exist.
    """
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    # A data set of the user's own has its path in the scenario's name.
    name = "_".join(re.sub(r"[^\w.+-]+", "-", part)[-80:] for part in (scenario, strategy, f"seed{seed}", stamp))
    path = Path("simulations") / name
    number = 1
    while path.exists():
        number += 1
        path = path.with_name(f"{name}-{number}")
    return path


def whole(text: Any, name: str, least: int) -> int | None:
    """Read a whole number that the user has typed.

    Args:
        text: as it was typed; None where it was not.
        name: the flag.
        least: the least number.

    Returns:
        The number, or None.

    Raises:
        UserError: it is no such number.
    """
    if text is None:
        return None
    try:
        number = int(str(text))
    except ValueError:
        number = least - 1
    if number < least:
        raise UserError(f"{name} must be a whole number from {least}, not '{shortened(text)}'")
    return number
