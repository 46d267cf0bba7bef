"""From a set's name to its images: found, decoded once, cached, mapped."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from scenarios.cache import Cache, cache_folder
from scenarios.errors import LONGEST_LINE, UserError, shortened
from scenarios.images import ImageSet
from scenarios.sources.base import Place, Source
from scenarios.sources.decoded import POISONED, Decoded, Part
from scenarios.sources.registry import sources

OWN = ("npz", "folder")
FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
"""What the operating system says of a disk without room."""


def load_set(
    name: str,
    root: Path | None,
    download: bool,
    report: Callable[[str], None] | None,
    path: str | None,
    size: tuple[int, int] | None = None,
) -> tuple[ImageSet, ImageSet]:
    """Load a data set; see `scenarios.sources.load`.

    Args:
        name: the set's name; `npz:PATH` and `folder:PATH` name a set of the user's own and where it lies.
        root: the folder of all data sets, None for the default.
        download: whether absent files may be fetched.
        report: is told, in lines of text, what takes time.
        path: the user's own file or folder, for `folder` and `npz`.
        size: width and height that a folder's images are brought to; none for the commonest.

    Returns:
        The training and the test part.

    Raises:
        UserError: a file cannot be read, or is not what the set needs.
        OSError: the disk is full.
    """
    if path is None and name.partition(":")[0] in OWN:
        name, _, path = name.partition(":")
    if path is None and name not in sources.rows and (name.endswith(".npz") or "/" in name):
        raise UserError(f"'{name}' is a path, not a data set's name; write {'npz' if name.endswith('.npz') else 'folder'}:{name}")
    kind, options = sources.load(name)
    source: Source = kind(**options)
    log = logging.getLogger("scenarios")
    say = report or log.warning
    try:
        place = Place(
            root=data_root(root),
            path=Path(path).expanduser() if path else None,
            download=download,
            report=report or log.info,
            size=size,
        )
        if root is not None and not place.root.is_dir() and place.path is None:
            say(f"the data root {place.root} is no folder" + ("" if source.origin == "real" else f"; nothing is read from it for {name}"))
        decoded = _decoded(name, source, place, Cache(cache_folder(), say))
    except RuntimeError as error:
        raise UserError(f"'~' stands for no folder here ({error}); give the whole path") from error
    except OSError as error:
        if error.errno in FULL:
            raise
        raise UserError(f"{name} cannot be read: {error.filename or place.path or place.root}: {error.strerror or error}") from error
    for note in decoded.notes:
        say(shortened(note, LONGEST_LINE))
    shown = place.path.resolve().stem if place.path is not None and name in OWN else name
    return _image_set(shown, source.origin, decoded, decoded.train), _image_set(shown, source.origin, decoded, decoded.test)


def data_root(given: Path | str | None) -> Path:
    """Where data sets lie.

    Args:
        given: what the user says; None for the environment variable PALIMPSEST_DATA, then `./data`.

    Returns:
        The folder; whether there is one is not looked at.
    """
    return Path(given if given is not None else os.environ.get("PALIMPSEST_DATA") or "data").expanduser()


def _decoded(name: str, source: Source, place: Place, cache: Cache) -> Decoded:
    files = source.locate(place)
    if not source.cached:
        return source.decode(files, place)
    stamp = _stamp((source.version, place.size if source.resizes else None), files)
    key = hashlib.sha256(b"".join(os.fsencode(file.resolve()) for file in files[:1])).hexdigest()[:12]
    kept = f"{name}-{key}"
    decoded = cache.read(kept, stamp)
    if decoded is None:
        with cache.locked(kept):
            decoded = cache.read(kept, stamp)  # another process may have been quicker
            if decoded is None:
                place.report(f"decoding {name}")
                decoded = cache.write(kept, stamp, source.decode(files, place))
    return decoded


def _stamp(version: object, files: Iterable[Path]) -> str:
    facts = []
    for file in files:
        try:
            status = file.stat()
        except OSError as error:
            raise UserError(f"{file} cannot be read ({error.strerror}); put an intact file in its place, or take it away") from error
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            raise UserError(f"{file} is neither a file nor a folder; put an intact file in its place, or take it away")
        # A file that is written over keeps no ctime, whatever its mtime is set to.
        facts.append((str(file), status.st_size, status.st_mtime_ns, status.st_ctime_ns))
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
        sections=decoded.sections if part is decoded.train else None,
        poisoned=any(note.startswith(POISONED) for note in decoded.notes),
    )
