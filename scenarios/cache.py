"""The cache of decoded sets: each is decoded once, then mapped into memory by every run that wants it.

A set is a small JSON index `NAME.json` and two pixel files named by their fingerprints. Pixel files are written first, the index last, each
under a name of its own that `os.replace` moves into place: a reader sees the old set or the new one, and two processes that decode
the same set at once write the same bytes. Whatever cannot be read, or was made from files that have changed since, counts as absent.
A folder that cannot be written makes the cache do nothing.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from scenarios.sources.decoded import Decoded, Part

LAYOUT = 1


def cache_folder() -> Path:
    """Where decoded sets are kept.

    Returns:
        The folder that the environment variable PALIMPSEST_CACHE names, or `palimpsest` in the user's own cache folder.
    """
    if "PALIMPSEST_CACHE" in os.environ:
        return Path(os.environ["PALIMPSEST_CACHE"]).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "~/AppData/Local")
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(base).expanduser() / "palimpsest"


class Cache:
    """Decoded sets on disk.

    Args:
        folder: where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, name: str, stamp: str) -> Decoded | None:
        """Look a set up.

        Args:
            name: what the set was kept as.
            stamp: what its files look like now.

        Returns:
            The set, its pixels mapped from the disk (a write to them changes memory only), or None where it is not here as it should be.
        """
        try:
            index = json.loads((self.folder / f"{name}.json").read_text())
            if index["layout"] != LAYOUT or index["stamp"] != stamp:
                return None
            groups = None if index["groups"] is None else tuple(index["groups"])
            parts = [self._map(index[part]) for part in ("train", "test")]
            return Decoded(parts[0], parts[1], tuple(index["class_names"]), groups, index["verified"])
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
        index["verified"] = decoded.verified
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            before = self._pixel_files(name)
            for label, part in (("train", decoded.train), ("test", decoded.test)):
                index[label] = {"fingerprint": part.fingerprint, "shape": part.images.shape}
                if not self._complete(index[label]):
                    self._replace(self._pixel_file(index[label]), lambda file, part=part: _dump(part, file))  # type: ignore[misc]
            self._replace(self.folder / f"{name}.json", lambda file: file.write(json.dumps(index, indent=1).encode()))
            for stale in before - self._pixel_files(name):
                stale.unlink(missing_ok=True)
        except OSError:
            return decoded
        return self.read(name, stamp) or decoded

    def _pixel_file(self, part: dict[str, Any]) -> Path:
        return self.folder / f"{part['fingerprint']}.pixels"

    def _pixel_files(self, name: str) -> set[Path]:
        try:
            index = json.loads((self.folder / f"{name}.json").read_text())
            return {self._pixel_file(index["train"]), self._pixel_file(index["test"])}
        except (OSError, ValueError, KeyError, TypeError):
            return set()

    def _complete(self, part: dict[str, Any]) -> bool:
        path = self._pixel_file(part)
        pixels = int(np.prod(part["shape"]))
        return path.is_file() and path.stat().st_size == pixels + 8 * part["shape"][0]

    def _map(self, part: dict[str, Any]) -> Part:
        if not self._complete(part):
            raise ValueError("the pixel file is absent or cut off")
        path, shape = self._pixel_file(part), tuple(part["shape"])
        images: np.memmap[Any, np.dtype[np.uint8]] = np.memmap(path, np.uint8, mode="c", shape=shape)
        labels = np.fromfile(path, "<i8", offset=images.size)
        return Part(images, labels, part["fingerprint"])

    def _replace(self, path: Path, fill: Callable[[BinaryIO], object]) -> None:
        handle, temporary = tempfile.mkstemp(dir=self.folder, prefix=".", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                fill(file)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def _dump(part: Part, file: BinaryIO) -> None:
    file.write(part.images.data)
    file.write(part.labels.data)
