"""STL-10 (Coates et al. 2011): 13,000 labelled images of ImageNet in 10 classes, 96x96 colour, from its binary files.

An image is three channels of 96x96 bytes, column by column; labels count from 1. The 100,000 images without labels are not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from scenarios.errors import DataUnavailableError
from scenarios.sources.base import Place, check, checked_labels, reading
from scenarios.sources.decoded import Decoded, Part
from scenarios.sources.listed import fetched
from scenarios.sources.published import Published, Remote

FILES = {
    "train_X.bin": "918c2871b30a85fa023e0c44e0bee87f",
    "train_y.bin": "5a34089d4802c674881badbb80307741",
    "test_X.bin": "7f263ba9f9e0b06b93213547f721ac82",
    "test_y.bin": "36f9794fa4beb8a2c72628de14fa638e",
}
CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")


class Stl10(Published):
    """STL-10 without its unlabelled part."""

    name = "stl10"
    layouts = [[f"{folder}{file}" for file in FILES] for folder in ("stl10_binary/", "stl10/stl10_binary/", "stl10/")]
    remotes = [
        Remote("stl10_binary.tar.gz", "91f7769df0f17e558f3565bffb0c7dfb", ("http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",))
    ]
    checksums = FILES

    def locate(self, place: Place) -> list[Path]:
        """Find the files, or let torchvision fetch and unpack them.

        Args:
            place: where to look.

        Returns:
            Images and labels for training, then for the test.

        Raises:
            DataUnavailableError: they are not there, and cannot be fetched.
        """
        there = replace(place, download=False)
        try:
            return super().locate(there)
        except DataUnavailableError:
            failure = fetched("STL10", place) if place.download else "it is not to be fetched"
            if failure:
                raise DataUnavailableError(self._absence(place.root, f"and cannot be downloaded ({failure})")) from None
            return super().locate(there)

    def decode(self, files: Sequence[Path], place: Place) -> Decoded:
        """Read the four files.

        Args:
            files: images and labels for training, then for the test.
            place: where they were found.

        Returns:
            The set as arrays.
        """
        train, test = (_part(files[i], files[i + 1]) for i in (0, 2))
        return Decoded(train, test, CLASSES, verified=self.verify(files))


def _part(images: Path, labels: Path) -> Part:
    with reading(images):
        data = np.fromfile(images, np.uint8)
        check(len(data) > 0 and len(data) % (3 * 96 * 96) == 0, f"its {len(data)} bytes are not whole images of 3x96x96")
        pixels = data.reshape(-1, 3, 96, 96).transpose(0, 1, 3, 2)
    with reading(labels):
        return Part.of(pixels, checked_labels(np.fromfile(labels, np.uint8).astype(np.int64) - 1, len(CLASSES), len(pixels)))
