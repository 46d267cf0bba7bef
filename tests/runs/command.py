"""The command line inside this process, and a run that takes a second."""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path
from unittest import mock

from runs import cli

TINY = [
    *("--scenario", "split-digits", "--strategy", "naive"),
    *("--set", "scenario.tasks=2", "--set", "scenario.train_examples=40", "--set", "scenario.test_examples=20"),
    *("--set", "train.epochs=1", "--set", "network.hidden=4"),
]


def call(*arguments: str | Path) -> tuple[int, str, str]:
    """Give a command.

    Args:
        arguments: as on the command line.

    Returns:
        Exit code, standard output and standard error.
    """
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        with mock.patch.object(sys, "argv", ["simulate", *map(str, arguments)]):
            try:
                cli.main()
                code = 0
            except SystemExit as stop:
                code = stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    return code, out.getvalue(), error.getvalue()
