"""Any folder of the user's own images.

It holds `train/CLASS/*.png` and `test/CLASS/*.png`, or only `CLASS/*.png`: then a fifth of each class is held out for
the test. Images of one size that are at most 256 pixels wide and high stay as they are; others are cropped to the middle square and
scaled to one size, that of the smallest, at most 64x64. The set is grey where all images are.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from scenarios.errors import UserError
from scenarios.sources.base import Place, Source, hold_out, reading
from scenarios.sources.decoded import Decoded, Labels, Part, Pixels

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
LARGEST_KEPT, LARGEST_SCALED = 256, 64
ADVICE = "replace it by an intact image, or take it away"


@dataclass(frozen=True)
class Form:
    """What all images of a set are brought to.

    Attributes:
        width: in pixels.
        height: in pixels.
        grey: one channel instead of three.
    """

    width: int
    height: int
    grey: bool

    def read(self, image: Image.Image) -> Pixels:
        """Bring an image to this form.

        Args:
            image: an open image.

        Returns:
            uint8 [C, H, W].
        """
        plain = image.convert("L" if self.grey else "RGB")
        if plain.size != (self.width, self.height):
            plain = ImageOps.fit(plain, (self.width, self.height), Image.Resampling.BILINEAR)
        pixels = np.asarray(plain)
        return pixels[None] if self.grey else pixels.transpose(2, 0, 1)


def decode_images(images: Sequence[Path], form: Form, open_image: Callable[[Path], Image.Image] = Image.open) -> Pixels:
    """Decode many image files, on all cores.

    Args:
        images: the files.
        form: what they are brought to.
        open_image: opens one of them.

    Returns:
        uint8 [N, C, H, W], on disk in a file without a name, because the set may exceed the memory.
    """

    def read(path: Path) -> Pixels:
        with reading(path, ADVICE), open_image(path) as image:
            return form.read(image)

    with tempfile.TemporaryFile() as file:
        pixels: Pixels = np.memmap(file, np.uint8, shape=(len(images), 1 if form.grey else 3, form.height, form.width))
    with ThreadPoolExecutor() as pool:
        for i, image in enumerate(pool.map(read, images)):
            pixels[i] = image
    return pixels


class ImageFolder(Source):
    """A folder of the user's own images."""

    def locate(self, place: Place) -> list[Path]:
        """Find the images.

        Args:
            place: with the folder's path, or with the folder in the place of the data folder.

        Returns:
            The folder, and all images in it.

        Raises:
            UserError: there are no images of two classes.
        """
        folder = place.path or place.root
        classes = _classes(folder / "train") or _classes(folder)
        if len(classes) < 2:
            wanted = "say --data folder:PATH, with PATH/train/CLASS/*.png and PATH/test/CLASS/*.png"
            raise UserError(f"{folder} has no images of two classes: {wanted}")
        return [folder, *_images(classes), *_images(_classes(folder / "test") if (folder / "train").is_dir() else {})]

    def decode(self, files: Sequence[Path], place: Place) -> Decoded:
        """Decode all images.

        Args:
            files: the folder, and all images in it.
            place: where they were found.

        Returns:
            The set as arrays.

        Raises:
            UserError: there are other classes in the test than in training, or nothing for the test.
        """
        folder = files[0]
        split = bool(_classes(folder / "train"))
        learned = _classes(folder / "train" if split else folder)
        tested = _classes(folder / "test") if split else {}
        if split and not tested:
            raise UserError(f"{folder} has images in train but none in test: put some into test/CLASS, or drop the folder train")
        if unknown := sorted(set(tested) - set(learned)):
            raise UserError(f"{folder / 'test' / unknown[0]} has no counterpart in train: add images there, or take it away")
        names = sorted(learned)
        form = _common_form(files[1:])
        pixels = decode_images(_images(learned), form)
        labels = _labels(learned, names)
        if split:
            train, test = Part.of(pixels, labels), Part.of(decode_images(_images(tested), form), _labels(tested, names))
        else:
            keep, held = hold_out(labels)
            train, test = Part.of(pixels[keep], labels[keep]), Part.of(pixels[held], labels[held])
        return Decoded(train, test, tuple(names), verified=False)


def _classes(folder: Path) -> dict[str, list[Path]]:
    if not folder.is_dir():
        return {}
    folders = sorted(path for path in folder.iterdir() if path.is_dir())
    found = {path.name: sorted(file for file in path.iterdir() if file.suffix.lower() in ENDINGS) for path in folders}
    return {name: files for name, files in found.items() if files}


def _images(classes: dict[str, list[Path]]) -> list[Path]:
    return [file for name in sorted(classes) for file in classes[name]]


def _labels(classes: dict[str, list[Path]], names: list[str]) -> Labels:
    return np.repeat([names.index(name) for name in sorted(classes)], [len(classes[name]) for name in sorted(classes)]).astype(np.int64)


def _common_form(images: Sequence[Path]) -> Form:
    sizes, grey = set(), True
    for path in images:
        with reading(path, ADVICE), Image.open(path) as image:
            sizes.add(image.size)
            grey = grey and image.mode in ("1", "L", "LA", "I;16")
    if len(sizes) == 1 and max(max(sizes)) <= LARGEST_KEPT:
        return Form(*sizes.pop(), grey)
    side = min(LARGEST_SCALED, *(min(size) for size in sizes))
    return Form(side, side, grey)
