"""The digits that scikit-learn ships: real handwriting without a download.

1,797 digits of 8x8 pixels with 17 grey levels (Alpaydin and Kaynak 1998: the test part of "Optical Recognition of Handwritten Digits"
in the UCI repository). They come in one piece; a fifth of each class is held out for the test, always the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from scenarios.sources.base import Place, Source, hold_out
from scenarios.sources.decoded import Decoded, Part


class Digits(Source):
    """scikit-learn's digits."""

    origin: ClassVar[str] = "embedded"

    def locate(self, place: Place) -> list[Path]:
        """Nothing is to be found: the digits come with scikit-learn.

        Args:
            place: where others would look.

        Returns:
            An empty list.
        """
        return []

    def decode(self, files: Sequence[Path], place: Place) -> Decoded:
        """Take the digits from scikit-learn, bright ink, 0..16 stretched to 0..255.

        Args:
            files: none.
            place: where others would look.

        Returns:
            The set as arrays.
        """
        from sklearn.datasets import load_digits

        bunch = load_digits()
        images = np.round(bunch.images[:, None] * (255 / 16)).astype(np.uint8)
        labels = bunch.target.astype(np.int64)
        train, test = hold_out(labels)
        return Decoded(Part.of(images[train], labels[train]), Part.of(images[test], labels[test]), tuple("0123456789"))
