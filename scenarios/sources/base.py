"""What a source is: it finds the files of a set (or fetches them), and decodes them to arrays.

A source's `decode` is a pure function of its files and its `version`; the loader calls it once and keeps the result in the cache.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from scenarios.errors import UserError
from scenarios.sources.decoded import Decoded, Labels


@dataclass(frozen=True)
class Place:
    """Where a source may look.

    Attributes:
        root: the folder of all data sets.
        path: the file or folder that the user named, for sources that have no place of their own.
        download: whether absent files may be fetched.
        report: is told, in lines of text, what takes time.
        size: width and height that the user wants; none for the set's own. Only a source that `resizes` looks at it.
    """

    root: Path
    path: Path | None
    download: bool
    report: Callable[[str], None]
    size: tuple[int, int] | None = None


class Source(ABC):
    """A data set.

    Attributes:
        origin: `real`, `embedded` or `generated`.
        resizes: whether its images have sizes of their own, so that it brings them to `Place.size` when it decodes them.
        cached: whether a decoded copy is kept on disk.
        version: what the decoded arrays depend on besides the files; a new one makes the cached copy stale.
    """

    origin: ClassVar[str] = "real"
    resizes: ClassVar[bool] = False
    cached: ClassVar[bool] = True
    version: str = "1"

    @abstractmethod
    def locate(self, place: Place) -> list[Path]:
        """Find the set's files, or fetch them.

        Args:
            place: where to look.

        Returns:
            All files that the set is decoded from (their names, sizes and times decide whether a cached copy is good), after the folder
            where there is one; empty for a set that needs none.
        """

    @abstractmethod
    def decode(self, files: Sequence[Path], place: Place) -> Decoded:
        """Decode the set.

        Args:
            files: what `locate` found.
            place: where it looked.

        Returns:
            The set as arrays.
        """


@contextmanager
def reading(path: Path, advice: str = "delete it to have it fetched again, or put an intact copy in its place") -> Iterator[None]:
    """Turn whatever a broken file does to its decoder into one line for the user.

    Args:
        path: the file that is read inside the block.
        advice: what to do about it.

    Yields:
        Nothing.

    Raises:
        UserError: the block failed.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # bytes of strangers make decoders raise anything
        reason = re.sub(r"\s+", " ", str(error)).strip()[:300] or type(error).__name__
        raise UserError(f"{path} cannot be used: {reason}; {advice}") from error


def check(fact: bool | np.bool_, otherwise: str) -> None:
    """Refuse a file of the wrong structure; to be used inside `reading`.

    Args:
        fact: what must hold.
        otherwise: what is wrong where it does not.

    Raises:
        ValueError: it does not hold.
    """
    if not fact:
        raise ValueError(otherwise)


def checked_labels(labels: Sequence[int] | np.ndarray, classes: int, images: int) -> Labels:
    """Labels of the right number and range; to be used inside `reading`.

    Args:
        labels: as the file has them.
        classes: how many classes the set has.
        images: how many images the file has.

    Returns:
        int64 [images].
    """
    # Lists are looked at before numpy is: one that holds itself many times would fill the memory.
    check(not isinstance(labels, list) or all(isinstance(label, int) for label in labels), "its labels are not a list of whole numbers")
    numbers = np.asarray(labels)
    check(numbers.ndim == 1 and numbers.dtype.kind in "iuf", "its labels are not a list of whole numbers")
    check(bool((numbers == np.rint(numbers)).all()), "its labels are not whole numbers")
    check(len(numbers) == images, f"it has {images} images but {len(numbers)} labels")
    check(images > 0, "it is empty")
    check(numbers.min() >= 0 and numbers.max() < classes, f"its labels go from {numbers.min()} to {numbers.max()}, not 0 to {classes - 1}")
    return numbers.astype(np.int64)


def hold_out(labels: Labels, share: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Split a set that has no test part of its own, class by class, always in the same way.

    Args:
        labels: int64 [N].
        share: how much of each class is held out, rounded to whole images and at least one.

    Returns:
        Indices of the training and of the test part, each in ascending order.

    Example:
        >>> train, test = hold_out(np.arange(20) % 2)
        >>> len(train), np.bincount(test % 2)
        (16, array([2, 2]))
    """
    shuffled = np.random.default_rng(2718).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    counts = np.bincount(labels)
    held = np.where(counts > 1, np.maximum(1, np.round(share * counts)), 0)
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    in_test = rank < np.repeat(held, counts)
    return np.sort(by_class[~in_test]), np.sort(by_class[in_test])
