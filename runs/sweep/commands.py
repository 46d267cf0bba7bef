"""Sweeps as the commands ask for them: several values on the command line, or a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runs import config
from runs.flags import whole
from runs.parallel import launch


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

    launch.refuse("several")
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
        numbers: how many `jobs` side by side, `threads` of each and runs `per_device`, as the user wrote them.
        executor: who carries the runs out.
        address: of the executor.
        dry_run: only tell what would be run.
        quiet: print nothing.
    """
    from runs.sweep import specification, sweeping

    launch.refuse("several")
    given = {name: whole(numbers.get(name), f"--{name.replace('_', '-')}", 1) for name in ("jobs", "threads", "per_device")}
    how = sweeping.How(**given, executor=executor, address=address, dry_run=dry_run, quiet=quiet)
    sweeping.run(specification.read(file), out or Path("simulations") / file.stem, how)
