"""Ctrl-C and kill -9 at random moments: Ctrl-C always leaves a line, and the run goes on to the bits of one that was left alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runs import cli
from tests.runs.test_resume import same_bits

ROOT = Path(cli.__file__).parent.parent
MOMENTS = int(os.environ.get("FUZZ", "0")) // 10 or 9
SEED = int.from_bytes(os.urandom(4), "big") if "FUZZ" in os.environ else 0


def test_at_any_moment(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.runs.moments", str(tmp_path), str(MOMENTS), str(SEED)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == MOMENTS
    for number, row in enumerate(rows):
        if row["code"] == 130:
            assert row["told"].startswith("interrupted") and row["told"].count("\n") == 1, row
            assert not row["begun"] or "simulate resume" in row["told"], row
        else:
            assert row["code"] in (0, -9) and not row["told"], row
        assert row["after"] in (None, 0) and not row["then"], row
        same_bits(tmp_path / "whole", tmp_path / f"run-{number}")
        assert not list((tmp_path / f"run-{number}").rglob("*.part")) or row["after"] is None


@pytest.mark.parametrize("module", ["typer", "runs.stopping"])
def test_while_the_program_is_being_loaded(module: str) -> None:
    code = f"""
import builtins, sys
load = builtins.__import__
def interrupted(name, *rest):
    if name == {module!r}:
        raise KeyboardInterrupt
    return load(name, *rest)
builtins.__import__ = interrupted
sys.argv = ["simulate", "list"]
import runs.cli
runs.cli.main()
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")
