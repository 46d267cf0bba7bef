"""SVHN (Netzer et al. 2011): digits of house numbers, 32x32 colour, from the cropped form's two MATLAB files.

The files hold `X` [32, 32, 3, N] and `y` [N, 1], in which the digit 0 is called 10.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scenarios.sources.base import Place, check, checked_labels, reading
from scenarios.sources.decoded import Decoded, Part
from scenarios.sources.published import Published, Remote

PUBLISHED = "http://ufldl.stanford.edu/housenumbers/"
FILES = {"train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373", "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3"}


class Svhn(Published):
    """SVHN without its extra part."""

    name = "svhn"
    layouts = [[f"{folder}{file}" for file in FILES] for folder in ("SVHN/", "svhn/", "SVHN/raw/", "")]
    remotes = [Remote(f"SVHN/{file}", md5, (PUBLISHED + file,)) for file, md5 in FILES.items()]

    def decode(self, files: Sequence[Path], place: Place) -> Decoded:
        """Read the two files.

        Args:
            files: for training and for the test.
            place: where they were found.

        Returns:
            The set as arrays.
        """
        train, test = (_part(file) for file in files)
        return Decoded(train, test, tuple("0123456789"), verified=self.verify(files))


def _part(path: Path) -> Part:
    from scipy.io import loadmat

    with reading(path):
        arrays = loadmat(path, variable_names=["X", "y"])
        images, labels = arrays["X"], arrays["y"]
        check(images.dtype == np.uint8 and images.shape[:3] == (32, 32, 3) and images.ndim == 4, "its X is not uint8 [32, 32, 3, N]")
        digits = labels.reshape(-1)
        check(bool(((digits >= 1) & (digits <= 10)).all()), "its y has other numbers than 1 to 10")
        return Part.of(images.transpose(3, 2, 0, 1), checked_labels(digits % 10, 10, images.shape[3]))
