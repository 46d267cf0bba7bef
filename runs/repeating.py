"""Repeating what was published: a recipe's runs that have no record yet, recorded and shown beside the paper's numbers."""

from __future__ import annotations

from pathlib import Path

from runs.parallel import launch
from runs.recording import pages, records, results
from runs.recording import recipe as recipes
from runs.recording.code import code
from runs.recording.rows import missing
from runs.session import one
from runs.showing import terminal
from runs.stopping import command
from scenarios.errors import UserError


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
    launch.refuse("several")
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
    again = command(f"simulate recipe {name} --scale {scale} --out", folder)
    try:
        for label, request in todo:
            place = recipes.place_of(folder, label, request)
            if not (place / "summary.json").exists():
                asked = {**request, "data_root": str(data_root)} if data_root else request
                title = f"{label}, seed {request['seed']}"
                one(asked, place, console, quiet=False, resume=(place / "config.yaml").exists(), again=again, title=title)
            record = records.of_directory(place, scale, label)
            if differs := records.outdated(record, request):
                raise UserError(f"{place} was run with other options ({'; '.join(differs)}); move it away, or give another --out")
            if not records.append(name, record, home, content.get("metrics", ())) and repeat:
                raise UserError(f"{place} holds a run that is recorded already; give another --out to repeat it")
    finally:
        if todo and home == records.FOLDER:
            results.refresh()
            pages.refresh()
    results.show(content, records.read(name, home), scale, console)
    console.print(f"records in {home / name}.jsonl")
