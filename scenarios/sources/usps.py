"""USPS (Hull 1994): 9,298 digits from envelopes, 16x16 grey, bright ink.

Two forms are read. LIBSVM's text, packed with bzip2: a line is the digit plus one, then `index:value` for 256 pixels from -1 to 1. Or an
archive `usps.npz` with `train_x`, `train_y`, `test_x`, `test_y`, uint8 [N, 16, 16] and digits 0 to 9.
"""

from __future__ import annotations

import bz2
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scenarios.sources.base import Place, check, checked_labels, reading
from scenarios.sources.decoded import Decoded, Part
from scenarios.sources.published import Published, Remote

PUBLISHED = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/"
FILES = {"usps.bz2": "ec16c51db3855ca6c91edd34d0e9b197", "usps.t.bz2": "8ea070ee2aca1ac39742fdd1ef5ed118"}


class Usps(Published):
    """USPS."""

    name = "usps"
    layouts = [
        *([f"{folder}{file}" for file in FILES] for folder in ("USPS/", "USPS/raw/", "usps/", "")),
        ["USPS/usps.npz"],
        ["usps.npz"],
    ]
    remotes = [Remote(f"USPS/{file}", md5, (PUBLISHED + file,)) for file, md5 in FILES.items()]

    def decode(self, files: Sequence[Path], place: Place) -> Decoded:
        """Read the two files, or the archive.

        Args:
            files: LIBSVM's two files, or the archive.
            place: where they were found.

        Returns:
            The set as arrays.
        """
        train, test = _from_archive(files[0]) if files[0].suffix == ".npz" else (_from_text(file) for file in files)
        return Decoded(train, test, tuple("0123456789"), verified=self.verify(files))


def _from_text(path: Path) -> Part:
    with reading(path), bz2.open(path) as file:
        lines = file.read().decode("ascii").splitlines()
        numbers = np.array(" ".join(lines).replace(":", " ").split(), np.float32)
        check(len(lines) > 0 and numbers.size == len(lines) * 513, "its lines are not a label and 256 pixels")
        rows = numbers.reshape(-1, 513)
        values = rows[:, 2::2]
        check((rows[:, 1::2] == np.arange(1, 257)).all() and np.abs(values).max() <= 1, "its pixels are not 1 to 256, from -1 to 1")
        images = np.round((values + 1) * 127.5).astype(np.uint8).reshape(-1, 1, 16, 16)
        return Part.of(images, checked_labels(rows[:, 0] - 1, 10, len(rows)))


def _from_archive(path: Path) -> list[Part]:
    parts = []
    with reading(path), np.load(path, allow_pickle=False) as arrays:
        for side in ("train", "test"):
            images, labels = arrays[f"{side}_x"], arrays[f"{side}_y"]
            check(images.dtype == np.uint8 and images.shape[1:] == (16, 16), f"{side}_x is not uint8 [N, 16, 16]")
            parts.append(Part.of(images[:, None], checked_labels(labels, 10, len(images))))
    return parts
