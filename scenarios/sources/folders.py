"""Any folder of the user's own images.

It holds `train/CLASS/*.png` and `test/CLASS/*.png` (and, for few-shot learning, `val/CLASS/*.png`), or only `CLASS/*.png`: then a fifth of
each class is held out for the test. A class's images may lie in folders of their own. Where no class is in two parts, the parts are the
division of the classes for few-shot learning. Images are brought to the commonest size (`pictures.common_form`) and to bytes (`pixels`);
the set is grey where all images are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from scenarios.errors import UserError
from scenarios.sources.base import Place, Source
from scenarios.sources.decoded import Decoded
from scenarios.sources.own import TEST, TRAIN, VALIDATION, Side, assemble
from scenarios.sources.pictures import common_form, decode_images
from scenarios.sources.walk import ENDINGS, Leftovers, class_folders, content, ending, listed

PARTS = {
    "train": TRAIN,
    "training": TRAIN,
    "val": VALIDATION,
    "valid": VALIDATION,
    "validation": VALIDATION,
    "test": TEST,
    "testing": TEST,
}
LAYOUTS = "lay it out as PATH/train/CLASS/*.png and PATH/test/CLASS/*.png, or as PATH/CLASS/*.png, and say --data folder:PATH"

Found = dict[str, dict[str, list[Path]]]
"""Part to class to images."""


class ImageFolder(Source):
    """A folder of the user's own images."""

    resizes: ClassVar[bool] = True
    version: str = "2"

    def locate(self, place: Place) -> list[Path]:
        """Find the images.

        Args:
            place: with the folder's path, or with the folder in the place of the data folder.

        Returns:
            The folder, and all images in it.
        """
        folder = place.path or place.root
        found, _ = _found(folder)
        return [folder, *(path for classes in found.values() for images in classes.values() for path in images)]

    def decode(self, files: Sequence[Path], place: Place) -> Decoded:
        """Decode all images.

        Args:
            files: the folder, and all images in it.
            place: where they were found, and the size that is wanted.

        Returns:
            The set as arrays.
        """
        folder = files[0]
        found, notes = _found(folder)
        images = [path for classes in found.values() for name in classes for path in classes[name]]
        form, about = common_form(images, place.size)
        pixels, more = decode_images(images, form, place.report)
        where = _parts(folder)
        labels = {part: [name for name in classes for _ in classes[name]] for part, classes in found.items()}
        sides = [Side.of(part, str(where.get(part, folder)), own) for part, own in labels.items()]
        return assemble(str(folder), pixels, sides, [*notes, *about, *more])


def _found(folder: Path) -> tuple[Found, list[str]]:
    # The parts that there are, in the order train, validation, test; a folder without parts is all `train`.
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder with images of two classes: {LAYOUTS}")
    left = Leftovers()
    parts = _parts(folder)
    if not parts:
        found = {TRAIN: class_folders(folder, left)}
    else:
        beside = [path for path in listed(folder) if path not in parts.values()]
        for path in beside:
            left.add(_files(path), f"in {path.name}" if path.is_dir() else "")
        found = {part: class_folders(parts[part], left) for part in (TRAIN, VALIDATION, TEST) if part in parts}
        _check_parts(folder, parts, found)
    if len({name for classes in found.values() for name in classes}) < 2:
        raise UserError(f"{folder} has no images of two classes{_hint(folder)}: {LAYOUTS}")
    return {part: classes for part, classes in found.items() if classes}, [*left.notes(), *_about_depth(found)]


def _parts(folder: Path) -> dict[str, Path]:
    # Folders called like parts, unless they are classes: images in them, and other class folders beside them.
    named: dict[str, Path] = {}
    for path in listed(folder):
        part = PARTS.get(path.name.lower()) if path.is_dir() else None
        if part in named:
            raise UserError(f"{folder} has both {named[part].name} and {path.name}; make them one")
        if part is not None:
            named[part] = path
    flat = [path for path in named.values() if not any(inner.is_dir() for inner in listed(path))]
    others = [path for path in listed(folder) if path.is_dir() and path not in named.values()]
    if flat and len(flat) == len(named) and any(content(path).images for path in others):
        return {}
    for path in flat:
        if any(ending(inner.name) in ENDINGS for inner in listed(path)):
            raise UserError(f"{path} has image files without class folders: {LAYOUTS}")
    return named


def _check_parts(folder: Path, parts: dict[str, Path], found: Found) -> None:
    if not found.get(TRAIN):
        raise UserError(f"{folder} has {' and '.join(path.name for path in parts.values())}, but no images in train/CLASS: {LAYOUTS}")
    if not found.get(TEST):
        where = "put some into test/CLASS" if VALIDATION not in parts else f"call {parts[VALIDATION].name} test, if it is to be that"
        raise UserError(f"{folder} has images in train but none in test: {where}, or drop the folder train")


def _hint(folder: Path) -> str:
    inside = listed(folder)
    images = [path for path in inside if not path.is_dir() and ending(path.name) in ENDINGS]
    if images:
        return f" ({len(images)} image files lie in it without class folders)"
    folders = [path for path in inside if path.is_dir()]
    return f" (is it folder:{folders[0]}?)" if len(folders) == 1 and any(path.is_dir() for path in listed(folders[0])) else ""


def _about_depth(found: Found) -> list[str]:
    # A folder of folders is one class, which may not be what was meant.
    deep = [name for classes in found.values() for name, paths in classes.items() if len({path.parent for path in paths}) > 1]
    return [f"class '{deep[0]}' has its images in several folders; they are one class ({len(deep)} such)"] if deep else []


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    inside = content(path)
    return [*inside.images, *inside.others]
