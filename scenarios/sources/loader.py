"""From a set's name to its images: found, decoded once, cached, mapped."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from scenarios.cache import Cache, cache_folder
from scenarios.images import ImageSet
from scenarios.sources.base import Place, Source
from scenarios.sources.decoded import Decoded, Part
from scenarios.sources.registry import sources

OWN = ("npz", "folder")


def load_set(
    name: str, root: Path | None, download: bool, report: Callable[[str], None] | None, path: str | None
) -> tuple[ImageSet, ImageSet]:
    """Load a data set; see `scenarios.sources.load`.

    Args:
        name: the set's name; `npz:PATH` and `folder:PATH` name a set of the user's own and where it lies.
        root: the folder of all data sets, None for the default.
        download: whether absent files may be fetched.
        report: is told, in lines of text, what takes time.
        path: the user's own file or folder, for `folder` and `npz`.

    Returns:
        The training and the test part.
    """
    if path is None and name.partition(":")[0] in OWN:
        name, _, path = name.partition(":")
    kind, options = sources.load(name)
    source: Source = kind(**options)
    place = Place(
        root=Path(root if root is not None else os.environ.get("PALIMPSEST_DATA", "data")).expanduser(),
        path=Path(path).expanduser() if path else None,
        download=download,
        report=report or (lambda line: None),
    )
    files = source.locate(place)
    stamp = _stamp(source.version, files)
    key = hashlib.sha256("".join(str(file.resolve()) for file in files[:1]).encode()).hexdigest()[:12]
    cache = Cache(cache_folder())
    decoded = cache.read(f"{name}-{key}", stamp)
    if decoded is None:
        place.report(f"decoding {name}")
        decoded = cache.write(f"{name}-{key}", stamp, source.decode(files, place))
    shown = place.path.resolve().stem if place.path is not None and name in OWN else name
    return _image_set(shown, source.origin, decoded, decoded.train), _image_set(shown, source.origin, decoded, decoded.test)


def _stamp(version: str, files: Iterable[Path]) -> str:
    facts = [(str(file), status.st_size, status.st_mtime_ns) for file in files for status in [file.stat()]]
    return hashlib.sha256(repr((version, facts)).encode()).hexdigest()


def _image_set(name: str, origin: str, decoded: Decoded, part: Part) -> ImageSet:
    return ImageSet(
        name=name,
        images=torch.from_numpy(part.images if part.images.flags.writeable else part.images.copy()),
        labels=torch.from_numpy(part.labels),
        class_names=decoded.class_names,
        origin=origin,
        fingerprint=part.fingerprint,
        verified=decoded.verified,
        groups=decoded.groups,
    )
