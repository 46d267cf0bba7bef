"""Numbers of any kind to bytes: the one place where what an image says is changed.

What is kept is 8 bits a channel, grey or red, green and blue. On the way there

- grey of 16 or 32 bits and fractions are scaled, white to 255, and rounded: 16-bit white is 65535 (`round(x / 257)`), that of fractions 1;
- what is transparent, by an alpha channel, a palette's entry or a named colour, is composited on white;
- an EXIF orientation is undone;
- CMYK, YCbCr, LAB, HSV and palettes become red, green and blue; colour profiles are not looked at.

One scale holds for all numbers of a set that are of one kind. Where numbers cannot be told to be on a scale (negative, not finite, whole
numbers that use a small part of any), they are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image

from scenarios.sources.base import check
from scenarios.sources.decoded import Pixels

DEEP = {"I": "i", "F": "f", "I;16": "i", "I;16B": "i", "I;16L": "i", "I;16N": "i"}
"""Modes of images with more than 8 bits, and the kind of number that they hold."""

GREY = {"1", "L", "LA", "La", *DEEP}
DARKEST = 32
"""A set whose brightest byte is below this is on another scale than bytes, or shows nothing."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ROWS = 1024  # images converted at once


@dataclass(frozen=True)
class Scale:
    """What numbers mean.

    Attributes:
        name: of the scale.
        white: the number that is white; black is 0.
    """

    name: str
    white: float

    def apply(self, numbers: np.ndarray) -> Pixels:
        """Bring numbers to bytes.

        Args:
            numbers: on this scale, of any shape and kind.

        Returns:
            uint8, rounded, of the same shape.

        Example:
            >>> SIXTEEN_BITS.apply(np.array([0, 256, 30000, 65535]))
            array([  0,   1, 117, 255], dtype=uint8)
        """
        if self.white == 255 and numbers.dtype.kind in "iu":
            return numbers.astype(np.uint8)
        if numbers.dtype.itemsize > 4:
            return np.rint(numbers.astype(np.float64) * (255 / self.white)).astype(np.uint8)
        return np.rint(numbers.astype(np.float32) * np.float32(255 / self.white)).astype(np.uint8)


BITS, FRACTIONS = Scale("bits", 1), Scale("fractions", 1)
BYTES, SIXTEEN_BITS = Scale("bytes", 255), Scale("16-bit numbers", 65535)


def scale_of(kind: str, low: float, high: float, of: str) -> Scale:
    """Tell the scale of numbers by their range; to be used inside `reading`.

    Args:
        kind: numpy's letter for the kind of number: b, i, u or f.
        low: the least of all.
        high: the greatest of all.
        of: what they are called.

    Returns:
        Bits for whole numbers up to 1, bytes up to 255, 16-bit numbers above; fractions for real numbers up to 1.

    Example:
        >>> scale_of("u", 0, 65535, "x").name, scale_of("f", 0.0, 0.7, "x").name
        ('16-bit numbers', 'fractions')
    """
    advice = "give bytes from 0 to 255, 16-bit numbers from 0 to 65535 or fractions from 0 to 1"
    check(kind in "biuf", f"{of} holds no numbers; {advice}")
    check(bool(np.isfinite(low) and np.isfinite(high)), f"{of} has numbers that are not finite, and so outside of any range; {advice}")
    span = f"{of} goes from {low:.6g} to {high:.6g}"
    check(low >= 0, f"{span}, and has numbers outside 0 to 255; {advice}")
    if high <= 1:
        return FRACTIONS if kind == "f" else BITS
    check(high >= DARKEST, f"{span}: outside of fractions, and so small a part of bytes that all is but black; {advice}")
    if high <= 255:
        return BYTES
    check(kind != "f", f"{span}, and has numbers outside 0 to 255; {advice}")
    check(high >= 257 * DARKEST, f"{span}: outside 0 to 255, and so small a part of 16 bits that all is but black; {advice}")
    check(high <= 65535, f"{span}: outside 0 to 65535; {advice}")
    return SIXTEEN_BITS


def from_arrays(arrays: Mapping[str, np.ndarray]) -> tuple[Pixels, list[str]]:
    """Bring arrays of images to bytes, all on one scale; to be used inside `reading`.

    Args:
        arrays: by name, [N, H, W], [N, H, W, C] or [N, C, H, W] with 1 or 3 channels.

    Returns:
        uint8 [N, C, H, W], the images of all arrays one after another; and what the user should know.

    Example:
        >>> from_arrays({"x": np.array([[[0.0, 0.5, 1.0]]])})[0].tolist()
        [[[[0, 128, 255]]]]
    """
    laid_out = {name: _channels_first(array, name) for name, array in arrays.items()}
    shapes = {name: array.shape[1:] for name, array in laid_out.items()}
    (first, shape), *others = shapes.items()
    for name, other in others:
        check(other == shape, f"the images of {first} and {name} differ in shape: {shape} and {other} (channels, height, width)")
    # The images themselves: `min` and `max` hand a NaN on.
    spans = {name: (array.dtype.kind, float(array.min()), float(array.max())) for name, array in laid_out.items()}
    scales = {name: scale_of(*span, name) for name, span in spans.items()}
    for name in scales:
        say = f"{first} holds {scales[first].name} up to {spans[first][2]:.6g}, {name} {scales[name].name} up to {spans[name][2]:.6g}"
        check(scales[name] == scales[first], f"{say}; bring them to one scale")
    pixels = np.empty((sum(map(len, laid_out.values())), *shape), np.uint8)
    start = 0
    for array in laid_out.values():
        for chunk in range(0, len(array), _ROWS):
            part = array[chunk : chunk + _ROWS]
            pixels[start : start + len(part)] = scales[first].apply(part)
            start += len(part)
    obvious = {np.dtype(np.uint8): BYTES, np.dtype(np.bool_): BITS}
    said = all(scales[first] == (FRACTIONS if array.dtype.kind == "f" else obvious.get(array.dtype)) for array in laid_out.values())
    white = f"{first} is taken for {scales[first].name}: {scales[first].white:g} is white"
    return pixels, [] if said else [white]


def _channels_first(array: np.ndarray, name: str) -> np.ndarray:
    laid_out = array[:, None] if array.ndim == 3 else array
    check(laid_out.ndim == 4, f"{name} has the shape {array.shape}; give [N, H, W], [N, H, W, C] or [N, C, H, W]")
    check(array.dtype.kind in "biuf", f"{name} holds {array.dtype}, not numbers")
    check(array.size > 0, f"{name} has the shape {array.shape}, and so no pixels")
    first, last = laid_out.shape[1] in (1, 3), laid_out.shape[3] in (1, 3)
    if array.ndim == 4:
        check(first or last, f"{name} has the shape {array.shape}, without 1 or 3 channels; put transparent images on a ground first")
        check(not (first and last), f"{name} has the shape {array.shape}: channels first or last? give images wider and higher than 3")
    return laid_out if first or array.ndim == 3 else laid_out.transpose(0, 3, 1, 2)


def deep_span(image: Image.Image) -> tuple[str, float, float] | None:
    """Look at the numbers of an image that has more than 8 bits; to be used inside `reading`.

    Args:
        image: an open image.

    Returns:
        The kind of its numbers (i or f), the least and the greatest; None for an image of bytes.
    """
    kind = DEEP.get(image.mode)
    if kind is None:
        return None
    numbers = np.asarray(image)
    low, high = float(numbers.min()), float(numbers.max())
    check(bool(np.isfinite(low) and np.isfinite(high)), "it has numbers that are not finite")
    check(low >= 0, f"it has negative numbers, down to {low:.6g}; save it as 8 or 16 bits, or as fractions from 0 to 1")
    return kind, low, high


def from_image(image: Image.Image, grey: bool, scale: Scale | None = None) -> Image.Image:
    """Bring an image to 8 bits a channel, opaque and upright; to be used inside `reading`.

    Args:
        image: an open image.
        grey: to one channel (by ITU-R 601 where it has colour), instead of red, green and blue.
        scale: of its numbers, where they are more than 8 bits (`deep_span`) and those of a whole set are known; else by its own range.

    Returns:
        An image of mode L or RGB.

    Example:
        >>> faint = Image.new("LA", (1, 1), (0, 128))
        >>> from_image(faint, grey=True).getpixel((0, 0))
        127
    """
    mode = "L" if grey else "RGB"
    key = _transparent_colour(image)
    image.load()
    if image.mode in DEEP:
        span = deep_span(image)
        assert span is not None
        numbers = np.asarray(image)
        bytes_ = (scale or scale_of(*span, "it")).apply(numbers)
        if isinstance(key, int):
            bytes_[numbers == key] = 255
        plain = Image.fromarray(bytes_).convert(mode)
    elif image.has_transparency_data:
        if key is not None:
            image.info["transparency"] = key
        plain = _on_white(image).convert(mode)
    elif image.mode == mode:
        plain = image
    elif grey and image.mode in GREY:
        plain = image.convert("L")
    else:
        plain = image.convert("RGB").convert(mode)
    turn = _TURNS.get(orientation(image))
    return plain if turn is None else plain.transpose(turn)


def orientation(image: Image.Image) -> int:
    """How an image is to be turned, as EXIF numbers it.

    Args:
        image: an open image.

    Returns:
        1 for not at all; also where the image says nothing that can be read.
    """
    if image.format == "PNG" and not any("exif" in str(name).lower() or "xmp" in str(name).lower() for name in image.info):
        return 1  # asking a PNG that has none for its EXIF data would decode it
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # bytes of strangers make its parser raise anything
        return 1


def size_upright(image: Image.Image) -> tuple[int, int]:
    """The size that an image has once it stands upright.

    Args:
        image: an open image; it need not be decoded.

    Returns:
        Width and height.
    """
    # A TIFF's size has been turned already.
    width, height = image.size
    return (height, width) if image.format != "TIFF" and orientation(image) in (5, 6, 7, 8) else (width, height)


def _transparent_colour(image: Image.Image) -> int | bytes | tuple[int, ...] | None:
    # PNG names a colour in its file's own bits, which Pillow leaves so when it scales the pixels to 8.
    key = image.info.get("transparency")
    tile = getattr(image, "tile", ())
    bits = str(tile[0][3]) if image.format == "PNG" and tile else ""
    if isinstance(key, int) and image.mode == "L":
        return key * {"L;2": 85, "L;4": 17}.get(bits, 1)
    if isinstance(key, tuple) and ";16" in bits:
        return tuple(int(part) for part in SIXTEEN_BITS.apply(np.array(key)))
    return key


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "1":
        image = _with_key(image.convert("L"), image.info["transparency"])
    elif image.mode in ("La", "RGBa"):
        image = image.convert(image.mode.upper())
    layered = image.convert("RGBA")
    white = Image.new("RGB", image.size, (255, 255, 255))
    white.paste(layered.convert("RGB"), mask=layered.getchannel("A"))
    return white


def _with_key(image: Image.Image, key: object) -> Image.Image:
    image.info["transparency"] = key
    return image
