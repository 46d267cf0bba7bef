"""Starts a sweep as a user would, disturbs it, and compares what it ends with: for the tests and for the benchmark of long sweeps."""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[3]
COSTS = ("wall_seconds", "peak_memory_bytes")


def command(*arguments: str | Path) -> list[str]:
    """A command line of this checkout.

    Args:
        *arguments: of `simulate`.

    Returns:
        What to start.
    """
    return [sys.executable, "-m", "runs.cli", *map(str, arguments)]


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    """Start a command.

    Args:
        *arguments: of `simulate`.

    Returns:
        The process, in a session of its own as a shell's would be.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command(*arguments), text=True, env=environment, start_new_session=True, **pipes)


def disturb(arguments: list[str | Path], number: int, least: float, most: float, moments: random.Random) -> tuple[int, str]:
    """Start a command and send it a signal at a random moment after its first line.

    Args:
        arguments: of `simulate`.
        number: the signal.
        least: seconds after its first line, at least.
        most: at most.
        moments: where chance comes from.

    Returns:
        Exit code and standard error.
    """
    process = start(*arguments)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(moments.uniform(least, most))
    os.kill(process.pid, number)
    _, error = process.communicate(timeout=120)
    return process.returncode, error


def finish(arguments: list[str | Path]) -> tuple[int, str, str]:
    """Carry a command out.

    Args:
        arguments: of `simulate`.

    Returns:
        Exit code, standard output and standard error.
    """
    process = start(*arguments)
    out, error = process.communicate(timeout=3600)
    return process.returncode, out, error


def table(folder: Path) -> list[dict[str, str]]:
    """The table of a sweep without what runs cost, at full precision.

    Args:
        folder: the sweep's.

    Returns:
        Its rows.
    """
    with (folder / "table.csv").open() as file:
        return [{name: cell for name, cell in row.items() if not name.startswith(COSTS)} for row in csv.DictReader(file)]


def matrices(folder: Path) -> dict[str, str]:
    """The accuracy matrices of a sweep's runs, bit for bit.

    Args:
        folder: the sweep's.

    Returns:
        By run.
    """
    return {str(path.parent.relative_to(folder)): path.read_text() for path in sorted(folder.glob("*/*/accuracy_matrix.csv"))}


def seconds(folder: Path) -> float:
    """What the runs of a sweep spent in training and testing.

    Args:
        folder: the sweep's.

    Returns:
        Seconds, summed over runs.
    """
    summaries = [json.loads(path.read_text()) for path in folder.glob("*/*/summary.json")]
    return sum(summary["train_seconds"] + summary["evaluate_seconds"] for summary in summaries)


def children(folder: Path) -> list[int]:
    """Processes that still hold a run of a sweep.

    Args:
        folder: the sweep's.

    Returns:
        Their numbers.
    """
    held = []
    for path in folder.glob("*/*/.lock"):
        text = path.read_text().strip()
        if text.isdigit() and Path(f"/proc/{text}").exists():
            held.append(int(text))
    return held


