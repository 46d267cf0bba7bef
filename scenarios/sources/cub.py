"""CUB-200-2011 (Wah et al. 2011) as a stream has it: 200 species, the published division of each into training and test images.

`cub` is the same set with its classes divided for few-shot learning.
"""

from __future__ import annotations

from pathlib import Path

from scenarios.sources.base import check
from scenarios.sources.listed import Listed, Listing


class Cub200(Listed):
    """CUB-200-2011: 11,788 photographs of 200 species of birds, 5,994 of them to learn from."""

    name = "cub200"
    folders = ("CUB_200_2011", "cub")
    needed = ("images", "images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt")
    origin_url = "https://www.vision.caltech.edu/datasets/cub_200_2011/"
    side = 84

    def listing(self, folder: Path) -> Listing:
        """Read the four lists, each of lines of a number and what it stands for.

        Args:
            folder: of the set.

        Returns:
            Its files.
        """
        paths, labels, sides, names = (
            dict(line.split(maxsplit=1) for line in (folder / f"{name}.txt").read_text().splitlines() if line.strip())
            for name in ("images", "image_class_labels", "train_test_split", "classes")
        )
        check(paths.keys() == labels.keys() == sides.keys(), "its lists are of different images")
        files = [(folder / "images" / paths[number].strip(), int(labels[number]) - 1, sides[number].strip() == "1") for number in paths]
        train = [(path, label) for path, label, learned in files if learned]
        test = [(path, label) for path, label, learned in files if not learned]
        return Listing(train, test, tuple(name.strip().partition(".")[2] for name in names.values()))
