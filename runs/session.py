"""Runs with a person at the other end: carry out, tell when one stops, go on with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runs import config, early, stopping
from runs.flags import whole
from runs.parallel import launch
from runs.recording import files, seeds
from runs.recording.seeds import Seeds
from runs.showing import show, terminal
from runs.starting import importing
from runs.stopping import StoppedError
from scenarios.errors import UserError
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
    quiet = quiet or launch.rank() > 0
    console = terminal.console(quiet)
    names = {part: config.named(request, part)[0] for part in ("scenario", "strategy")}
    first = whole(request.get("seed"), "--seed", 0) or 0
    if count or "," in names["strategy"]:
        launch.refuse("several")
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


def several(asked: Seeds, console: Console, *, quiet: bool, resume: bool, whose: str = "") -> None:
    """Carry out the runs of a folder of seeds and sum them up.

    Args:
        asked: the folder, and what is run in it.
        console: where progress is shown.
        quiet: show none.
        resume: go on with the runs that are there; those that are over are left alone.
        whose: stands before each seed.

    Raises:
        StoppedError: it was interrupted.
        KeyboardInterrupt: it was interrupted before anything was written.
    """
    again = stopping.command("simulate resume", asked.folder)
    try:
        for seed in asked.seeds:
            place = asked.place(seed)
            if resume and (place / "summary.json").exists():
                redraw(place)
            else:
                request = {**asked.request, "seed": seed}
                one(request, place, console, quiet=quiet, resume=resume, again=again, before=asked.write, title=f"{whose}seed {seed}")
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
    title: str = "",
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
        title: is printed then, above all that is said of the run.

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
        from runs.parallel.ranks import LostError
        from runs.plan import make_plan
        from runs.simulation import carry_out

        plan = make_plan(request, progress)
    if title:
        console.print(title, style="bold")
    progress.say(
        f"{plan.scenario.name}, setting {plan.scenario.setting}: {len(plan.scenario)} experiences of {plan.scenario.data['name']} "
        f"({plan.scenario.data['origin']} data); {strategies.shown(plan.resolved['strategy']['name'])} "
        f"on {plan.resolved['network']['name']}, "
        f"{plan.device.type}, seed {plan.resolved['seed']}; writing to {folder}"
    )
    try:
        before()
        result = carry_out(plan, folder, resume=resume, progress=progress)
        if launch.rank() == 0:
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
    except LostError as error:
        raise StoppedError(f"{error}; {stopping.going_on(folder, again)}", stopping.STOPPED) from None
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
    quiet = quiet or launch.rank() > 0
    console = terminal.console(quiet)
    if (folder / "sweep.yaml").exists():
        from runs.sweep import sweeping

        launch.refuse("several")
        sweeping.go_on(folder, sweeping.How(quiet=quiet))
        return
    asked = seeds.found(folder)
    if asked:
        launch.refuse("several")
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
