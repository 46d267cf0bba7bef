"""What becomes of standard output does not become of the run."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO
from unittest import mock

import pytest

from runs import cli
from runs.showing import terminal
from tests.runs.command import TINY, call


@contextlib.contextmanager
def output(kind: str) -> Iterator[TextIO | None]:
    if kind == "closed":
        yield None
        return
    if kind == "nobody reads":
        read, write = os.pipe()
        os.close(read)
    else:
        write = os.open("/dev/full", os.O_WRONLY)
    stream = os.fdopen(write, "w")
    try:
        yield stream
    finally:
        with contextlib.suppress(OSError):
            stream.close()


@pytest.mark.parametrize(
    ("kind", "told"),
    [("closed", ""), ("nobody reads", ""), ("full", "warning: standard output could not be written (No space left on device)\n")],
)
@pytest.mark.parametrize("command", ["run", "list", "help"])
def test_a_command_ends_well_whatever_becomes_of_its_output(kind: str, told: str, command: str, tmp_path: Path) -> None:
    arguments = {"run": [*TINY, "--out", str(tmp_path / "run")], "list": ["list"], "help": ["--help"]}[command]
    error = io.StringIO()
    with output(kind) as stream, mock.patch.object(sys, "stdout", stream), contextlib.redirect_stderr(error):
        with mock.patch.object(sys, "argv", ["simulate", *arguments]), pytest.raises(SystemExit) as stop:
            cli.main()
    assert (stop.value.code, error.getvalue()) == (0, told)
    assert command != "run" or len(list((tmp_path / "run" / "plots").iterdir())) >= 2


def test_a_reader_that_stops_reading() -> None:
    command = f"{sys.executable} -m runs.cli list; echo $? >&2"
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parent.parent)}
    done = subprocess.run(f"({command}) | head -1", shell=True, capture_output=True, text=True, env=environment)
    assert (done.stdout.strip(), done.stderr.strip()) == ("scenarios", "0")


def test_letters_that_the_output_does_not_know(tmp_path: Path) -> None:
    raw = io.BytesIO()
    poor = io.TextIOWrapper(raw, "ascii", write_through=True)
    with mock.patch.object(sys, "stdout", poor), terminal.steady():
        terminal.console().print("± 1 \udcff")
    assert raw.getvalue().startswith(b"? 1 ?")


def test_text_is_printed_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    odd = "x [/bold] :smile: [red]"
    code, out, error = call(*TINY, "--out", odd)
    assert (code, error) == (0, "") and f"everything else in {odd}" in out
    code, out, error = call("compare", odd, "--out", "[/x]")
    assert (code, error) == (0, "") and "[/x]/table.md" in out


def test_a_warning_is_one_line() -> None:
    with terminal.steady():
        assert warnings.formatwarning(UserWarning("left out:\nthis"), UserWarning, "file.py", 1) == "warning: left out: this\n"
