"""What a source's files are decoded to: arrays, checked once, that the cache keeps and every run shares."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

POISONED = "altered by an adversary"
"""A note that begins so marks a set that is not clean."""

Pixels = NDArray[np.uint8] | NDArray[np.float32] | NDArray[np.float16]
Labels = NDArray[np.int64]
KEPT = (np.dtype(np.uint8), np.dtype("<f4"), np.dtype("<f2"))
"""Types of number that a set is kept in: bytes for images, the others for features."""


@dataclass(frozen=True, eq=False)
class Part:
    """The training or the test part of a set.

    Attributes:
        images: uint8 [N, C, H, W], or features, float32 or float16 [N, F, 1, 1]; contiguous.
        labels: int64 [N].
        fingerprint: SHA-256 of the pixels' bytes, then the labels' (little-endian), hexadecimal.
    """

    images: Pixels
    labels: Labels
    fingerprint: str

    @classmethod
    def of(cls, images: NDArray[np.generic], labels: NDArray[np.generic]) -> Part:
        """Bring decoded arrays to their form and take their fingerprint.

        Args:
            images: uint8 [N, C, H, W], or features, float32 or float16 [N, F, 1, 1].
            labels: whole numbers [N].

        Returns:
            The part.

        Example:
            >>> Part.of(np.zeros((2, 1, 4, 4), np.uint8), np.array([0, 1])).labels.dtype
            dtype('int64')
        """
        assert images.dtype in KEPT and images.ndim == 4 and len(images) == len(labels), (images.dtype, images.shape, labels.shape)
        pixels = np.ascontiguousarray(images)
        numbers = np.ascontiguousarray(labels, dtype="<i8")
        digest = hashlib.sha256(pixels.data)
        digest.update(numbers.data)
        return cls(pixels, numbers, digest.hexdigest())


@dataclass(frozen=True, eq=False)
class Decoded:
    """A whole set.

    Attributes:
        train: what is learned from.
        test: what is judged by.
        class_names: the classes, in the order of the labels.
        groups: a coarse group of each class, where the set has them.
        verified: whether all files had the published checksums.
        notes: what was done to the files or left out of them that the user should know, in lines of text.
        sections: how many training images each recording session has, where they lie session by session.
    """

    train: Part
    test: Part
    class_names: tuple[str, ...]
    groups: tuple[str, ...] | None = None
    verified: bool = True
    notes: tuple[str, ...] = ()
    sections: tuple[int, ...] | None = None
