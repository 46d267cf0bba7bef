"""Sets of many image files whose lists others publish: found under the data folder, fetched by torchvision, decoded to one size.

Of each set a subclass says where its folder is, what must lie there, and which file belongs to which class. Images have sizes of their
own, mostly large ones: unless `scenario.size` says otherwise they are cropped to the middle and scaled to `side`. Downloads are
torchvision's own, with its checksums; what lies unpacked has none, and counts as not verified.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from scenarios.errors import DataUnavailableError
from scenarios.sources.base import Place, Source, check, reading
from scenarios.sources.decoded import Decoded, Part
from scenarios.sources.pictures import Form, decode_images
from scenarios.sources.walk import regular


@dataclass(frozen=True)
class Listing:
    """The files of a set.

    Attributes:
        train: images to learn from, and the class of each.
        test: images to test on, likewise.
        classes: the classes' names.
        groups: a coarse group of each class, where there are any.
        sections: how many of the images to learn from each recording session has, where they lie session by session.
    """

    train: Sequence[tuple[Path, int]]
    test: Sequence[tuple[Path, int]]
    classes: tuple[str, ...]
    groups: tuple[str, ...] | None = None
    sections: tuple[int, ...] | None = None


class Listed(Source):
    """A set of image files.

    Attributes:
        name: what the set is called.
        folders: where it may lie under the data folder, best first.
        needed: what must lie there.
        origin_url: where it is published.
        side: what images are brought to where the user says nothing.
        fetchers: torchvision's classes and arguments that download it; none where torchvision does not.
    """

    resizes: ClassVar[bool] = True
    name: ClassVar[str]
    folders: ClassVar[Sequence[str]]
    needed: ClassVar[Sequence[str]]
    origin_url: ClassVar[str]
    side: ClassVar[int] = 64
    fetchers: ClassVar[Sequence[tuple[str, Mapping[str, Any]]]] = ()

    @abstractmethod
    def listing(self, folder: Path) -> Listing:
        """Read the set's lists; called inside `reading`.

        Args:
            folder: of the set.

        Returns:
            Its files.
        """

    def locate(self, place: Place) -> list[Path]:
        """Find the set, or let torchvision fetch it.

        Args:
            place: where to look.

        Returns:
            The folder, and all images of the set.

        Raises:
            DataUnavailableError: it is not there, and not to be fetched.
        """
        folder = self._folder(place.root)
        if folder is None:
            self._fetch(place)
            folder = self._folder(place.root)
            if folder is None:
                raise DataUnavailableError(self._absence(place, "and the download did not bring all of it"))
        listing = self._listed(folder)
        return [folder, *(path for path, _ in (*listing.train, *listing.test))]

    def decode(self, files: Sequence[Path], place: Place) -> Decoded:
        """Decode all images.

        Args:
            files: the folder, and all images.
            place: where they were found, and the size that is wanted.

        Returns:
            The set as arrays.
        """
        listing = self._listed(files[0])
        width, height = place.size or (self.side, self.side)
        place.report(f"reading {len(files) - 1} images of {self.name} as {width}x{height}")
        pixels, notes = decode_images([path for path, _ in (*listing.train, *listing.test)], Form(width, height, grey=False), place.report)
        first = len(listing.train)
        parts = [
            Part.of(own, np.array([label for _, label in side]))
            for own, side in ((pixels[:first], listing.train), (pixels[first:], listing.test))
        ]
        return Decoded(parts[0], parts[1], listing.classes, listing.groups, False, tuple(notes), listing.sections)

    def _listed(self, folder: Path) -> Listing:
        with reading(folder, f"lay it out as torchvision does, from {self.origin_url}, or take the folder away to have it fetched again"):
            listing = self.listing(folder)
            for side, files in (("training", listing.train), ("test", listing.test)):
                there = {label for _, label in files}
                check(len(files) > 0 and max(there) < len(listing.classes), f"its list of {side} images is empty, or of other classes")
                for path, _ in files:
                    regular(path)
        return listing

    def _folder(self, root: Path) -> Path | None:
        for name in self.folders:
            if all((root / name / part).exists() for part in self.needed):
                return root / name
        return None

    def _fetch(self, place: Place) -> None:
        if not place.download or not self.fetchers:
            raise DataUnavailableError(
                self._absence(place, "and is not to be downloaded" if self.fetchers else "and must be laid out by you")
            )
        for kind, arguments in self.fetchers:
            failure = fetched(kind, place, **arguments)
            if failure:
                raise DataUnavailableError(self._absence(place, f"and cannot be downloaded ({failure})"))

    def _absence(self, place: Place, failure: str) -> str:
        where = place.root / self.folders[0]
        return (
            f"{self.name} is not under {place.root} {failure}: get it from {self.origin_url} and unpack it to {where} (with "
            f"{', '.join(self.needed)}), or say with --data-root where the sets lie; `--data generated` runs the same protocol without it"
        )


def fetched(kind: str, place: Place, **arguments: Any) -> str:
    """Let torchvision fetch a set, and check and unpack it.

    Args:
        kind: torchvision's class.
        place: where the set is to lie.
        arguments: further ones of that class.

    Returns:
        Why it failed, empty where it did not.
    """
    import torchvision

    place.report(f"torchvision fetches {kind} into {place.root}")
    try:
        getattr(torchvision.datasets, kind)(str(place.root), download=True, **arguments)
    except Exception as error:  # networks and servers make it raise anything
        return (str(error) or type(error).__name__).splitlines()[0]
    return ""
