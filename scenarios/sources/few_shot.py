"""Sets for few-shot learning that may not be redistributed: mini-ImageNet, tiered-ImageNet and CUB, in the layouts that people have.

Under the data folder, in a folder of the set's name (`CUB_200_2011` will do for CUB), the first that is there:

    train/CLASS/*.jpg  val/CLASS/*.jpg  test/CLASS/*.jpg
    train.csv  val.csv  test.csv  images/*.jpg         with the columns filename and label (Ravi and Larochelle 2017)
    NAME.npz                                           with x_train [N, H, W, 3] uint8 and y_train, x_val, y_val, x_test, y_test
    CLASS/*.jpg or images/CLASS/*.jpg                  where the class list of the published split ships with this project

The part for training has the classes to meta-train on, the part for the test all others; a class's group is the side of the split that it
is on. Images are brought to 84x84: squeezed, as Ravi and Larochelle do, or for CUB scaled and cropped to the middle (Chen et al. 2019).
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from scenarios.errors import DataUnavailableError
from scenarios.sources.base import Place, Source, check, reading
from scenarios.sources.decoded import Decoded, Part, Pixels
from scenarios.splits import class_list

SIZE = 84
SIDES = {"train": "train", "val": "validation", "test": "test"}
IMAGES = {".jpg", ".jpeg", ".png", ".bmp"}
FOLDERS = {"cub": ("cub", "CUB_200_2011")}

Found = dict[str, dict[str, Path | list[Path]]]
"""Side of the split to class to its folder or its files."""


@dataclass(frozen=True)
class FewShotImages(Source):
    """One of the sets.

    Attributes:
        name: of the set, and of its folder.
        crop: scale the shorter edge and crop to the middle, instead of squeezing.
    """

    name: str
    crop: bool = False

    def locate(self, place: Place) -> list[Path]:
        """Find the set.

        Args:
            place: where to look.

        Returns:
            The .npz, or the folder and what in it changes when images are added.

        Raises:
            DataUnavailableError: it is not there.
        """
        for folder in (place.root / name for name in FOLDERS.get(self.name, (self.name,))):
            for archive in (folder / f"{self.name}.npz", folder.with_suffix(".npz")):
                if archive.is_file():
                    return [archive]
            found = _listed(folder) or _by_side(folder) or self._by_class(folder)
            if found:
                folders = {own for classes in found.values() for own in classes.values() if isinstance(own, Path)}
                return [folder, *sorted(folder.glob("*.csv")), *sorted(folders)]
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
        found = _listed(files[0]) or _by_side(files[0]) or self._by_class(files[0])
        names = {side: sorted(found[side]) for side in SIDES.values()}
        train = self._part(found, {"train": names["train"]}, 0, place)
        rest = self._part(found, {side: names[side] for side in ("validation", "test")}, len(names["train"]), place)
        return _decoded(train, rest, names)

    def _by_class(self, folder: Path) -> Found:
        names = class_list(self.name)
        if names is None:
            return {}
        side_of = {name: side for side in SIDES.values() for name in getattr(names, side)}
        for base in (folder, folder / "images"):
            found: Found = {side: {} for side in SIDES.values()}
            for path in sorted(base.iterdir()) if base.is_dir() else ():
                side = side_of.get(path.name.split(".")[0])
                if side is not None and path.is_dir():
                    found[side][path.name] = path
            if all(found.values()):
                return found
        return {}

    def _part(self, found: Found, sides: dict[str, list[str]], first: int, place: Place) -> Part:
        classes = [_images(found[side][name]) for side in sides for name in sides[side]]
        paths = [path for files in classes for path in files]
        labels = np.repeat(np.arange(len(classes)) + first, [len(files) for files in classes])
        place.report(f"reading {len(paths)} images of {self.name}")
        # On disk, because tiered-ImageNet exceeds most memories; the file is gone when the array is.
        with tempfile.TemporaryFile() as file:
            pixels: Pixels = np.memmap(file, np.uint8, shape=(len(paths), 3, SIZE, SIZE))
        with ThreadPoolExecutor() as pool:
            for i, image in enumerate(pool.map(self._read, paths)):
                pixels[i] = image
        return Part.of(pixels, labels)

    def _read(self, path: Path) -> Pixels:
        with reading(path, "replace it by an intact image"), Image.open(path) as image:
            coloured = image.convert("RGB")
            if coloured.size != (SIZE, SIZE):
                how = ImageOps.fit if self.crop else Image.Image.resize
                coloured = how(coloured, (SIZE, SIZE), Image.Resampling.BILINEAR)
            return np.asarray(coloured).transpose(2, 0, 1)


def _images(files: Path | list[Path]) -> list[Path]:
    return sorted(path for path in files.iterdir() if path.suffix.lower() in IMAGES) if isinstance(files, Path) else files


def _by_side(folder: Path) -> Found:
    if not all((folder / side).is_dir() for side in SIDES):
        return {}
    return {name: {path.name: path for path in (folder / side).iterdir() if path.is_dir()} for side, name in SIDES.items()}


def _listed(folder: Path) -> Found:
    if not all((folder / f"{side}.csv").is_file() for side in SIDES):
        return {}
    found: Found = {}
    for side, name in SIDES.items():
        classes: dict[str, list[Path]] = {}
        with reading(folder / f"{side}.csv", "it needs the columns filename and label"), open(folder / f"{side}.csv", newline="") as file:
            for row in csv.DictReader(file):
                classes.setdefault(row["label"], []).append(folder / "images" / row["filename"])
        found[name] = dict(classes)
    return found


def _from_archive(path: Path) -> Decoded:
    pixels, labels, names = {}, {}, {}
    with reading(path, "it needs x_train [N, H, W, 3] and y_train, and the same for val and test"), np.load(path) as arrays:
        first = 0
        for short, side in SIDES.items():
            images, of_image = arrays[f"x_{short}"], arrays[f"y_{short}"]
            check(images.dtype == np.uint8 and images.ndim == 4 and images.shape[3] == 3, f"x_{short} is not uint8 [N, H, W, 3]")
            check(of_image.shape == images.shape[:1] and len(of_image) > 0, f"y_{short} has not one label for each image of x_{short}")
            classes, numbers = np.unique(of_image, return_inverse=True)
            pixels[side], labels[side] = images.transpose(0, 3, 1, 2), numbers.reshape(-1) + first
            names[side] = [f"{short} {name}" for name in classes.tolist()]
            first += len(classes)
    rest = [np.concatenate([part["validation"], part["test"]]) for part in (pixels, labels)]
    return _decoded(Part.of(pixels["train"], labels["train"]), Part.of(rest[0], rest[1]), names)


def _decoded(train: Part, rest: Part, names: dict[str, list[str]]) -> Decoded:
    class_names = tuple(name for side in SIDES.values() for name in names[side])
    groups = tuple(side for side in SIDES.values() for _ in names[side])
    return Decoded(train, rest, class_names, groups, verified=False)
