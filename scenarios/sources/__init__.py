"""Data sets: where they come from and how they are decoded, once. Importing this imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenarios.sources.registry import sources

if TYPE_CHECKING:
    from scenarios.images import ImageSet

__all__ = ["add", "load", "sources"]


def add(name: str, **arrays: Any) -> None:
    """Name arrays of a Python session, images or features [N, F], so that scenarios find them; see `scenarios.sources.arrays`.

    Args:
        name: small letters, digits and hyphens.
        arrays: `x` and `y`, or `x_train`, `y_train`, `x_test`, `y_test` (and `x_val`, `y_val`).
    """
    from scenarios.sources.arrays import add as add_arrays

    add_arrays(name, **arrays)


def load(
    name: str,
    *,
    root: Path | None = None,
    download: bool = True,
    report: Callable[[str], None] | None = None,
    path: str | None = None,
    size: tuple[int, int] | None = None,
) -> tuple[ImageSet, ImageSet]:
    """Load a data set: found or downloaded, decoded once, then mapped into memory from the cache.

    Args:
        name: the set's name, as in `scenarios.sources.registry`.
        root: the folder of all data sets; by default what PALIMPSEST_DATA names, else `./data`.
        download: whether absent files may be fetched.
        report: is told, in lines of text, what takes time and what was done to the files; by default the log `scenarios`.
        path: the user's own file or folder, for `folder` and `npz`.
        size: width and height that a folder's images are brought to; none for the commonest.

    Returns:
        The training and the test part.

    Example:
        >>> train, test = load("digits")
        >>> train.shape, len(train) + len(test), train.origin
        ((1, 8, 8), 1797, 'embedded')
    """
    from scenarios.sources.loader import load_set

    return load_set(name, root, download, report, path, size)
