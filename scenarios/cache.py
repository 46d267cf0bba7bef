"""The cache of decoded sets: each is decoded once, then mapped into memory by every run that wants it.

A set is a small JSON index `NAME.json`, with checksums, and two pixel files named by their fingerprints. Pixel files are written first, the
index last, each under a name of its own that `os.replace` moves into place: a reader sees the old set or the new one. Whoever decodes a
set holds its lock, so that others wait for the result, and sweeps what a killed writer has left.

Whatever cannot be read, is not what its checksum says (looked at once per process and file), or was made from files that have changed
since, counts as absent. A folder that cannot be written makes the cache do nothing but say so.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import platformdirs
from filelock import FileLock, Timeout

from scenarios.sources.decoded import KEPT, Decoded, Part

LAYOUT = 2
PATIENCE_SECONDS = 900.0
"""How long another process may decode a set before this one does so itself."""

_CHUNK = 1 << 20
_seen: dict[tuple[str, int, int, int], int] = {}  # checksums of files that this process has read through


def cache_folder() -> Path:
    """Where decoded sets are kept.

    Returns:
        The folder that the environment variable PALIMPSEST_CACHE names, or `palimpsest` in the user's own cache folder; for a user without
        a home, a temporary folder that goes when the process ends.
    """
    try:
        named = os.environ.get("PALIMPSEST_CACHE")
        folder = Path(named or platformdirs.user_cache_dir("palimpsest", appauthor=False)).expanduser()
    except RuntimeError:
        return _temporary()
    # Some versions of platformdirs leave the tilde of a home that there is not.
    return _temporary() if folder.parts[:1] == ("~",) else folder.absolute()


@cache
def _temporary() -> Path:
    folder = tempfile.mkdtemp(prefix="palimpsest-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


class Cache:
    """Decoded sets on disk.

    Args:
        folder: where they lie.
        report: is told what the user should know.
    """

    def __init__(self, folder: Path, report: Callable[[str], None] = lambda line: None) -> None:
        self.folder = folder
        self.report = report

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Be the only process that decodes a set.

        Args:
            name: what the set is kept as.

        Yields:
            Nothing; without the lock where the folder cannot be written or another process takes too long.
        """
        lock = FileLock(self.folder / f"{name}.lock")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(blocking=False)
            except Timeout:
                self.report(f"another process is decoding {name}; waiting for it")
                lock.acquire(timeout=PATIENCE_SECONDS)
            for left in self.folder.glob(f".{name}.*.part"):
                left.unlink(missing_ok=True)
        except (OSError, NotImplementedError, Timeout):
            pass
        try:
            yield
        finally:
            if lock.is_locked:
                # A process that waits for the file that goes here may meet one that makes it anew: both then write the same bytes.
                with suppress(OSError):
                    Path(lock.lock_file).unlink()
                lock.release()
                with suppress(OSError):
                    self.folder.rmdir()  # where nothing came of it

    def read(self, name: str, stamp: str) -> Decoded | None:
        """Look a set up.

        Args:
            name: what the set was kept as.
            stamp: what its files look like now.

        Returns:
            The set, its pixels mapped from the disk (a write to them changes memory only), or None where it is not here as it should be.
        """
        try:
            index = self._index(name)
            if index["stamp"] != stamp:
                return None
            damaged = [part for part in ("train", "test") if not self._is_intact(index[part])]
            if damaged:
                self.report(f"the cached copy of {name} in {self.folder} is damaged; decoding it again")
                return None
            groups = None if index["groups"] is None else tuple(index["groups"])
            sections = None if index.get("sections") is None else tuple(index["sections"])
            parts = [self._map(index[part]) for part in ("train", "test")]
            return Decoded(parts[0], parts[1], tuple(index["class_names"]), groups, index["verified"], tuple(index["notes"]), sections)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, name: str, stamp: str, decoded: Decoded) -> Decoded:
        """Keep a set.

        Args:
            name: what to keep it as; an older set of this name is replaced.
            stamp: what its files look like now.
            decoded: the set.

        Returns:
            The set as kept (mapped from the disk), or the one given where the folder cannot be written.
        """
        index: dict[str, Any] = {"layout": LAYOUT, "stamp": stamp, "class_names": decoded.class_names, "groups": decoded.groups}
        index |= {"verified": decoded.verified, "notes": decoded.notes, "sections": decoded.sections}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            before = self._pixel_files(name)
            for label, part in (("train", decoded.train), ("test", decoded.test)):
                checksum = zlib.crc32(part.labels.data, zlib.crc32(part.images.data))
                facts = {"fingerprint": part.fingerprint, "shape": part.images.shape, "type": part.images.dtype.str}
                index[label] = {**facts, "crc32": checksum}
                if not self._is_intact(index[label]):
                    self._replace(name, self._pixel_file(index[label]), lambda file, part=part: _dump(part, file))  # type: ignore[misc]
            index["checksum"] = _checksum(index)
            self._replace(name, self.folder / f"{name}.json", lambda file: file.write(json.dumps(index, indent=1).encode()))
            for stale in before - self._pixel_files(name):
                stale.unlink(missing_ok=True)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            self.report(f"decoded data cannot be kept in {self.folder} ({reason}): every run decodes anew; PALIMPSEST_CACHE names a folder")
            return decoded
        return self.read(name, stamp) or decoded

    def _index(self, name: str) -> dict[str, Any]:
        index = json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
        if index["layout"] != LAYOUT or index.pop("checksum") != _checksum(index):
            raise ValueError("the index is of another version, or damaged")
        return index

    def _pixel_file(self, part: dict[str, Any]) -> Path:
        return self.folder / f"{part['fingerprint']}.pixels"

    def _pixel_files(self, name: str) -> set[Path]:
        try:
            index = self._index(name)
            return {self._pixel_file(index["train"]), self._pixel_file(index["test"])}
        except (OSError, ValueError, KeyError, TypeError):
            return set()

    def _is_intact(self, part: dict[str, Any]) -> bool:
        path = self._pixel_file(part)
        try:
            status = path.stat()
            if status.st_size != int(np.prod(part["shape"])) * _type(part).itemsize + 8 * part["shape"][0]:
                return False
            facts = (str(path), status.st_ino, status.st_size, status.st_mtime_ns)
            if facts not in _seen:
                _seen[facts] = _crc32(path)
            return _seen[facts] == part["crc32"]
        except OSError:
            return False

    def _map(self, part: dict[str, Any]) -> Part:
        path, shape = self._pixel_file(part), tuple(part["shape"])
        images: Any = np.memmap(path, _type(part), mode="c", shape=shape)
        labels = np.fromfile(path, "<i8", offset=images.nbytes)
        return Part(images, labels, part["fingerprint"])

    def _replace(self, name: str, path: Path, fill: Callable[[BinaryIO], object]) -> None:
        handle, temporary = tempfile.mkstemp(dir=self.folder, prefix=f".{name}.", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                fill(file)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def _type(part: dict[str, Any]) -> np.dtype[Any]:
    # Sets kept before there were features name none.
    kind = np.dtype(part.get("type", "|u1"))
    if kind not in KEPT:
        raise ValueError(f"{kind} is no type that sets are kept in")
    return kind


def _crc32(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            checksum = zlib.crc32(chunk, checksum)
    return checksum


def _checksum(index: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()


def _dump(part: Part, file: BinaryIO) -> None:
    file.write(part.images.data)
    file.write(part.labels.data)
