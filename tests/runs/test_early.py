"""A mistake that needs no torch is told without it, in one line alone; what is said before a run begins is gone when it has begun."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from runs.showing.progress import Terminal
from tests.runs.command import TINY, call
from tests.runs.test_cli import environment


def test_what_checks_a_request_early_imports_no_torch() -> None:
    code = "import sys, runs.session, runs.early; sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=environment()).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--strategy", "naiv"], "did you mean naive?"),
        (["--network", "mpl"], "did you mean mlp?"),
        (["--probe", "piggybak"], "did you mean piggyback?"),
        (["--set", "train.epoch=2"], "did you mean epochs?"),
        (["--set", "train.epochs=none"], "train.epochs"),
        (["--set", "evaluate.batch_size=0"], "at least 1"),
        (["--log", "tensorboards"], "did you mean tensorboard?"),
    ],
)
def test_a_mistake_found_early_is_one_line_and_nothing_else(arguments: list[str], words: str, tmp_path: Path) -> None:
    code, out, error = call(*TINY, *arguments, "--out", tmp_path / "run")
    assert (code, out, error.count("\n")) == (2, "", 1) and words in error and not (tmp_path / "run").exists()


def test_on_a_terminal_the_first_line_is_taken_away_and_elsewhere_it_stays() -> None:
    for terminal, last in ((True, "\x1b[2K"), (False, "ewc: starting\n")):
        written = io.StringIO()
        with Terminal(Console(file=written, force_terminal=terminal, width=80)).starting("ewc: starting"):
            pass
        assert "ewc: starting" in written.getvalue() and written.getvalue().endswith(last)


def test_help_beside_components_describes_them_and_a_name_alone_is_listed() -> None:
    code, out, error = call("--scenario", "split-digits", "--strategy=ewc,si", "--help")
    assert code == 0 and not error
    assert all(words in out for words in ("split-digits: ", "ewc: ", "si: ", "strategy.strength", "scenario.tasks"))
    code, out, error = call("--strategy", "ewcc", "-h")
    assert code == 2 and "did you mean ewc" in error
    assert "--scenario" in call("--help")[1] and "network.hidden" in call("list", "mlp")[1]
