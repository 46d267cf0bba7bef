"""Whatever a file or an array says is brought to bytes in one way; what cannot be told is refused."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from scenarios.sources.pixels import BYTES, deep_span, from_arrays, from_image, scale_of, size_upright

DEEP = np.array([[0, 256], [30000, 65535]])
SCALED = [[0, 1], [117, 255]]
ALPHA = np.array([[0, 255], [128, 255]], np.uint8)
ON_WHITE = [[255, 0], [127, 0]]


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return Image.open(io.BytesIO(stream.getvalue()))


def converted(image: Image.Image, grey: bool = True) -> list[Any]:
    span = deep_span(image)
    scale = None if span is None else scale_of(*span, "it")
    return np.asarray(from_image(image, grey, scale)).tolist()


def grey_png(bits: int, row: bytes, key: int) -> Image.Image:
    """A PNG of two pixels with few or many bits and a transparent grey, which Pillow does not write."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, bits, 0, 0, 0, 0)) + chunk(b"tRNS", struct.pack(">H", key))
    return Image.open(io.BytesIO(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")))


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (DEEP.astype(np.uint16), "PNG"),
        (DEEP.astype(np.uint16), "TIFF"),
        (DEEP.astype(np.int32), "TIFF"),
        (DEEP.astype(">u2"), "TIFF"),
        (DEEP.astype(np.int32), "PPM"),
    ],
)
def test_numbers_of_16_bits_are_scaled_and_not_clipped(array: np.ndarray, kind: str) -> None:
    image = saved(Image.fromarray(array), kind)
    assert image.mode.startswith("I") and converted(image) == SCALED
    assert np.asarray(converted(image, grey=False)).tolist() == np.repeat(np.array(SCALED)[..., None], 3, 2).tolist()


def test_every_number_of_16_bits_is_rounded_to_the_nearest_byte() -> None:
    numbers = np.arange(65536)
    ours, _ = from_arrays({"x": numbers.reshape(1, 256, 256).astype(np.uint16)})
    assert np.array_equal(ours.reshape(-1), np.floor(numbers / 257 + 0.5))


def test_fractions_in_a_file_are_scaled() -> None:
    fractions = np.array([[0.0, 0.25], [0.5, 1.0]], np.float32)
    assert converted(saved(Image.fromarray(fractions), "TIFF")) == [[0, 64], [128, 255]]


@pytest.mark.parametrize("numbers", [[[0.0, np.nan]], [[0.0, np.inf]], [[-1.0, 1.0]], [[0.0, 3.0]], [[0.0, 300.0]]])
def test_fractions_in_a_file_that_are_none_are_refused(numbers: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="finite|negative|fractions"):
        converted(saved(Image.fromarray(np.array(numbers, np.float32)), "TIFF"))


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_what_is_transparent_lies_on_white(mode: str, kind: str) -> None:
    array = np.zeros((2, 2, len(mode)), np.uint8)
    array[..., -1] = ALPHA
    if kind == "WEBP":
        image = saved(Image.fromarray(array, mode), kind, lossless=True, exact=True)
    else:
        image = saved(Image.fromarray(array, mode), kind)
    assert converted(image) == ON_WHITE


@pytest.mark.parametrize("mode", ["La", "RGBa"])
def test_premultiplied_alpha_lies_on_white_too(mode: str) -> None:
    array = np.zeros((2, 2, len(mode)), np.uint8)
    array[..., -1] = ALPHA
    assert converted(Image.fromarray(array, mode.upper()).convert(mode)) == ON_WHITE


def test_transparent_entries_of_palettes_lie_on_white() -> None:
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
    image.putpalette([0] * 768)
    assert converted(saved(image, transparency=bytes([0, 255, 128]))) == ON_WHITE
    for kind in ("PNG", "GIF"):
        assert converted(saved(image, kind, transparency=0)) == [[255, 0], [0, 0]]
    assert converted(saved(image, transparency=bytes([0, 255, 128])).convert("PA")) == ON_WHITE


@pytest.mark.parametrize(
    ("bits", "row", "key", "right"),
    [
        (1, b"\x40", 1, [[0, 255]]),
        (1, b"\x40", 0, [[255, 255]]),
        (2, b"\x60", 1, [[255, 170]]),
        (4, b"\x5a", 5, [[255, 170]]),
        (8, b"\x05\x09", 5, [[255, 9]]),
        (16, struct.pack(">HH", 300, 65535 - 257), 300, [[255, 254]]),
    ],
)
def test_a_transparent_grey_of_any_depth_is_white(bits: int, row: bytes, key: int, right: list[list[int]]) -> None:
    assert converted(grey_png(bits, row, key)) == right


def test_a_transparent_colour_is_white() -> None:
    array = np.array([[[1, 2, 3], [9, 9, 9]]], np.uint8)
    assert converted(saved(Image.fromarray(array), transparency=(1, 2, 3)), grey=False) == [[[255, 255, 255], [9, 9, 9]]]


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_turns_are_undone(turn: int, kind: str) -> None:
    array = np.zeros((10, 20), np.uint8)
    array[:5, :10] = 200
    upright = Image.fromarray(array)
    inverse = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transpositions that lead to what a camera stored
    stored = upright if turn == 1 else upright.transpose(Image.Transpose(inverse[turn]))
    exif = Image.Exif()
    exif[0x0112] = turn
    image = saved(stored.convert("RGB"), kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    assert size_upright(image) == (20, 10)
    assert np.abs(np.array(converted(image)) - array.astype(int)).max() <= (60 if kind == "JPEG" else 0)


def test_an_orientation_that_cannot_be_read_turns_nothing() -> None:
    image = Image.fromarray(np.eye(8, dtype=np.uint8) * 255)
    assert converted(saved(image, exif=b"Exif\0\0 nonsense")) == np.asarray(image).tolist()


def test_colours_of_other_spaces_become_red_green_and_blue() -> None:
    plain = Image.new("RGB", (4, 4), (200, 30, 60))
    profiles = [ImageCms.createProfile(name) for name in ("sRGB", "LAB")]
    lab = ImageCms.applyTransform(plain, ImageCms.buildTransform(*profiles, "RGB", "LAB"))
    for image in (saved(plain.convert("CMYK"), "TIFF"), plain.convert("YCbCr"), plain.convert("HSV"), saved(lab, "TIFF")):
        assert np.abs(np.array(converted(image, grey=False)) - (200, 30, 60)).max() <= 3, image.mode
    assert converted(Image.new("1", (1, 1), 1)) == [[255]]
    assert converted(plain) == np.asarray(plain.convert("L")).tolist()



@pytest.mark.parametrize(
    ("kind", "array"),
    [
        ("bytes", lambda b: b.astype(np.uint8)),
        ("whole numbers", lambda b: b.astype(np.int64)),
        ("16 bits", lambda b: (b.astype(np.int64) * 257).astype(np.uint16)),
        ("16 bits in 32", lambda b: b.astype(np.int32) * 257),
        ("big-endian", lambda b: (b.astype(np.int64) * 257).astype(">u2")),
        ("fractions", lambda b: b / 255),
        ("single", lambda b: (b / 255).astype(np.float32)),
        ("half", lambda b: (b / 255).astype(np.float16)),
        ("real bytes", lambda b: b.astype(np.float32)),
        ("half bytes", lambda b: b.astype(np.float16)),
    ],
)
def test_arrays_of_every_kind_give_the_same_images(kind: str, array: Any) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8))
    images[0, 0] = 255
    ours, notes = from_arrays({"x": array(images)})
    assert np.array_equal(ours[:, 0], images)
    assert len(notes) == (kind in ("whole numbers", "16 bits", "16 bits in 32", "big-endian", "real bytes", "half bytes"))


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int64, np.float32])
def test_images_of_zeros_and_ones_are_black_and_white(dtype: Any) -> None:
    ours, _ = from_arrays({"x": np.eye(4)[None].astype(dtype)})
    assert np.array_equal(ours[0, 0], 255 * np.eye(4))


@pytest.mark.parametrize("high", [2, 16, 31, 256, 300, 1023, 4095, 65536, -1])
@pytest.mark.parametrize("dtype", [np.int32, np.float64])
def test_a_range_that_fits_no_scale_is_refused(high: int, dtype: Any) -> None:
    with pytest.raises(ValueError, match="x goes from|bytes from 0 to 255"):
        from_arrays({"x": np.array([[[0, high]]], dtype)})


@pytest.mark.parametrize(
    "other", [lambda b: b / 255, lambda b: b // 16, lambda b: b // 255, lambda b: b * 257, lambda b: np.zeros_like(b), lambda b: -b]
)
def test_both_sides_have_one_scale(other: Any) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8))
    images[:, 0, 0] = 255
    with pytest.raises(ValueError, match="x_test"):
        from_arrays({"x_train": images, "x_test": other(images)})


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((0, 8, 8)), "no pixels"),
        (np.zeros((4, 0, 8)), "no pixels"),
        (np.zeros((4, 8, 0, 3)), "no pixels"),
        (np.zeros((4, 64)), "give \\[N, H, W\\]"),
        (np.zeros((4, 8, 8, 4)), "without 1 or 3 channels"),
        (np.zeros((4, 3, 8, 3)), "first or last"),
        (np.zeros((4, 8, 8), complex), "not numbers"),
        (np.zeros((4, 8, 8), "U1"), "not numbers"),
        (np.zeros((4, 8, 8), "M8[s]"), "not numbers"),
    ],
)
def test_arrays_of_other_forms_are_refused(array: np.ndarray, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        from_arrays({"x": array})


def test_bytes_are_bytes() -> None:
    assert scale_of("u", 0, 255, "x") == BYTES == scale_of("f", 0, 254.5, "x")
