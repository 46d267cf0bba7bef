"""Characters of many scripts, rendered from the fonts that matplotlib ships: hundreds of classes without a download.

A class is a letter or a digit without an accent of its own that at least eight faces can draw and that does not look like an earlier one
(a Greek capital alpha is a Latin A). Its script is its group. It has 20 images: its faces in turn, each glyph turned, slanted, scaled and
shifted a little. What a class looks like depends on nothing but the fonts. Four images of each class are held out for the test.
Fonts that put their glyphs under other characters' code points (Computer Modern), or placeholders there (LastResort), are left out.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image, ImageFont

from scenarios.sources.base import Place, Source, hold_out
from scenarios.sources.decoded import Decoded, Part

FACES = ("DejaVuSans*.ttf", "DejaVuSerif*.ttf", "STIXGeneral*.ttf")
SCRIPTS = ("DIGIT", "LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "GEORGIAN", "LAO")
MIN_FACES, IMAGES = 8, 20
SIZE, OVERSAMPLING = 28, 3
POINTS, MARGIN = 60, 8
"""Size of the font and margin of the largest glyphs, in pixels of the oversampled image."""


@dataclass(frozen=True)
class Face:
    """One font.

    Attributes:
        font: the font, at the size that it is drawn in.
        characters: what it has glyphs for.
    """

    font: ImageFont.FreeTypeFont
    characters: frozenset[str]

    @classmethod
    def of(cls, path: Path) -> Face:
        """Open a font.

        Args:
            path: its file.

        Returns:
            The face.
        """
        from matplotlib.ft2font import FT2Font

        characters = frozenset(chr(code) for code, glyph in FT2Font(str(path)).get_charmap().items() if glyph)
        return cls(ImageFont.truetype(str(path), POINTS, layout_engine=ImageFont.Layout.BASIC), characters)

    def glyph(self, character: str) -> Image.Image:
        """Draw a character.

        Args:
            character: a character that the face has.

        Returns:
            An image of the glyph's own size, bright ink; without pixels if the glyph is blank.
        """
        left, top, right, bottom = self.font.getbbox(character)
        if right <= left or bottom <= top:
            return Image.new("L", (0, 0))
        mask = self.font.getmask(character)
        drawn = Image.frombytes("L", mask.size, bytes(mask))
        return drawn.crop(drawn.getbbox() or (0, 0, 0, 0))


class Glyphs(Source):
    """Characters of matplotlib's fonts."""

    origin: ClassVar[str] = "embedded"

    def locate(self, place: Place) -> list[Path]:
        """Find matplotlib's fonts.

        Args:
            place: where others would look.

        Returns:
            The font files.
        """
        from matplotlib import get_data_path

        folder = Path(get_data_path()) / "fonts" / "ttf"
        return sorted(path for pattern in FACES for path in folder.glob(pattern))

    def decode(self, files: Sequence[Path], place: Place) -> Decoded:
        """Render the characters.

        Args:
            files: the fonts.
            place: is told what takes time.

        Returns:
            The set as arrays; the group of a class is its script.
        """
        faces = [Face.of(file) for file in files]
        classes = _distinct(faces)
        place.report(f"rendering {len(classes)} characters")
        images = np.stack([image for character, able in classes.items() for image in _draw(character, able)])[:, None]
        labels = np.repeat(np.arange(len(classes)), IMAGES)
        train, test = hold_out(labels)
        groups = tuple(_script(character).capitalize() for character in classes)
        return Decoded(Part.of(images[train], labels[train]), Part.of(images[test], labels[test]), tuple(classes), groups)


def _script(character: str) -> str:
    return unicodedata.name(character, "").partition(" ")[0]


def _distinct(faces: Sequence[Face]) -> dict[str, list[Face]]:
    # The classes, in the order of their code points, each with the faces that draw it.
    classes: dict[str, list[Face]] = {}
    seen = set()
    for character in sorted(set().union(*(face.characters for face in faces))):
        plain = unicodedata.category(character) in ("Lu", "Ll", "Lo", "Nd") and not unicodedata.decomposition(character)
        if not plain or _script(character) not in SCRIPTS:
            continue
        able = [face for face in faces if character in face.characters]
        if len(able) < MIN_FACES:
            continue
        glyph = able[0].glyph(character)
        look = (able[0], glyph.size, glyph.tobytes())
        if 0 not in glyph.size and look not in seen:
            seen.add(look)
            classes[character] = able
    return classes


def _draw(character: str, faces: Sequence[Face]) -> list[np.ndarray]:
    generator = np.random.default_rng((1623, ord(character)))
    glyphs = [glyph for glyph in (face.glyph(character) for face in faces) if 0 not in glyph.size]
    order = generator.permutation(len(glyphs))
    return [_jittered(glyphs[order[i % len(glyphs)]], generator) for i in range(IMAGES)]


def _jittered(glyph: Image.Image, generator: np.random.Generator) -> np.ndarray:
    # The glyph, centred, under a small random affine map.
    whole = SIZE * OVERSAMPLING
    angle = math.radians(generator.uniform(-12, 12))
    slant = generator.uniform(-0.15, 0.15)
    scale = generator.uniform(0.85, 1.1, size=2) * min(1.0, (whole - 2 * MARGIN) / max(glyph.size))
    shift = generator.uniform(-0.06, 0.06, size=2) * whole
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    inverse = np.linalg.inv(turn @ np.array([[1, slant], [0, 1]]) @ np.diag(scale))
    start = np.array(glyph.size) / 2 - inverse @ (whole / 2 + shift)
    matrix = (*inverse[0], start[0], *inverse[1], start[1])
    placed = glyph.transform((whole, whole), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return np.asarray(placed.reduce(OVERSAMPLING))
