"""Folders of classes: all image files in them, at any depth, and what else lies there."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scenarios.errors import UserError

ENDINGS = frozenset(".png .apng .jpg .jpeg .jpe .jfif .jp2 .bmp .dib .gif .webp .avif .tif .tiff .tga .ppm .pgm .pbm .pnm".split())
"""Endings of files that are read as images, in small or capital letters."""

ADVICE = "put an intact image in its place, or take it away"


@dataclass
class Leftovers:
    """Files that are left out: counted by ending, the first named.

    Attributes:
        counts: files by their ending.
        first: one of them.
    """

    counts: Counter[str] = field(default_factory=Counter)
    first: Path | None = None

    def add(self, paths: Iterable[Path], what: str = "") -> None:
        """Count files.

        Args:
            paths: the files.
            what: what they are; by default told by their ending.
        """
        for path in paths:
            self.counts[what or ending(path.name) or "without an ending"] += 1
            self.first = self.first or path

    def notes(self) -> list[str]:
        """Say what was left out.

        Returns:
            A line, or none where nothing was.
        """
        if not self.counts:
            return []
        total = sum(self.counts.values())
        kinds = ", ".join(f"{count} {what}" for what, count in self.counts.most_common())
        return [f"{total} {'files are' if total > 1 else 'file is'} left out ({kinds}; {self.first})"]


@dataclass(frozen=True)
class Content:
    """What lies in a folder, at any depth.

    Attributes:
        images: files with an image's ending, in order.
        others: other files, in order.
    """

    images: list[Path]
    others: list[Path]


def content(folder: Path, above: Sequence[tuple[int, int]] = ()) -> Content:
    """Look through a folder and all folders in it. Names with a leading dot are passed over.

    Args:
        folder: where to begin.
        above: the folders that it lies in, as device and inode.

    Returns:
        Its files.

    Raises:
        UserError: an image is no regular file, or a link leads back to where it comes from.
    """
    status = os.stat(folder)
    own = (status.st_dev, status.st_ino)
    if own in above:
        raise UserError(f"{folder} leads back to a folder that it lies in; take the link away")
    found = Content([], [])
    with os.scandir(folder) as entries:
        # Entries know mostly what they are without being asked for it one by one, which counts for 100,000 images.
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = folder / entry.name
            if entry.name.startswith("."):
                continue
            if not entry.is_symlink() and entry.is_file():
                (found.images if ending(entry.name) in ENDINGS else found.others).append(path)
            elif path.is_dir():
                inner = content(path, [*above, own])
                found.images.extend(inner.images)
                found.others.extend(inner.others)
            elif ending(entry.name) in ENDINGS:
                found.images.append(regular(path))
            else:
                found.others.append(path)
    return found


def ending(name: str) -> str:
    """The ending of a file's name.

    Args:
        name: the name.

    Returns:
        In small letters, with the dot; empty where there is none.
    """
    return os.path.splitext(name)[1].lower()


def listed(folder: Path) -> list[Path]:
    """What lies in a folder, names with a leading dot left out.

    Args:
        folder: the folder.

    Returns:
        Files and folders, in the order of their names.
    """
    return [folder / name for name in sorted(os.listdir(folder)) if not name.startswith((".", "__MACOSX"))]


def regular(path: Path) -> Path:
    """Make sure that a file can be read without waiting for somebody to write it.

    Args:
        path: a file.

    Returns:
        The path.

    Raises:
        UserError: it is a broken or looping link, a pipe, a socket or a device.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); {ADVICE}") from error
    if not stat.S_ISREG(mode):
        raise UserError(f"{path} is no regular file; {ADVICE}")
    return path


def class_folders(folder: Path, left: Leftovers) -> dict[str, list[Path]]:
    """Read a folder of class folders.

    Args:
        folder: with a folder for each class.
        left: is told what is left out.

    Returns:
        The images of each class, in the order of the folders' names.

    Raises:
        UserError: a class folder has no image, two have names that look the same, or a link leads nowhere.
    """
    found: dict[str, list[Path]] = {}
    for path in listed(folder):
        if not path.is_dir():
            if path.is_symlink():
                regular(path)  # a link that leads nowhere may have been a class
            left.add([path], "beside the class folders" if ending(path.name) in ENDINGS else "")
            continue
        files = content(path)
        name = unicodedata.normalize("NFC", path.name)
        if not files.images:
            endings = ", ".join(sorted({ending(other.name) or "no ending" for other in files.others})[:5])
            held = f"{len(files.others)} files ({endings})" if files.others else "nothing"
            raise UserError(f"{path} holds {held} and 0 images that can be read; add some, or take it away")
        if name in found:
            raise UserError(f"{folder} has two folders that are called {name}, spelt with other characters; make them one")
        left.add(files.others)
        found[name] = files.images
    return found
