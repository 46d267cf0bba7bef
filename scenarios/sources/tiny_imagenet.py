"""Tiny-ImageNet (Le and Yang 2015): 200 classes of ImageNet, 64x64 colour, 500 images a class.

Its validation part is the test here, because the labels of its test part are not public. Classes are in the order of `wnids.txt`, and are
called by their first word in `words.txt`. The archive need not be unpacked.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from scenarios.sources.base import Place, check, reading
from scenarios.sources.decoded import Decoded, Part
from scenarios.sources.pictures import Form, decode_images
from scenarios.sources.published import Published, Remote
from scenarios.sources.walk import content

FOLDER = "tiny-imagenet-200"
FORM = Form(64, 64, grey=False)


class TinyImageNet(Published):
    """Tiny-ImageNet."""

    name = "tiny-imagenet"
    layouts = [[FOLDER], [f"{FOLDER}.zip"], [f"tiny-imagenet/{FOLDER}"], [f"tiny-imagenet/{FOLDER}.zip"]]
    remotes = [Remote(f"{FOLDER}.zip", "90528d7ca1a48142e341f4ef8d21d0de", ("http://cs231n.stanford.edu/tiny-imagenet-200.zip",))]

    def locate(self, place: Place) -> list[Path]:
        """Find the folder or the archive, or download the archive.

        Args:
            place: where to look.

        Returns:
            The archive; or the folder, and all files in it.
        """
        (found,) = super().locate(place)
        if not found.is_dir():
            return [found]
        files = content(found)
        return [found, *files.others, *files.images]

    def decode(self, files: Sequence[Path], place: Place) -> Decoded:
        """Decode the images.

        Args:
            files: the archive or the folder first.
            place: where it was found.

        Returns:
            The set as arrays.
        """
        source = files[0]
        if source.is_dir():
            names = (path.relative_to(source).as_posix() for path in files[1:])
            return self._decode(source, names, lambda name: (source / name).read_bytes(), place, verified=False)
        with reading(source), zipfile.ZipFile(source) as archive:
            prefix = f"{FOLDER}/"
            members = (name.removeprefix(prefix) for name in archive.namelist())
            return self._decode(source, members, lambda name: archive.read(prefix + name), place, self.verify(files[:1]))

    def _decode(self, source: Path, names: Iterable[str], read: Callable[[str], bytes], place: Place, verified: bool) -> Decoded:
        with reading(source):
            wnids = read("wnids.txt").decode().split()
            number = {wnid: i for i, wnid in enumerate(wnids)}
            annotations = [line.split("\t")[:2] for line in read("val/val_annotations.txt").decode().splitlines()]
            train = sorted(name for name in names if name.startswith("train/") and name.endswith(".JPEG"))
            labels = [[number[name.split("/")[1]] for name in train], [number[wnid] for _, wnid in annotations]]
            check(set(labels[0]) == set(labels[1]) == set(number.values()), "it lacks images of some of its classes")
            words = dict(line.split("\t")[:2] for line in read("words.txt").decode().splitlines())
        place.report(f"reading {len(train)} images of {self.name}")
        parts = []

        def opened(path: Path) -> Image.Image:
            return Image.open(io.BytesIO(read(path.relative_to(source).as_posix())))

        for images, numbers in zip((train, [f"val/images/{file}" for file, _ in annotations]), labels):
            paths = [source / name for name in images]
            pixels, _ = decode_images(paths, FORM, place.report, opened)
            parts.append(Part.of(pixels, np.array(numbers)))
        return Decoded(parts[0], parts[1], tuple(words.get(wnid, wnid).split(",")[0] for wnid in wnids), verified=verified)
