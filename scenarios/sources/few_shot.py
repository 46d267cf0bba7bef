"""Sets for few-shot learning that may not be redistributed: mini-ImageNet, tiered-ImageNet and CUB, in the layouts that people have.

Under the data folder, in a folder of the set's name (`CUB_200_2011` will do for CUB), the first that is there:

    train/CLASS/*.jpg  val/CLASS/*.jpg  test/CLASS/*.jpg
    train.csv  val.csv  test.csv  images/*.jpg         with the columns filename and label (Ravi and Larochelle 2017)
    NAME.npz                                           with x_train [N, H, W, 3] uint8 and y_train, x_val, y_val, x_test, y_test
    CLASS/*.jpg or images/CLASS/*.jpg                  where the class list of the published split ships with this project

The part for training has the classes to meta-train on, the part for the test all others; a class's group is the side of the split that it
is on. Images are brought to bytes as `pixels` says, in colour, and to 84x84: squeezed, as Ravi and Larochelle do, or for CUB scaled and
cropped to the middle (Chen et al. 2019).
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scenarios.errors import DataUnavailableError
from scenarios.sources.base import Place, Source, check, reading
from scenarios.sources.decoded import Decoded
from scenarios.sources.npz import labels_of
from scenarios.sources.own import TEST, TRAIN, VALIDATION, Side, assemble, in_order
from scenarios.sources.pictures import Form, decode_images
from scenarios.sources.walk import Leftovers, class_folders, content, listed
from scenarios.splits import class_list

SIZE = 84
SIDES = {"train": TRAIN, "val": VALIDATION, "test": TEST}
FOLDERS = {"cub": ("cub", "CUB_200_2011")}

Found = dict[str, dict[str, list[Path]]]
"""Side of the split to class to its files."""


@dataclass(frozen=True)
class FewShotImages(Source):
    """One of the sets.

    Attributes:
        name: of the set, and of its folder.
        crop: scale the shorter edge and crop to the middle, instead of squeezing.
        version: of the decoding.
    """

    name: str
    crop: bool = False
    version: str = "2"

    def locate(self, place: Place) -> list[Path]:
        """Find the set.

        Args:
            place: where to look.

        Returns:
            The .npz; or the folder, and all lists and images in it.

        Raises:
            DataUnavailableError: it is not there.
        """
        for folder in (place.root / name for name in FOLDERS.get(self.name, (self.name,))):
            for archive in (folder / f"{self.name}.npz", folder.with_suffix(".npz")):
                if archive.is_file():
                    return [archive]
            found, _ = self._found(folder)
            if found:
                images = [path for classes in found.values() for own in classes.values() for path in own]
                return [folder, *sorted(folder.glob("*.csv")), *images]
        wanted = place.root / self.name
        raise DataUnavailableError(
            f"'{self.name}' may not be redistributed; put it at {wanted} as train/CLASS/*.jpg, val/CLASS/*.jpg, test/CLASS/*.jpg (or .npz)"
        )

    def decode(self, files: Sequence[Path], place: Place) -> Decoded:
        """Decode the set.

        Args:
            files: what `locate` found.
            place: where it looked.

        Returns:
            The set as arrays.
        """
        if files[0].suffix == ".npz":
            return _from_archive(files[0])
        found, notes = self._found(files[0])
        images = [path for side in SIDES.values() for name in in_order(found[side]) for path in found[side][name]]
        place.report(f"reading {len(images)} images of {self.name}")
        pixels, more = decode_images(images, Form(SIZE, SIZE, grey=False, crop=self.crop), place.report)
        return assemble(self.name, pixels, [_side(side, found[side]) for side in SIDES.values()], [*notes, *more], divided=True)

    def _found(self, folder: Path) -> tuple[Found, list[str]]:
        left = Leftovers()
        return _listed(folder) or _by_side(folder, left) or self._by_class(folder), left.notes()

    def _by_class(self, folder: Path) -> Found:
        names = class_list(self.name)
        if names is None:
            return {}
        side_of = {name: side for side in SIDES.values() for name in getattr(names, side)}
        for base in (folder, folder / "images"):
            found: Found = {side: {} for side in SIDES.values()}
            for path in listed(base) if base.is_dir() else ():
                side = side_of.get(path.name.split(".")[0])
                if side is not None and path.is_dir():
                    found[side][path.name] = content(path).images
            if all(found.values()):
                return found
        return {}


def _side(name: str, classes: dict[str, list[Path]]) -> Side:
    names = in_order(classes)
    numbers = np.repeat(np.arange(len(names)), [len(classes[own]) for own in names]).astype(np.int64)
    return Side(name, name, numbers, names)


def _by_side(folder: Path, left: Leftovers) -> Found:
    if not all((folder / side).is_dir() for side in SIDES):
        return {}
    return {name: class_folders(folder / side, left) for side, name in SIDES.items()}


def _listed(folder: Path) -> Found:
    if not all((folder / f"{side}.csv").is_file() for side in SIDES):
        return {}
    found: Found = {}
    for side, name in SIDES.items():
        classes: dict[str, list[Path]] = {}
        with reading(folder / f"{side}.csv", "it needs the columns filename and label"), open(folder / f"{side}.csv", newline="") as file:
            for row in csv.DictReader(file):
                classes.setdefault(row["label"], []).append(folder / "images" / row["filename"])
        found[name] = classes
    return found


def _from_archive(path: Path) -> Decoded:
    pixels, sides = [], []
    with reading(path, "it needs x_train [N, H, W, 3] and y_train, and the same for val and test"), np.load(path) as arrays:
        for short, side in SIDES.items():
            images, labels = arrays[f"x_{short}"], arrays[f"y_{short}"]
            check(images.dtype == np.uint8 and images.ndim == 4 and images.shape[3] == 3, f"x_{short} is not uint8 [N, H, W, 3]")
            own = Side.of(side, f"y_{short} of {path}", labels_of(labels, f"y_{short}", len(images)))
            # The sides number their classes each for itself.
            sides.append(Side(side, own.where, own.numbers, [f"{short} {name}" for name in own.classes]))
            pixels.append(images.transpose(0, 3, 1, 2))
        check(len({images.shape[1:] for images in pixels}) == 1, "its images differ in shape from side to side")
        return assemble(str(path), np.concatenate(pixels), sides, divided=True)
