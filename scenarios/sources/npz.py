"""Any `.npz` of the user's own: `x` and `y`, or `x_train`, `y_train`, `x_test`, `y_test`, and for few-shot learning `x_val`, `y_val`.

Images are [N, H, W], [N, H, W, C] or [N, C, H, W] with 1 or 3 channels: bytes, 16-bit numbers or fractions in [0, 1], on one scale in all
arrays (`pixels.scale_of`); real numbers [N, F] are features and kept as they are (`vectors`). Labels are whole numbers or text, [N] or
[N, 1]; the classes are the labels that occur, whole numbers in ascending order first. Of `x` and `y` alone, a fifth of each class is held
out for the test; sides that share no class are the division of the classes for few-shot learning. An array `poisoned` (text) marks images
that an adversary has altered: every run on them says so.
Pickled objects inside the archive are not read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from scenarios.errors import UserError
from scenarios.sources.base import Place, Source, check, reading
from scenarios.sources.decoded import POISONED, Decoded
from scenarios.sources.own import TEST, TRAIN, VALIDATION, Side, assemble
from scenarios.sources.pixels import from_arrays
from scenarios.sources.vectors import are_vectors, from_vectors

ADVICE = (
    "it must hold x [N, H, W] or [N, H, W, 3] and y [N] (or x_train, y_train, x_test, y_test), bytes or fractions in [0, 1]; "
    "or features [N, F], real numbers"
)
SIDES = {"train": TRAIN, "val": VALIDATION, "test": TEST}


class Npz(Source):
    """Arrays of the user's own."""

    version: str = "4"

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
                return decoded_arrays(str(files[0]), arrays)


def labels_of(labels: np.ndarray, name: str, images: int) -> np.ndarray:
    """Read labels as class names; to be used inside `reading`.

    Args:
        labels: [N] or [N, 1], whole numbers or text.
        name: of the array.
        images: how many images they belong to.

    Returns:
        Text [N].
    """
    flat = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    one_hot = f"; of one column a class, give {name}.argmax(1)" if flat.ndim == 2 and len(flat) == images else ""
    check(flat.shape == (images,) and images > 0, f"{name} of shape {labels.shape} does not fit {images} images{one_hot}")
    check(flat.dtype.kind in "iuUSb", f"{name} holds {flat.dtype}, not whole numbers or text; give {name}.astype(int)")
    return np.char.decode(flat, "utf-8") if flat.dtype.kind == "S" else flat.astype(np.str_)


def decoded_arrays(name: str, arrays: Mapping[str, np.ndarray]) -> Decoded:
    """Check arrays of a user's own and put them together; to be used inside `reading`.

    Args:
        name: what they are called in messages.
        arrays: by name.

    Returns:
        The set as arrays.
    """
    keys = {side: (f"x_{short}", f"y_{short}") for short, side in SIDES.items() if {f"x_{short}", f"y_{short}"} <= set(arrays)}
    if TRAIN not in keys or TEST not in keys:
        keys = {TRAIN: ("x", "y")}
    used = [key for pair in keys.values() for key in pair]
    check(set(used) <= set(arrays), f"it holds {', '.join(arrays) or 'nothing'}")
    unused = sorted(set(arrays) - set(used))
    images = {x: arrays[x] for x, _ in keys.values()}
    pixels, notes = from_vectors(images) if are_vectors(images) else from_arrays(images)
    sides = [Side.of(side, f"{y} of {name}", labels_of(arrays[y], y, len(images[x]))) for side, (x, y) in keys.items()]
    if "poisoned" in arrays:
        notes.append(f"{POISONED}: {Path(name).name} says {str(arrays['poisoned'])[:200]}")
        unused.remove("poisoned")
    if unused:
        notes.append(f"{len(unused)} arrays of {Path(name).name} are left out ({', '.join(unused[:5])})")
    return assemble(name, pixels, sides, notes)
