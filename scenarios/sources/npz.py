"""Any `.npz` of the user's own: `x` and `y`, or `x_train`, `y_train`, `x_test`, `y_test`.

Images are [N, H, W], [N, H, W, C] or [N, C, H, W] with 1 or 3 channels: bytes, or fractions in [0, 1]. Labels are whole numbers or text;
the classes are the labels that occur, in ascending order. Of `x` and `y` alone, a fifth of each class is held out for the test. Pickled
objects inside the archive are not read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from scenarios.errors import UserError
from scenarios.sources.base import Place, Source, check, hold_out, reading
from scenarios.sources.decoded import Decoded, Part, Pixels

ADVICE = "it must hold x [N, H, W] or [N, H, W, 3] and y [N] (or x_train, y_train, x_test, y_test), bytes or fractions in [0, 1]"
SIDES = ("x_train", "y_train", "x_test", "y_test")


class Npz(Source):
    """Arrays of the user's own."""

    def locate(self, place: Place) -> list[Path]:
        """Take the file that the user named.

        Args:
            place: with its path, or with the file in the place of the data folder.

        Returns:
            The file.

        Raises:
            UserError: it is not there.
        """
        path = place.path or place.root
        if not path.is_file():
            raise UserError(f"the data set npz needs your file, and {path} is none: say --data npz:FILE; {ADVICE}")
        return [path]

    def decode(self, files: Sequence[Path], place: Place) -> Decoded:
        """Read the arrays.

        Args:
            files: the archive.
            place: where it was found.

        Returns:
            The set as arrays.
        """
        with reading(files[0], ADVICE):
            arrays = np.load(files[0], allow_pickle=False)
            check(isinstance(arrays, np.lib.npyio.NpzFile), "it is a single array")
            with arrays:
                return _decoded(arrays)


def _decoded(arrays: Mapping[str, np.ndarray]) -> Decoded:
    keys = SIDES if set(SIDES) <= set(arrays) else ("x", "y")
    check(set(keys) <= set(arrays), f"it holds {', '.join(arrays) or 'nothing'}")
    pairs = [(_pixels(arrays[x], x), arrays[y]) for x, y in zip(keys[::2], keys[1::2])]
    for (pixels, labels), y in zip(pairs, keys[1::2]):
        check(labels.shape == (len(pixels),) and len(pixels) > 0, f"{y} of shape {labels.shape} does not fit {len(pixels)} images")
        check(labels.dtype.kind in "iuUb", f"{y} holds {labels.dtype}, not whole numbers or text")
    check(len({pixels.shape[1:] for pixels, _ in pairs}) == 1, "its images for training and for the test differ in shape")
    names, numbers = np.unique(np.concatenate([labels for _, labels in pairs]), return_inverse=True)
    numbers = numbers.reshape(-1)
    if len(pairs) == 2:
        first = len(pairs[0][0])
        train, test = Part.of(pairs[0][0], numbers[:first]), Part.of(pairs[1][0], numbers[first:])
    else:
        learned, held = hold_out(numbers)
        check(len(held) > 0, "no class has a second image to be held out for the test")
        train, test = (Part.of(pairs[0][0][rows], numbers[rows]) for rows in (learned, held))
    return Decoded(train, test, tuple(str(name) for name in names.tolist()), verified=False)


def _pixels(images: np.ndarray, key: str) -> Pixels:
    if images.ndim == 3:
        images = images[:, None]
    check(images.ndim == 4, f"{key} has the shape {images.shape}")
    if images.shape[1] not in (1, 3):
        check(images.shape[3] in (1, 3), f"{key} has the shape {images.shape}, without 1 or 3 channels")
        images = images.transpose(0, 3, 1, 2)
    if images.dtype.kind == "f":
        check(bool(((images >= 0) & (images <= 1)).all()), f"{key} has fractions outside [0, 1]")
        return np.round(images * 255).astype(np.uint8)
    check(images.dtype.kind in "iu" and images.size > 0, f"{key} holds {images.dtype}")
    check(int(images.min()) >= 0 and int(images.max()) <= 255, f"{key} has numbers outside 0 to 255")
    return images.astype(np.uint8)
