"""Files that are written whole or not at all: into a file `*.part` beside them, which then takes their name.

A run that is killed while it writes leaves the old file and the part; `sweep` takes such parts away. A disk that is full is an OSError with
the file's name, whoever wrote: torch's archives say no more than that a position was unexpected.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from runs.stopping import NO_ROOM
from scenarios.errors import UserError, shortened


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Write a file that takes its name only when all of it is there.

    Args:
        path: the file; its folder exists.

    Yields:
        A file to write bytes to.

    Raises:
        OSError: it cannot be written; the old file is as it was.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
        os.replace(part, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            part.unlink()
        if isinstance(error, OSError) and error.filename in (None, str(part)):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


@contextlib.contextmanager
def making(folder: Path) -> Iterator[None]:
    """While it lasts, a directory is made; that it cannot be is a mistake of the user's, but for a full disk.

    Args:
        folder: the directory.

    Raises:
        UserError: there can be no such directory.
        OSError: the disk is full.
    """
    reason = ""
    try:
        yield
    except RecursionError:
        # More folders in folders, none of which is there, than the library can make.
        reason = "too many folders"
    except OSError as error:
        if error.errno in NO_ROOM:
            raise
        reason = error.strerror or str(error)
    if reason:
        raise UserError(f"cannot write to {shortened(folder, 300)} ({reason}); choose another --out")


def write_text(path: Path, text: str) -> None:
    """Write a file, whole or not at all.

    Args:
        path: the file.
        text: its content.
    """
    with replacing(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON, whole or not at all; what is not a number becomes null.

    Args:
        path: the file.
        content: plain values.
    """
    write_text(path, json.dumps(_without_nan(content), indent=2) + "\n")


def write_tensors(path: Path, state: Mapping[str, Any]) -> None:
    """Write what `torch.load` reads, whole or not at all.

    Args:
        path: the file.
        state: nested dictionaries, lists and tuples of tensors and plain values.
    """
    import torch

    with replacing(path) as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:
            # The archive's own complaint hides the system's.
            raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None


def append(path: Path, text: str) -> None:
    """Add to a file, all of it or nothing.

    Args:
        path: the file; made if it is not there.
        text: what is added.

    Raises:
        OSError: it cannot be written.
    """
    before = length(path)
    try:
        with path.open("ab") as file:
            file.write(text.encode())
    except OSError as error:
        with contextlib.suppress(OSError):
            cut(path, before)
        raise OSError(error.errno, error.strerror, str(path)) from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: the file.

    Returns:
        Its entries; none where it is not there, or is none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a file of one JSON object a line.

    Args:
        path: the file.

    Returns:
        The objects; none where there is no file.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines()]


def length(path: Path) -> int:
    """The length of a file.

    Args:
        path: the file.

    Returns:
        Bytes; 0 where there is none.
    """
    return path.stat().st_size if path.exists() else 0


def cut(path: Path, size: int) -> None:
    """Cut a file back.

    Args:
        path: the file; made if it is not there and nothing is to be kept.
        size: bytes to keep.

    Raises:
        UserError: the file is shorter than that.
    """
    if length(path) < size:
        raise UserError(
            f"{path} is shorter than the checkpoint knows ({length(path)} of {size} bytes); "
            "put the file back as it was, or start the run again in another --out"
        )
    with path.open("ab") as file:
        file.truncate(size)


def sweep(folder: Path) -> None:
    """Take away what killed processes left half written in a run's directory.

    Args:
        folder: the directory, held by this process.
    """
    for part in [*folder.glob("*.part"), *folder.glob("*/*.part")]:
        with contextlib.suppress(OSError):
            part.unlink()


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
