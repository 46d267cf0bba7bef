"""A disk that is full at any write: one line, exit code 3; with room made, the run ends with the bits of one that always had room."""

from __future__ import annotations

import contextlib
import errno
import pathlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from tests.runs.command import TINY, call
from tests.runs.test_resume import same_bits


class SmallDisk:
    """Files can be opened for writing until so many bytes are written; from then on the disk is full."""

    def __init__(self, room: int) -> None:
        self.left, self.written = room, 0
        self._open = pathlib.Path.open

    def open(self, path: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if "r" in mode:
            return self._open(path, mode, *rest, **more)
        self.take(1, path)
        return Watched(self._open(path, mode, *rest, **more), self)

    def take(self, count: int, path: object = None) -> None:
        self.written += count
        self.left -= count
        if self.left < 0:
            raise OSError(errno.ENOSPC, "No space left on device", path and str(path))


class Watched:
    def __init__(self, file: Any, disk: SmallDisk) -> None:
        self.file, self.disk = file, disk

    def write(self, content: Any) -> int:
        self.disk.take(len(content))
        return self.file.write(content)

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *exception: object) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@contextlib.contextmanager
def room(count: int) -> Iterator[SmallDisk]:
    disk = SmallDisk(count)
    with mock.patch.object(pathlib.Path, "open", lambda path, *rest, **more: disk.open(path, *rest, **more)):
        yield disk


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    folder = tmp_path_factory.mktemp("whole") / "run"
    with room(1 << 30) as disk:
        code, _, error = call(*TINY, "--quiet", "--out", folder)
    assert (code, error) == (0, "")
    return folder, disk.written


def one_line(code: int, error: str) -> None:
    assert code == 3, error
    assert error.count("\n") == 1 and "No space left on device; make room" in error, error


@pytest.mark.parametrize("share", [0.0, 0.002, 0.02, 0.05, 0.1, 0.3, 0.9])
def test_room_for_a_part_of_what_is_written(share: float, whole: tuple[Path, int], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with room(int(share * whole[1])):
        code, _, error = call(*TINY, "--quiet", "--out", folder)
    one_line(code, error)
    assert not list(folder.rglob("*.part"))
    if (folder / "checkpoint.pt").exists():
        assert f"`simulate resume {folder}`" in error
        again = call("resume", folder, "--quiet")
    else:
        again = call(*TINY, "--quiet", "--out", folder)
    assert again == (0, "", "")
    same_bits(whole[0], folder)
    assert {path.name for path in (folder / "plots").iterdir()} == {path.name for path in (whole[0] / "plots").iterdir()}


def test_a_comparison_without_room(whole: tuple[Path, int], tmp_path: Path) -> None:
    with room(100):
        code, _, error = call("compare", whole[0], "--out", tmp_path / "comparison")
    one_line(code, error)


def test_a_file_system_that_is_really_full(whole: tuple[Path, int], tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = shutil.which("mount")
    if mount is None or subprocess.run([mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        code, _, error = call(*TINY, "--quiet", "--set", "network.hidden=300", "--out", small / "run")
        one_line(code, error)
        (small / "rest").write_bytes(bytes(shutil.disk_usage(small).free))
        code, _, error = call(*TINY, "--quiet", "--out", small / "other")
        one_line(code, error)
        (small / "rest").unlink()
        subprocess.run([mount, "-o", "remount,size=64m", small], check=True)
        assert call(*TINY, "--quiet", "--out", small / "other") == (0, "", "")
        same_bits(whole[0], small / "other")
    finally:
        subprocess.run(["umount", small], check=False)
