"""The command line: `simulate`. It collects what was asked for and calls `runs`; torch is imported when a run begins."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

try:
    import typer

    from runs.complaints import complain, in_one_line
    from runs.interrupts import OneInterrupt
    from runs.parallel import launch
    from runs.stopping import DONE, INTERRUPTED
    from scenarios.errors import UserError, nearest, shortened
except KeyboardInterrupt:
    os.write(2, b"interrupted\n")
    os._exit(130)

STYLES = ("screen", "paper")

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Simulate networks that keep learning: `simulate --scenario split-cifar --strategy rescl`; with `--help`, what these two are.",
)


@app.callback(invoke_without_command=True)
def run(
    context: typer.Context,
    scenario: Annotated[str | None, typer.Option(help="What the learner meets; `simulate list scenarios`.")] = None,
    strategy: Annotated[str | None, typer.Option(help="How it learns; `simulate list strategies`.")] = None,
    setting: Annotated[str | None, typer.Option(help="task, domain or class; by default the scenario's own.")] = None,
    data: Annotated[str | None, typer.Option(help="Replace the data set, keep the protocol: generated, embedded, or a set's name.")] = None,
    data_root: Annotated[Path | None, typer.Option(help="Where data sets lie; else $PALIMPSEST_DATA, else ./data.")] = None,
    network: Annotated[str | None, typer.Option(help="`simulate list networks`; by default what suits the scenario.")] = None,
    seed: Annotated[str | None, typer.Option(help="Of everything that is random. [default: 0]")] = None,
    seeds: Annotated[str | None, typer.Option(help="Run so many seeds, from --seed on; one folder each.")] = None,
    jobs: Annotated[str | None, typer.Option(help="Of several runs, how many side by side; by default one a processor.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell which runs there would be, and how long they take.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; by default cuda where there is one.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run's directory; by default a new one under ./simulations.")] = None,
    config: Annotated[Path | None, typer.Option(help="A YAML file of options, for instance a run's config.yaml.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Any option, as in train.epochs=2.")] = None,
    import_: Annotated[list[Path] | None, typer.Option("--import", help="A file of your own that registers components.")] = None,
    test_scenario: Annotated[str | None, typer.Option(help="Test few-shot learning on another scenario's classes as well.")] = None,
    attack: Annotated[str | None, typer.Option(help="Change training data as an adversary would; `simulate list attacks`.")] = None,
    defence: Annotated[str | None, typer.Option(help="What stands against it; `simulate list defences`.")] = None,
    probe: Annotated[str | None, typer.Option(help="Measure copies of the network in the end; `simulate list probes`.")] = None,
    diagnose: Annotated[str | None, typer.Option(help="curvature: errors of Kronecker factors, by layer.")] = None,
    log: Annotated[str | None, typer.Option(help="Losses and accuracies of training also as tensorboard, csv, avalanche:LOGGER.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
) -> None:
    """Run a scenario with a strategy.

    Raises:
        Exit: after the help, where nothing was asked for.
    """
    if context.invoked_subcommand is not None:
        return
    if not any((scenario, strategy, config)):
        typer.echo(context.get_help())
        raise typer.Exit(DONE)
    from runs import config as configuration
    from runs import session
    from runs.sweep import commands

    flags: dict[str, Any] = {
        "scenario": {key: value for key, value in (("name", scenario), ("setting", setting)) if value},
        "strategy": {"name": strategy} if strategy else {},
        "network": {"name": network} if network else {},
        "attack": {"name": attack} if attack else {},
        "defence": {"name": defence} if defence else {},
        "probe": {"name": probe} if probe else {},
        "seed": seed,
        "device": device,
        "data": data,
        "data_root": str(data_root) if data_root else None,
        "imports": [str(path) for path in import_ or ()] or None,
        "test_scenario": test_scenario,
        "diagnose": diagnose,
        "log": log,
    }
    asked = [configuration.from_file(config)] if config else []
    settings = configuration.from_settings(set_ or [])
    request = configuration.merge(*asked, flags, settings)
    if not commands.sweep(request, settings, out, number=seeds, jobs=jobs, dry_run=dry_run, quiet=quiet):
        session.run(request, out, number=seeds, quiet=quiet, resume=resume)


@app.command()
def sweep(
    file: Annotated[Path, typer.Argument(help="A sweep's YAML file: what is run, what varies, over which seeds.")],
    out: Annotated[Path | None, typer.Option(help="The folder of its runs; by default ./simulations/NAME.")] = None,
    jobs: Annotated[str | None, typer.Option(help="Runs side by side; by default one a processor; on GPUs as many as fit.")] = None,
    threads: Annotated[str | None, typer.Option(help="Of each run; by default one where several run side by side.")] = None,
    per_device: Annotated[str | None, typer.Option(help="Runs that share a GPU; by default as many as its memory holds.")] = None,
    executor: Annotated[str, typer.Option(help="processes (of this machine), ray or slurm.")] = "processes",
    address: Annotated[str | None, typer.Option(help="Of a Ray cluster; or Slurm's parameters, partition=gpu,time=60.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell which runs there would be, and how long they take.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Run scenarios, strategies, options and seeds in all combinations, or searched; go on with what was begun."""
    from runs.sweep import commands

    numbers = {"jobs": jobs, "threads": threads, "per_device": per_device}
    commands.sweep_file(file, out, numbers, executor=executor, address=address, dry_run=dry_run, quiet=quiet)


@app.command("list")
def list_(
    kind: Annotated[str | None, typer.Argument(help="scenarios, strategies, networks, attacks, defences, probes, metrics, ...")] = None,
    name: Annotated[str | None, typer.Argument(help="One of them: what it is, its options, its paper.")] = None,
    family: Annotated[str | None, typer.Option(help="Of strategies: those of one family alone (memory, penalties, ...).")] = None,
    import_: Annotated[list[Path] | None, typer.Option("--import", help="A file of your own that registers components.")] = None,
) -> None:
    """Show what there is, or the options of one component."""
    from runs.showing import listing

    if import_:
        from runs.plan import import_file

        for path in import_:
            import_file(path)
    listing.show(kind, name, family)


@app.command()
def plot(
    runs: Annotated[list[Path], typer.Argument(help="Run directories, or folders of runs.")],
    format_: Annotated[str, typer.Option("--format", help="png, pdf, svg; several joined by commas.")] = "png",
    style: Annotated[str, typer.Option(help="screen, or paper: no title or caption, 8 points, into a folder `paper`.")] = "screen",
    columns: Annotated[int, typer.Option(help="Of a paper, that a figure spans: 1 (3.25 inches) or 2 (6.75).", min=1, max=2)] = 1,
) -> None:
    """Redraw the plots of runs from their files.

    Raises:
        UserError: there is no such style.
    """
    from runs import looking

    if style not in STYLES:
        raise UserError(f"--style {shortened(style)} does not exist{nearest(style, STYLES)}")
    looking.plot(runs, format_, columns if style == "paper" else None)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run directories, or folders of seeds.")],
    out: Annotated[Path, typer.Option(help="Where the figure and the table are written.")] = Path("comparison"),
    mixed: Annotated[bool, typer.Option("--mixed", help="Compare runs of different scenarios, settings or data all the same.")] = False,
    format_: Annotated[str, typer.Option("--format", help="Of the table: markdown, csv, json, latex.")] = "markdown,csv,json",
    style: Annotated[str, typer.Option(help="Of the figure: screen; or paper: PDF, no title, 8 points, into `paper`.")] = "screen",
    columns: Annotated[int, typer.Option(help="Of a paper, that a figure spans: 1 (3.25 inches) or 2 (6.75).", min=1, max=2)] = 1,
) -> None:
    """Compare runs: a table, and a figure of the forgetting curves with a band over seeds.

    Raises:
        UserError: there is no such style.
    """
    from runs import looking

    if style not in STYLES:
        raise UserError(f"--style {shortened(style)} does not exist{nearest(style, STYLES)}")
    looking.compare(runs, out, mixed=mixed, formats=format_, columns=columns if style == "paper" else None)


@app.command()
def report(
    runs: Annotated[list[Path] | None, typer.Argument(help="Run directories, or folders of runs.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The file; by default report.html, or as --format asks.")] = None,
    format_: Annotated[str, typer.Option("--format", help="html, or the tables alone: markdown, csv, latex, json.")] = "html",
    records: Annotated[bool, typer.Option("--records", help="The results of the repository's recorded runs as well.")] = False,
) -> None:
    """Report runs on one page that opens from disk: which method, how sure, at what cost; tables and figures."""
    from runs.reporting import reporting

    reporting.report(runs or [], out, format_, recorded=records)


@app.command("resume")
def resume_(
    run: Annotated[Path, typer.Argument(help="A run's directory.")],
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Go on with a run that was interrupted or stopped."""
    from runs import session

    session.resume(run, quiet=quiet)


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="A run's directory, or a folder of seeds.")],
    test_scenario: Annotated[str | None, typer.Option(help="Test few-shot learning on another scenario's classes as well.")] = None,
    probe: Annotated[str | None, typer.Option(help="Measure copies of the network; `simulate list probes`.")] = None,
    metrics: Annotated[str | None, typer.Option(help="Further metrics, joined by commas; `simulate list metrics`.")] = None,
) -> None:
    """Test a trained run again on its stream."""
    from runs import looking

    looking.evaluate(run, test_scenario, probe, metrics)


@app.command()
def recipe(
    name: Annotated[str | None, typer.Argument(help="The recipe; none to list them.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where its runs are written; by default ./simulations/NAME.")] = None,
    data_root: Annotated[Path | None, typer.Option(help="Where data sets lie; else $PALIMPSEST_DATA, else ./data.")] = None,
    scale: Annotated[str, typer.Option(help="The recipe's scale: small (a CPU) or paper.")] = "small",
    rows: Annotated[str | None, typer.Option(help="Some of its runs alone: labels joined by commas.")] = None,
    repeat: Annotated[bool, typer.Option("--repeat", help="Run what has a record as well, and record it beside that.")] = False,
    show: Annotated[tuple[str, str] | None, typer.Option(metavar="ROW SEED", help="Print the record of one run.")] = None,
    results: Annotated[Path | None, typer.Option(help="Write the results of all records into this file; nothing is run.")] = None,
) -> None:
    """Run what has no record of a published experiment, record it, and set its numbers beside the paper's."""
    from runs.recording import pages
    from runs.recording import recipe as recipes
    from runs.recording import results as recorded

    if results:
        recorded.refresh(file=results, readme=results.with_name("README.md"))
        pages.refresh(results.with_name("docs"))
    elif name is None:
        for each in recipes.names():
            typer.echo(f"{each:<32} {recipes.read(each)['title']}")
    elif show:
        typer.echo(recorded.traced(name, *show, scale))
    else:
        from runs import repeating

        repeating.recipe(name, out, data_root, scale, rows=rows, repeat=repeat)


def main() -> None:
    """Run the command line: what goes wrong becomes one line and an exit code (2 a mistake, 3 a run that stopped, 130 Ctrl-C)."""
    from runs.showing import terminal
    from runs.starting import ending_quickly

    ending_quickly()
    with terminal.steady(), OneInterrupt() as interrupt:
        try:
            code = _command()
        except BaseException as error:
            interrupt.telling = True
            if interrupt.pressed is None or isinstance(error, SystemExit):
                code = in_one_line(error)
            else:
                # Wherever it struck: libraries turn it into errors of their own.
                line = str(error) if hasattr(error, "exit_code") else "interrupted"
                code = complain(line or "interrupted", INTERRUPTED)
    if launch.size() > 1 and "runs.parallel.ranks" in sys.modules:
        from runs.parallel import ranks

        ranks.leave(well=code == DONE)
    sys.exit(code)


def _command() -> int:
    # A folder that has been deleted makes libraries end the program in words of their own.
    os.getcwd()
    # Not `app()`: it swallows Ctrl-C, and ends the program when nobody reads what it prints.
    command = typer.main.get_command(app)
    if {"-h", "--help"} & set(sys.argv):
        from runs.showing import hints, listing

        if named := hints.asked_about(sys.argv[1:]):
            for kind, name in named:
                listing.show(kind, name)
            return DONE
    try:
        with command.make_context("simulate", sys.argv[1:]) as context:
            command.invoke(context)
    except typer.Exit as ended:
        return ended.exit_code
    return DONE


if __name__ == "__main__":
    main()
