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


@pytest.mark.parametrize("seeds", [[], ["--seeds", "2"]])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--strategy", "ewc", "--set", "strategy.strenght=2"], "did you mean strength?"),
        (["--strategy", "ewc", "--set", "strategy.strength=-1"], "strategy.strength"),
        (["--set", "scenario.task=2"], "did you mean tasks?"),
        (["--set", "scenario.tasks=20"], "scenario.tasks"),
        (["--set", "network.hiden=8"], "did you mean hidden?"),
        (["--set", "network.freeze=trunk"], "is the name of no parameter"),
        (["--probe", "piggyback", "--set", "probe.on=9"], "probe.on=9 is none of"),
        (["--attack", "noise", "--set", "attack.epsilom=1"], "did you mean epsilon?"),
        (["--strategy", "ewc,si", "--attack", "noise", "--set", "attack.epsilom=1"], "did you mean epsilon?"),
        (["--defence", "quantise", "--set", "defence.bit=4"], "did you mean bits?"),
        (["--setting", "episodic"], "setting"),
        (["--data", "cifar-1"], "cifar-1"),
        (["--set", "train.optimizer=adm"], "unknown optimizer"),
    ],
)
def test_a_mistake_found_late_is_one_line_and_nothing_else_where_nobody_watches(
    arguments: list[str], words: str, seeds: list[str], tmp_path: Path
) -> None:
    code, out, error = call(*TINY, *arguments, *seeds, "--out", tmp_path / "run")
    assert (code, out, error.count("\n")) == (2, "", 1) and words in error and not (tmp_path / "run").exists()


def test_on_a_terminal_the_first_line_is_taken_away_and_elsewhere_it_comes_with_the_next() -> None:
    written = {}
    for terminal in (True, False):
        file = io.StringIO()
        progress = Terminal(Console(file=file, force_terminal=terminal, width=80))
        with progress.starting("ewc: starting"):
            written[terminal] = file.getvalue()
        written["ended", terminal] = file.getvalue()
        progress.say("downloaded")
        written["said", terminal] = file.getvalue()
    assert "ewc: starting" in written["ended", True] and written["ended", True].endswith("\x1b[2K")
    assert written["ended", False] == "" and written["said", False] == "ewc: starting\ndownloaded\n"


def test_help_beside_components_describes_them_and_a_name_alone_is_listed() -> None:
    code, out, error = call("--scenario", "split-digits", "--strategy=ewc,si", "--help")
    assert code == 0 and not error
    assert all(words in out for words in ("split-digits: ", "ewc: ", "si: ", "strategy.strength", "scenario.tasks"))
    code, out, error = call("--strategy", "ewcc", "-h")
    assert code == 2 and "did you mean ewc" in error
    assert "--scenario" in call("--help")[1] and "network.hidden" in call("list", "mlp")[1]
