"""Many image files: looked through for the size that they have in common, and decoded on all cores."""

from __future__ import annotations

import errno
import math
import os
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from scenarios.errors import UserError
from scenarios.sources.base import reading
from scenarios.sources.decoded import Pixels
from scenarios.sources.pixels import GREY, Scale, deep_span, from_image, scale_of, size_upright

LARGEST_KEPT, LARGEST_SCALED = 256, 64
FAR_OFF = 2.0
"""An image that is wider or higher than the common size by this factor, or narrower or lower, is named."""
IN_MEMORY = 1 << 30
"""The most bytes that are decoded in memory where the temporary folder has no room."""
ADVICE = "replace it by an intact image, or take it away"

Open = Callable[[Path], Image.Image]


@dataclass(frozen=True)
class Form:
    """What all images of a set are brought to.

    Attributes:
        width: in pixels.
        height: in pixels.
        grey: one channel instead of three.
        crop: to the middle of other proportions, instead of squeezing it.
    """

    width: int
    height: int
    grey: bool
    crop: bool = True

    def read(self, image: Image.Image, scale: Scale | None = None) -> Pixels:
        """Bring an image to this form.

        Args:
            image: an open image.
            scale: of its numbers, where they are more than 8 bits.

        Returns:
            uint8 [C, H, W].
        """
        plain = from_image(image, self.grey, scale)
        if plain.size != (self.width, self.height):
            how = ImageOps.fit if self.crop else Image.Image.resize
            plain = how(plain, (self.width, self.height), Image.Resampling.BILINEAR)
        pixels = np.asarray(plain)
        return pixels[None] if self.grey else pixels.transpose(2, 0, 1)


def common_form(images: Sequence[Path], size: tuple[int, int] | None) -> tuple[Form, list[str]]:
    """Find what the images of a set are brought to.

    Args:
        images: the files.
        size: width and height that are wanted. For none it is the commonest size, where that is at most 256 pixels wide and high; else,
            and where no two images are of one size, the middle square, scaled to at most 64x64.

    Returns:
        The form, grey where all images are; and what the user should know.
    """
    sizes: dict[Path, tuple[int, int]] = {}
    coloured = 0
    with _no_bombs():
        for path in images:
            with reading(path, ADVICE), Image.open(path) as image:
                sizes[path] = size_upright(image)
                coloured += image.mode not in GREY
    usual, times = _commonest(list(sizes.values()))
    width, height = size or usual
    if size is None and (max(usual) > LARGEST_KEPT or (times == 1 and len(sizes) > 1)):
        width = height = min(LARGEST_SCALED, *usual)
    notes = [_about_sizes(sizes, usual, times, (width, height))] if set(sizes.values()) != {(width, height)} else []
    if 0 < coloured < len(sizes):
        notes.append(f"{len(sizes) - coloured} grey images beside {coloured} in colour: all are read in colour")
    return Form(width, height, grey=not coloured), notes


def _commonest(sizes: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], int]:
    # Of equally common sizes the one in the middle, so that neither the smallest nor the largest image decides.
    counts = Counter(sizes)
    times = max(counts.values())
    tied = sorted((size for size, count in counts.items() if count == times), key=lambda size: (math.prod(size), size))
    return tied[(len(tied) - 1) // 2], times


def _about_sizes(sizes: dict[Path, tuple[int, int]], usual: tuple[int, int], times: int, target: tuple[int, int]) -> str:
    different = len(set(sizes.values()))
    what = f"images of {different} sizes are" if different > 1 else f"images of {usual[0]}x{usual[1]} are"
    why = ", the commonest size" if target == usual and different > 1 else ""
    line = f"{what} cropped to their middle and scaled to {target[0]}x{target[1]}{why} ({times} of {len(sizes)} are {usual[0]}x{usual[1]})"
    ratios = {path: max(own / common for pair in zip(size, usual) for own, common in (pair, pair[::-1])) for path, size in sizes.items()}
    far = [path for path, ratio in ratios.items() if ratio > FAR_OFF]
    if far:
        worst = max(far, key=ratios.__getitem__)
        many = f"{len(far)} are" if len(far) > 1 else "one is"
        line += f"; {many} far off: {worst} has {sizes[worst][0]}x{sizes[worst][1]}"
    return f"{line}; scenario.size=WIDTHxHEIGHT chooses another"


def decode_images(
    images: Sequence[Path], form: Form, report: Callable[[str], None], open_image: Open = Image.open
) -> tuple[Pixels, list[str]]:
    """Decode many image files, on all cores.

    Args:
        images: the files.
        form: what they are brought to.
        report: is told what is in the way.
        open_image: opens one of them.

    Returns:
        uint8 [N, C, H, W], on disk in a file without a name, because the set may exceed the memory; and what the user should know.
    """
    moving: list[Path] = []
    deep: dict[int, tuple[str, float, float]] = {}

    def read(number: int, scale: Scale | None = None) -> Pixels | None:
        path = images[number]
        with reading(path, ADVICE), open_image(path) as image:
            span = deep_span(image)
            if span is not None and scale is None:
                deep[number] = span
                return None
            if image.format != "MPO" and getattr(image, "is_animated", False):
                moving.append(path)
            return form.read(image, scale)

    pixels = room((len(images), 1 if form.grey else 3, form.height, form.width), report)
    with _no_bombs(), ThreadPoolExecutor() as pool:
        for i, image in enumerate(pool.map(read, range(len(images)))):
            if image is not None:
                pixels[i] = image
        # One scale for all images of a kind, so these wait until all have been looked at.
        scales = {kind: _scale(images, {i: span for i, span in deep.items() if span[0] == kind}) for kind, _, _ in deep.values()}
        for i, image in zip(deep, pool.map(lambda i: read(i, scales[deep[i][0]]), deep)):
            assert image is not None
            pixels[i] = image
    return pixels, _about_frames(moving, len(images))


def _scale(images: Sequence[Path], spans: dict[int, tuple[str, float, float]]) -> Scale:
    least, most = (pick(spans, key=lambda i: spans[i][side]) for pick, side in ((min, 1), (max, 2)))
    with reading(images[most], "save it as an ordinary image of 8 bits, or of 16 bits that uses the whole range"):
        others = f" (brightest of {len(spans)} images of more than 8 bits)" if len(spans) > 1 else ""
        return scale_of(spans[most][0], spans[least][1], spans[most][2], f"the range{others}")


def _about_frames(moving: list[Path], of: int) -> list[str]:
    if not moving:
        return []
    return [f"{len(moving)} of {of} images have more than one frame or page ({min(moving)}): the first is read, the others are left out"]


def room(shape: tuple[int, ...], report: Callable[[str], None]) -> Pixels:
    """Make room for images on disk, in a file without a name that goes with the process.

    Args:
        shape: of the array.
        report: is told where they are kept in memory instead.

    Returns:
        uint8 of that shape.

    Raises:
        UserError: there is no room on the disk, and the array is too large to be kept in memory unasked.
    """
    size = math.prod(shape)
    try:
        with tempfile.TemporaryFile() as file:
            _reserve(file.fileno(), size)
            return np.memmap(file, np.uint8, shape=shape)
    except OSError as error:
        reason = f"{size / 1e6:.0f} MB of decoded images find no room in {tempfile.gettempdir()} ({error.strerror})"
        if size > IN_MEMORY:
            raise UserError(f"{reason}; make room there, or let TMPDIR name another folder") from error
        report(f"{reason}; they are kept in memory")
        return np.empty(shape, np.uint8)


def _reserve(file: int, size: int) -> None:
    # Else a full disk is found out when a page is touched, which ends the process.
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file, 0, size)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):  # file systems that know nothing of it
            raise


@contextmanager
def _no_bombs() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield
