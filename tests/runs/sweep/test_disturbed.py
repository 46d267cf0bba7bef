"""A sweep that is killed, interrupted, or starved of room ends with the table of one that was left alone."""

from __future__ import annotations

import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from unittest import mock

import pytest

from runs.recording import files
from tests.runs.command import TINY, call
from tests.runs.sweep.disturbed import children, disturb, finish, matrices, table

SLOW = [*TINY[4:], "--set", "train.batch_size=1", "--set", "train.epochs=8"]
ASKED = ["--scenario", "split-digits", "--strategy", "naive,si", "--seeds", "2", *SLOW, "--jobs", "2"]


def test_killed_and_interrupted_it_ends_with_the_table_of_one_left_alone(tmp_path: Path) -> None:
    code, _, error = call(*ASKED, "--out", tmp_path / "alone")
    assert code == 0, error
    moments, folder = random.Random(time.time_ns()), tmp_path / "disturbed"
    asked: list[str | Path] = [*ASKED, "--out", folder]
    code, error = disturb(asked, signal.SIGKILL, 0.0, 2.0, moments)
    assert (code, error) in ((-signal.SIGKILL, ""), (0, ""))
    code, error = disturb(asked, signal.SIGINT, 0.0, 2.0, moments)
    assert code in (130, 0) and error.count("\n") == (code == 130), error
    if "of 4 runs are done" in error:
        assert re.search(r"interrupted; \d of 4 runs are done: go on with the same command or `simulate resume ", error)
    assert not children(folder)
    code, _, error = finish(["resume", folder])
    assert (code, error) in ((0, ""), (2, "")) or "holds no run" in error
    if code:
        assert finish(asked)[0] == 0
    assert table(folder) == table(tmp_path / "alone") and len(table(folder)) == 2
    assert matrices(folder) == matrices(tmp_path / "alone")


def test_a_file_system_that_is_full_stops_the_sweep_with_one_line_and_keeps_what_is_over(tmp_path: Path) -> None:
    small, asked = tmp_path / "small", ["--scenario", "split-digits", "--strategy", "naive", "--seeds", "4", *TINY[4:], "--jobs", "2"]
    small.mkdir()
    mount = shutil.which("mount")
    if mount is None or subprocess.run([mount, "-t", "tmpfs", "-o", "size=136k", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        code, _, error = call(*asked, "--quiet", "--out", small / "sweep")
        assert code == 3 and error.count("\n") == 1 and "No space left on device; make room" in error, error
        kept = {path: path.read_bytes() for path in small.glob("sweep/*/*/summary.json")}
        subprocess.run([mount, "-o", "remount,size=64m", small], check=True)
        code, out, error = call(*asked, "--out", small / "sweep")
        assert (code, error) == (0, "") and (not kept or f"{len(kept)} over already" in out)
        assert len(list(small.glob("sweep/*/*/summary.json"))) == 4 and all(path.read_bytes() == text for path, text in kept.items())
        assert len(kept) < 4 and not list(small.rglob("*.part"))
    finally:
        subprocess.run(["umount", small], check=False)


def test_where_no_file_system_can_be_mounted_a_refused_write_does_the_same(tmp_path: Path) -> None:
    with mock.patch.object(files, "write_text", side_effect=OSError(28, "No space left on device", str(tmp_path / "sweep.yaml"))):
        code, _, error = call(*ASKED, "--out", tmp_path / "sweep")
    assert code == 3 and error.count("\n") == 1 and "No space left on device; make room" in error
