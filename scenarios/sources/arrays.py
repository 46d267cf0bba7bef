"""Arrays of a Python session as a data set with a name: what `npz:FILE` is on the command line, without a file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scenarios.errors import UserError, nearest
from scenarios.registry import Row
from scenarios.sources.base import Place, Source, reading
from scenarios.sources.decoded import Decoded
from scenarios.sources.npz import ADVICE, decoded_arrays
from scenarios.sources.registry import sources

NAMES = ("x", "y", "x_train", "y_train", "x_val", "y_val", "x_test", "y_test")
_KEPT: dict[str, dict[str, np.ndarray]] = {}


class Arrays(Source):
    """Arrays in memory.

    Args:
        name: what they are called.
    """

    cached = False

    def __init__(self, name: str) -> None:
        self.name = name

    def locate(self, place: Place) -> list[Path]:
        """Nothing is on disk.

        Args:
            place: where others look.

        Returns:
            No files.
        """
        return []

    def decode(self, files: Sequence[Path], place: Place) -> Decoded:
        """Check the arrays and put them together.

        Args:
            files: none.
            place: where others look.

        Returns:
            The set as arrays.
        """
        with reading(Path(self.name), ADVICE):
            return decoded_arrays(self.name, _KEPT[self.name])


def add(name: str, **arrays: Any) -> None:
    """Name arrays, so that scenarios find them as they find a data set: `split-NAME`, `data="NAME"`.

    The name lasts as long as the Python process; a run that is to be repeated from its files wants `npz:FILE` instead.

    Args:
        name: small letters, digits and hyphens. A name given before is given anew.
        arrays: `x` and `y`, or `x_train`, `y_train`, `x_test`, `y_test` (and `x_val`, `y_val`): anything that NumPy takes as an array.
            Images as docs/own-data.md describes them, or features [N, F], real numbers.

    Raises:
        UserError: the name is another set's or no name, or arrays are called otherwise.

    Example:
        >>> from scenarios.sources import load
        >>> add("mine", x=np.random.default_rng(0).normal(size=(20, 3)).astype("float32"), y=np.arange(20) % 2)
        >>> train, test = load("mine")
        >>> train.shape, len(train), len(test)
        ((3, 1, 1), 16, 4)
    """
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise UserError(f"a data set's name has small letters, digits and hyphens, not '{name}'")
    if name in sources.rows and name not in _KEPT:
        raise UserError(f"there is a data set '{name}' already; give yours another name")
    for given in arrays:
        if given not in NAMES:
            raise UserError(f"a data set has no array '{given}'{nearest(given, NAMES)}")
    _KEPT[name] = {given: _array(given, values) for given, values in arrays.items()}
    line = f"arrays of your own ({', '.join(f'{given} {list(array.shape)}' for given, array in _KEPT[name].items())})"
    sources.rows[name] = Row(name, line, f"{__name__}:Arrays", {"name": name})


def _array(name: str, values: Any) -> np.ndarray:
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{name} is no array ({error}); give a NumPy array or a tensor on the CPU") from error
