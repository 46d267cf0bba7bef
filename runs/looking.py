"""What the commands do that look at runs which are there: test them again, redraw their pictures, set them side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runs import stopping
from runs.recording import files, seeds
from runs.showing import show, terminal
from runs.starting import importing
from scenarios.errors import UserError, nearest
from strategies.registry import strategies

if TYPE_CHECKING:
    from rich.console import Console


def evaluate(folder: Path, test_scenario: str | None, probe: str | None = None, metrics: str | None = None) -> None:
    """Test a trained run again, or all runs of a folder of seeds, and show the accuracies.

    Args:
        folder: the run's directory, or a folder of seeds.
        test_scenario: another few-shot scenario to test on as well.
        probe: what is measured on copies of the network.
        metrics: further metrics, joined by commas.

    Raises:
        UserError: there is no run.
    """
    names = tuple(name.strip() for name in metrics.split(",")) if metrics else ()
    console = terminal.console()
    asked = None if (folder / "config.yaml").exists() else seeds.found(folder)
    if asked is None:
        _evaluate(folder, test_scenario, probe, names, console)
        return
    places = [place for seed in asked.seeds if ((place := asked.place(seed)) / "checkpoint.pt").exists()]
    if not places:
        again = stopping.command("simulate resume", folder)
        raise UserError(f"none of the runs in {folder} has a checkpoint to test; go on with them: {again}")
    for place in places:
        console.print(place.name, style="bold")
        _evaluate(place, test_scenario, probe, names, console)
    if lacking := len(asked.seeds) - len(places):
        console.print(f"{lacking} of {len(asked.seeds)} seeds have no checkpoint yet and are left out")


def _evaluate(folder: Path, test_scenario: str | None, probe: str | None, names: Sequence[str], console: Console) -> None:
    with importing():
        from runs import measures
        from runs.afterwards import cross_domain
        from runs.afterwards import probe as measure_probe
        from runs.result import put_together
        from runs.showing import tables
        from runs.simulation import take_up

    run = take_up(folder, test_scenario, probe)
    measures.check(names, run.plan.scenario.setting, run.plan.resolved)
    learned = len(run.matrix)
    again = run.test(learned)
    result = put_together(run, folder)
    episodic = result.summary["setting"] == "episodic"
    if episodic:
        further = {"cross_domain": cross_domain(run.plan)} if test_scenario else {}
        show.few_shot({**result.summary, **again.summary, **further}, console)
    if not episodic or len(result.names) > 1:
        learner = strategies.shown(result.summary["strategy"])
        console.print(f"{learner} on {result.summary['scenario']} after {learned} of {len(result.names)} experiences")
        console.print(tables.render_matrix(result.names, run.initial, [*run.matrix[:-1], again.row]))
    found = measure_probe(run) if probe else {}
    if probe:
        show.probe(found, console)
    if names:
        known = files.read_json(folder / "summary.json")
        show.metrics(measures.take(run, {**known, **result.summary, **again.summary, **found}, names), console)


def compare(
    folders: Sequence[Path], out: Path, *, mixed: bool, formats: str = "markdown,csv,json", columns: int | None = None
) -> None:
    """Compare runs: a table on the terminal, and table and figure as files.

    Args:
        folders: run directories, or folders of seeds.
        out: where the files are written.
        mixed: compare runs of different scenarios all the same.
        formats: of the table, separated by commas: markdown, csv, json, latex.
        columns: of a paper that a figure spans; None for the screen.

    Raises:
        UserError: there is no such format.
    """
    from runs import plots
    from runs.showing import compare as comparison
    from runs.showing import formats as written

    wanted = [name.strip() for name in formats.split(",")]
    for name in wanted:
        if name not in written.FORMATS:
            raise UserError(f"--format {name} does not exist{nearest(name, written.FORMATS)}")
    console = terminal.console()
    with stopping.as_written(", ".join(map(str, folders))):
        groups = comparison.collect(folders, mixed=mixed)
        table = comparison.table(groups)
        console.print(comparison.render(table))
        tables = written.write(table, out, wanted)
        figures = plots.draw_group(groups, out, formats=("pdf",) if columns else ("png",), columns=columns)
    console.print(f"{show.named(figures)}table {', '.join(map(str, tables))}", soft_wrap=True)


def plot(folders: Sequence[Path], formats: str, columns: int | None) -> None:
    """Redraw the plots of runs, and of folders of seeds what their seeds have in common.

    Args:
        folders: run directories, or folders of runs.
        formats: of the figures, separated by commas.
        columns: of a paper that a figure spans; None for the screen.

    Raises:
        UserError: there is no such format.
    """
    with importing():
        from runs import plots
        from runs.recording import directories
        from runs.showing import compare as comparison

    wanted = [name.strip() for name in formats.split(",")]
    for name in wanted:
        if name not in plots.FORMATS:
            raise UserError(f"--format {name} does not exist{nearest(name, plots.FORMATS)}")
    console = terminal.console()
    for given in folders:
        with stopping.as_written(str(given)):
            drawn = []
            for run in directories.find([given]):
                drawn += plots.draw(run.directory, formats=wanted, columns=columns)
            if not (given / "config.yaml").exists() and seeds.found(given):
                drawn += plots.draw_group(comparison.collect([given]), given, formats=wanted, columns=columns)
        for path in drawn:
            console.print(str(path), soft_wrap=True)
        if not drawn:
            console.print(f"{given} has nothing to draw", soft_wrap=True)
