"""Omniglot (Lake, Salakhutdinov and Tenenbaum 2015): 1,623 handwritten characters of 50 alphabets, each drawn once by 20 people.

The published drawings have 105x105 pixels, black on white. Here they have 28x28, bright ink on black, as in most work on few-shot learning.
The training part is the background set (30 alphabets), the test part the evaluation set (20 alphabets): they share no class. Classes are
numbered jointly, those of the background set first.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from scenarios.sources.base import Place, check, checked_labels, reading
from scenarios.sources.decoded import Decoded, Part
from scenarios.sources.pixels import from_image
from scenarios.sources.published import Published, Remote
from scenarios.sources.walk import content

SIZE = 28
PUBLISHED = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/"
HALVES = ("images_background", "images_evaluation")


class Omniglot(Published):
    """Omniglot."""

    name = "omniglot"
    layouts = [
        [f"{folder}/{half}{suffix}" for half in HALVES]
        for suffix in (".zip", "")
        for folder in ("omniglot-py", "omniglot", "omniglot/python")
    ]
    remotes = [
        Remote(f"omniglot-py/{half}.zip", md5, (f"{PUBLISHED}{half}.zip",))
        for half, md5 in zip(HALVES, ("68d2efa1b9178cc56df9314c21c6e718", "6b91aef0f799c5bb55b94e3f2daec811"))
    ]

    def locate(self, place: Place) -> list[Path]:
        """Find the halves, or download them.

        Args:
            place: where to look.

        Returns:
            The two archives; or the two unpacked folders, and all drawings in them.
        """
        halves = super().locate(place)
        return [*halves, *(path for half in halves if half.is_dir() for path in content(half).images)]

    def decode(self, files: Sequence[Path], place: Place) -> Decoded:
        """Read the drawings of both halves.

        Args:
            files: the archives or the unpacked folders of the background and of the evaluation set, first.
            place: where they were found.

        Returns:
            The set as arrays; a class is called `Alphabet/characterNN`, its group is the alphabet.
        """
        parts, names = [], list[str]()
        for file in files[:2]:
            with reading(file):
                drawings = sorted(_drawings(file), key=lambda drawing: drawing[:2])
                own = sorted({character for character, _, _ in drawings})
                number = {character: len(names) + i for i, character in enumerate(own)}
                names += own
                labels = checked_labels([number[character] for character, _, _ in drawings], len(names), len(drawings))
                parts.append(Part.of(np.stack([pixels for _, _, pixels in drawings])[:, None], labels))
        groups = tuple(name.partition("/")[0] for name in names)
        return Decoded(parts[0], parts[1], tuple(names), groups, self.verify(files[:2]))


def _drawings(source: Path) -> Iterator[tuple[str, str, np.ndarray]]:
    # Character, file name and pixels of each drawing in an archive or a folder.
    if source.is_dir():
        for path in source.glob("*/*/*.png"):
            yield f"{path.parent.parent.name}/{path.parent.name}", path.name, _drawing(path.read_bytes())
        return
    with zipfile.ZipFile(source) as archive:
        for member in archive.namelist():
            parts = PurePosixPath(member).parts
            if member.endswith(".png") and len(parts) == 4:
                yield f"{parts[1]}/{parts[2]}", parts[3], _drawing(archive.read(member))


def _drawing(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        check(image.size == (105, 105), f"a drawing has {image.size[0]}x{image.size[1]} pixels, not 105x105")
        return 255 - np.asarray(from_image(image, grey=True).resize((SIZE, SIZE), Image.Resampling.BILINEAR))
