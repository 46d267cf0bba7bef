"""What a sweep costs beside its runs, and that it survives: `python tests/benchmarks/sweeps.py [starts] [speed] [killed] [stress]`.

starts: 40 runs of split-digits with naive; wanted: at most 1.3 times the seconds of training and testing divided by the jobs.
speed: 24 short runs on generated data, two jobs against one after another; wanted: at least 1.7 times as fast.
killed: the same 24 runs, killed with -9 three times at random moments and started again; wanted: the table of one left alone.
stress: 200 runs by two processes in one folder; wanted: nothing lost, nothing torn, another sweep in the same folder refused.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.runs.command import TINY
from tests.runs.sweep.disturbed import disturb, finish, matrices, seconds, start, table

SHORT = [
    *("--scenario", "split-mnist", "--data", "generated", "--strategy", "naive,ewc,si", "--seeds", "8"),
    *("--set", "scenario.train_examples=1000", "--set", "scenario.test_examples=200", "--set", "train.epochs=1"),
]


def timed(*arguments: str | Path) -> float:
    """Carry a command out.

    Args:
        *arguments: of `simulate`.

    Returns:
        Seconds.
    """
    begin = time.perf_counter()
    code, _, error = finish(list(arguments))
    assert code == 0, error
    return time.perf_counter() - begin


def starts(folder: Path) -> None:
    """Print what forty starts cost.

    Args:
        folder: for the runs.
    """
    took = timed("--scenario", "split-digits", "--strategy", "naive", "--seeds", "40", "--jobs", "2", "--out", folder)
    alone = seconds(folder) / 2
    print(f"starts: {took:.1f} s, training and testing over jobs {alone:.1f} s: {took / alone:.2f} times (wanted: at most 1.3)")


def speed(folder: Path) -> None:
    """Print how much faster two jobs are.

    Args:
        folder: for the runs.
    """
    two, one = (timed(*SHORT, "--jobs", jobs, "--out", folder / jobs) for jobs in ("2", "1"))
    print(f"speed: {one:.1f} s one after another, {two:.1f} s with 2 jobs: {one / two:.2f} times (wanted: at least 1.7)")


def killed(folder: Path) -> None:
    """Kill a sweep three times and compare what it ends with.

    Args:
        folder: for the runs.
    """
    asked: list[str | Path] = [*SHORT, "--jobs", "2", "--out", folder / "killed"]
    took = timed(*SHORT, "--jobs", "2", "--out", folder / "alone")
    for _ in range(3):
        code, _ = disturb(asked, signal.SIGKILL, 0.0, took / 3, random.Random())
        assert code in (-signal.SIGKILL, 0)
    timed(*asked)
    assert table(folder / "alone") == table(folder / "killed") and matrices(folder / "alone") == matrices(folder / "killed")
    print(f"killed: {len(matrices(folder / 'killed'))} runs, killed three times, the table of one left alone")


def stress(folder: Path) -> None:
    """Let two processes write two hundred runs into one folder, while a third asks for it.

    Args:
        folder: for the runs.
    """
    asked: list[str | Path] = [*TINY, "--seeds", "200", "--jobs", "2", "--out", folder]
    process = start(*asked)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(2)
    code, _, error = finish(asked)
    assert code == 2 and "is in use by process" in error, error
    out, error = process.communicate()
    assert process.returncode == 0, error
    for place in (folder / "split-digits_naive").iterdir():
        assert json.loads((place / "summary.json").read_text())["seed"] == int(place.name[5:])
        assert all(json.loads(line) for line in (place / "metrics.jsonl").read_text().splitlines())
    assert len(matrices(folder)) == 200 and not list(folder.rglob("*.part"))
    print("stress: 200 runs by two processes in one folder: none lost, none torn; another sweep was refused")


def main() -> None:
    """Carry out what is named, or all."""
    known = {"starts": starts, "speed": speed, "killed": killed, "stress": stress}
    for name in sys.argv[1:] or known:
        with tempfile.TemporaryDirectory() as folder:
            known[name](Path(folder) / "runs")


if __name__ == "__main__":
    main()
