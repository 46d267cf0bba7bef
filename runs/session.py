"""What the commands do with a person at the other end: run, resume, test again, compare, repeat what was published."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runs.showing import show
from scenarios.errors import UserError
from strategies.registry import strategies

if TYPE_CHECKING:
    from rich.console import Console

    from runs.run import RunResult


def run(request: Mapping[str, Any], out: Path | None, *, seeds: str | None, quiet: bool, resume: bool) -> None:
    """Run a request, once or for several seeds, and show the result.

    Args:
        request: what is asked for.
        out: the run's directory; None for a new one.
        seeds: how many seeds, as the user wrote it.
        quiet: print nothing.
        resume: go on with the run in `out`.

    Raises:
        UserError: something in the request is wrong.
    """
    from runs import config

    if resume and out is None:
        raise UserError("--resume needs --out RUN, the directory of the run to go on with")
    number = _whole(seeds, "--seeds", 1)
    console = _console(quiet)
    names = {part: config.named(request, part)[0] for part in ("scenario", "strategy")}
    first = _whole(request.get("seed"), "--seed", 0) or 0
    if number is None:
        folder = out or new_folder(names["scenario"], names["strategy"], str(first))
        show.run(one(request, folder, console, quiet=quiet, resume=resume), console)
        return
    folder = out or new_folder(names["scenario"], names["strategy"], f"{first}-{first + number - 1}")
    for seed in range(first, first + number):
        console.print(f"seed {seed}", style="bold", highlight=False)
        each = folder / f"seed-{seed}"
        if resume and (each / "summary.json").exists():
            continue
        one({**request, "seed": seed}, each, console, quiet=quiet, resume=resume)
    show.group(folder, console)


def one(request: Mapping[str, Any], folder: Path, console: Console, *, quiet: bool, resume: bool) -> RunResult:
    """Carry out one run, draw its plots, and tell the user if it stops.

    Args:
        request: what is asked for.
        folder: the run's directory.
        console: where progress is shown.
        quiet: show none.
        resume: go on with the run in `folder`.

    Returns:
        The result.

    Raises:
        StoppedError: it was interrupted, or diverged.
    """
    from runs import config
    from runs.showing.progress import Progress, Terminal

    progress = Progress() if quiet else Terminal(console)
    progress.say(f"{config.named(request, 'strategy')[0]} on {config.named(request, 'scenario')[0]}: starting")
    # Torch takes seconds to import: the user has read the first line by then. Matplotlib waits until there is something to draw.
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
        result = carry_out(plan, folder, resume=resume, progress=progress)
    except InterruptedRunError:
        raise StoppedError(f"interrupted; everything is saved: go on with `simulate resume {folder}`", 130) from None
    except DivergenceError as error:
        raise StoppedError(f"{error}; the last good checkpoint is {folder / 'checkpoint.pt'}; lower train.learning_rate", 3) from None
    from runs import plots

    plots.draw(folder)
    return result


class StoppedError(Exception):
    """A run stopped before its end.

    Args:
        line: what to tell the user.
        exit_code: 130 for an interrupt, 3 for a divergence.
    """

    def __init__(self, line: str, exit_code: int) -> None:
        super().__init__(line)
        self.exit_code = exit_code


def resume(folder: Path, *, quiet: bool) -> None:
    """Go on with a run, or with the seeds of a folder.

    Args:
        folder: the run's directory.
        quiet: print nothing.

    Raises:
        UserError: there is no run, or it is over.
    """
    from runs import config

    console = _console(quiet)
    parts = sorted(path.parent for path in folder.glob("seed-*/config.yaml"))
    if not parts and not (folder / "config.yaml").exists():
        raise UserError(f"{folder} holds no run; name the directory that was printed when it began")
    todo = [part for part in parts or [folder] if not (part / "summary.json").exists()]
    if not todo:
        raise UserError(f"{folder} is over already; look at it with `simulate evaluate {folder}` or `simulate plot {folder}`")
    for part in todo:
        result = one(config.from_file(part / "config.yaml"), part, console, quiet=quiet, resume=True)
    if parts:
        show.group(folder, console)
    else:
        show.run(result, console)


def evaluate(folder: Path, test_scenario: str | None) -> None:
    """Test a trained run again and show its accuracies.

    Args:
        folder: the run's directory.
        test_scenario: another few-shot scenario to test on as well.
    """
    from runs.run import cross_domain
    from runs.showing import tables
    from runs.simulation import take_up

    run = take_up(folder, test_scenario)
    learned = len(run.matrix)
    again = run.test(learned)
    result = run.result(folder)
    console = _console(False)
    if result.summary["setting"] == "episodic":
        further = {"cross_domain": cross_domain(run.plan)} if test_scenario else {}
        show.few_shot({**result.summary, **again.summary, **further}, console)
        return
    learner = strategies.shown(result.summary["strategy"])
    title = f"{learner} on {result.summary['scenario']} after {learned} of {len(result.names)} experiences"
    console.print(title, highlight=False)
    console.print(tables.render_matrix(result.names, run.initial, [*run.matrix[:-1], again.row]))


def compare(folders: Sequence[Path], out: Path, *, mixed: bool) -> None:
    """Compare runs: a table on the terminal, and table and figure as files.

    Args:
        folders: run directories, or folders of seeds.
        out: where the files are written.
        mixed: compare runs of different scenarios all the same.
    """
    from runs import plots
    from runs.showing import compare as comparison

    groups = comparison.collect(folders, mixed=mixed)
    table = comparison.table(groups)
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.md").write_text(comparison.to_markdown(table), encoding="utf-8")
    (out / "table.csv").write_text(comparison.to_csv(table), encoding="utf-8")
    figure = plots.draw_comparison(groups, out / "forgetting_curves.png")
    console = _console(False)
    console.print(comparison.render(table))
    console.print(f"figure {figure}, table {out / 'table.md'} and {out / 'table.csv'}", highlight=False)


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
    from runs.recording.rows import count

    console = _console(False)
    content = recipes.read(name)
    folder = out or recipes.folder(name, scale)
    home = records.home(folder)
    wanted = recipes.rows(content, scale, rows)
    known = records.read(name, home)
    have = {label: count(known, label, seeds, scale) for label, seeds in wanted.items()}
    lacks = {label: repeat or bool(each.why) for label, each in have.items()}
    todo = [
        (label, each) for label, seeds in wanted.items() for each in seeds if lacks[label] or each["seed"] not in have[label].by_seed
    ]
    console.print(f"{content['title']} ({content['paper']})", highlight=False)
    if todo:
        minutes = content["scales"][scale].get("minutes", "?")
        console.print(f"{len(todo)} runs to do (all rows: about {minutes} minutes); writing to {folder}", highlight=False)
        if code()["dirty"]:
            console.print("the tree has changes that are in no commit; the records will say so", highlight=False)
    else:
        console.print("every run has a record; --repeat runs them again", highlight=False)
    for label, request in todo:
        place = recipes.place_of(folder, label, request)
        if not (place / "summary.json").exists():
            console.print(f"{label}, seed {request['seed']}", style="bold", highlight=False)
            asked = {**request, "data_root": str(data_root)} if data_root else request
            one(asked, place, console, quiet=False, resume=(place / "config.yaml").exists())
        record = records.of_directory(place, scale, label)
        if differs := records.outdated(record, request):
            raise UserError(f"{place} was run with other options ({'; '.join(differs)}); move it away, or give another --out")
        if not records.append(name, record, home) and repeat:
            raise UserError(f"{place} holds a run that is recorded already; give another --out to repeat it")
        if home == records.FOLDER:
            results.refresh()
    results.show(content, records.read(name, home), scale, console)
    console.print(f"records in {home / name}.jsonl", highlight=False)


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
    path = Path("simulations") / f"{scenario}_{strategy}_seed{seed}_{stamp}"
    number = 1
    while path.exists():
        number += 1
        path = path.with_name(f"{scenario}_{strategy}_seed{seed}_{stamp}-{number}")
    return path


def _console(quiet: bool) -> Console:
    from rich.console import Console

    terminal = sys.stdout.isatty()
    return Console(quiet=quiet, width=None if terminal else 140)


def _whole(text: Any, name: str, least: int) -> int | None:
    if text is None:
        return None
    try:
        number = int(str(text))
    except ValueError:
        number = least - 1
    if number < least:
        raise UserError(f"{name} must be a whole number from {least}, not '{text}'")
    return number
