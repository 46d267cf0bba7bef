"""A file is written whole or not at all, whatever fails."""

from __future__ import annotations

import errno
import resource
from pathlib import Path
from typing import Any

import pytest
import torch

from runs.recording import files
from scenarios.errors import UserError


class Interrupt(BaseException):
    pass


@pytest.fixture
def smallest_files():
    """No file may be longer than 4 KiB: the system's own limit, which is told like a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), Interrupt(), KeyError("x")])
def test_what_fails_leaves_the_old_file_and_no_part(failure: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write_text(path, "old")
    with pytest.raises(type(failure)) as caught:
        with files.replacing(path) as file:
            file.write(b"new")
            raise failure
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    assert not isinstance(failure, OSError) or caught.value.filename == str(path)


@pytest.mark.parametrize("size", [1, 1000, 5000, 100_000])
def test_tensors_that_do_not_fit_are_an_error_of_the_system_with_the_files_name(size: int, smallest_files: None, tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    if size == 1:
        files.write_tensors(path, {"a": torch.arange(size)})
        assert torch.equal(torch.load(path, weights_only=True)["a"], torch.arange(size))
        return
    with pytest.raises(OSError) as caught:
        files.write_tensors(path, {"a": torch.arange(size)})
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(path))
    assert not list(tmp_path.iterdir())


def test_what_torch_cannot_write_is_its_own_error(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="pickle|local"):
        files.write_tensors(tmp_path / "state.pt", {"a": lambda: 0})
    assert not list(tmp_path.iterdir())


def test_lines_that_do_not_fit_are_not_begun(smallest_files: None, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    files.append(path, 4000 * "a")
    with pytest.raises(OSError, match="File too large"):
        files.append(path, 100 * "b")
    assert path.read_text() == 4000 * "a"


def test_a_file_is_cut_back_and_never_stretched(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    files.cut(path, 0)
    assert path.read_bytes() == b""
    path.write_bytes(b"0123456789")
    files.cut(path, 4)
    assert path.read_bytes() == b"0123"
    with pytest.raises(UserError, match=r"shorter than the checkpoint knows \(4 of 5 bytes\)"):
        files.cut(path, 5)
    assert path.read_bytes() == b"0123"


def test_parts_are_swept_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "plots").mkdir()
    for name in ("config.yaml", "config.yaml.7.part", "plots/a.png", "plots/a.png.12.part", "particle"):
        (tmp_path / name).touch()
    files.sweep(tmp_path)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == [
        "config.yaml",
        "particle",
        "plots/a.png",
    ]


def test_a_name_that_is_no_text_is_written_all_the_same(tmp_path: Path) -> None:
    content: dict[str, Any] = {"name": "\udcff", "value": float("nan")}
    files.write_json(tmp_path / "a.json", content)
    files.write_text(tmp_path / "a.csv", "\udcff")
    assert "null" in (tmp_path / "a.json").read_text() and (tmp_path / "a.csv").read_text() == "\\udcff"
