"""Sends a signal to a run at given moments, as a person or a scheduler would, and goes on with it. Started by `test_moments.py`.

One interpreter imports everything, so that each run costs what a run costs: a forked child carries it out.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from runs import cli, plots, run, simulation
from tests.runs.command import TINY

ASKED = [*TINY, "--quiet", "--set", "train.batch_size=2"]


def child(arguments: list[str], errors: Path, pause: float | None = None, signals: tuple[int, ...] = ()) -> int:
    """Carry a command out in a child.

    Args:
        arguments: as on the command line.
        errors: the file of its standard error.
        pause: seconds until the first signal.
        signals: sent one after another.

    Returns:
        Its exit code; of a signal, minus its number.
    """
    pid = os.fork()
    if pid == 0:
        run.CHECKPOINT_SECONDS = 0.0
        os.dup2(os.open(errors, os.O_CREAT | os.O_TRUNC | os.O_WRONLY), 2)
        sys.argv = ["simulate", *arguments]
        try:
            cli.main()
        except SystemExit as stop:
            os._exit(int(stop.code or 0))
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    if pause is not None:
        time.sleep(pause)
        for number in signals:
            os.kill(pid, number)
            time.sleep(0.001)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def main() -> None:
    """Print what happened at each moment, one JSON line each."""
    assert plots and simulation
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    errors = folder / "errors"
    begin = time.perf_counter()
    assert child([*ASKED, "--out", str(folder / "whole")], errors) == 0, errors.read_text()
    length = time.perf_counter() - begin
    moments = random.Random(int(sys.argv[3]))
    for number in range(count):
        signals = [(signal.SIGKILL,), (signal.SIGINT,), (signal.SIGINT, signal.SIGINT)][number % 3]
        place = folder / f"run-{number}"
        code = child([*ASKED, "--out", str(place)], errors, moments.uniform(0, length), signals)
        told = errors.read_text()
        begun, over = (place / "checkpoint.pt").exists(), len(list(place.glob("plots/*.png"))) > 1
        again = ["resume", str(place), "--quiet"] if begun else [*ASKED, "--out", str(place)]
        after = None if over else child(again, errors)
        print(json.dumps({"signals": signals, "code": code, "told": told, "begun": begun, "after": after, "then": errors.read_text()}))


if __name__ == "__main__":
    main()
