"""Sets that others publish: found under the data folder in any of their usual layouts, or downloaded with progress and checksum."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO, ClassVar
from urllib.response import addinfourl

from scenarios.errors import DataUnavailableError
from scenarios.sources.base import Place, Source

TIMEOUT_SECONDS = 8.0
CHUNK = 1 << 20


@dataclass(frozen=True)
class Remote:
    """A published file.

    Attributes:
        file: where it lies under the data folder.
        md5: its published checksum.
        urls: where it is published, in the order to be tried.
    """

    file: str
    md5: str
    urls: tuple[str, ...]


class Published(Source):
    """A set whose files others publish.

    Attributes:
        name: what the set is called in messages.
        layouts: the ways in which the set may lie under the data folder, best first; each names all files that it needs.
        remotes: the files to be downloaded; together they are one of the layouts.
        checksums: the MD5 of published files that a layout has and a download does not bring, by file name.
    """

    name: ClassVar[str]
    layouts: ClassVar[Sequence[Sequence[str]]]
    remotes: ClassVar[Sequence[Remote]]
    checksums: ClassVar[dict[str, str]] = {}

    def locate(self, place: Place) -> list[Path]:
        """Find the files in one of the layouts, or download them.

        Args:
            place: where to look.

        Returns:
            The files of the first layout that is complete.

        Raises:
            DataUnavailableError: no layout is complete, and the download is not wanted or fails.
        """
        for layout in self.layouts:
            if all((place.root / file).exists() for file in layout):
                return [place.root / file for file in layout]
        if not place.download:
            raise DataUnavailableError(self._absence(place.root, "and is not to be downloaded"))
        files = [place.root / remote.file for remote in self.remotes]
        for file, remote in zip(files, self.remotes):
            if not file.exists():
                failure = fetch(remote, file, place.report)
                if failure:
                    raise DataUnavailableError(self._absence(place.root, f"and cannot be downloaded ({failure})"))
        return files

    def verify(self, files: Iterable[Path]) -> bool:
        """Compare files with their published checksums.

        Args:
            files: files of one layout.

        Returns:
            Whether all are as published.
        """
        known = {Path(remote.file).name: remote.md5 for remote in self.remotes} | self.checksums
        return all(file.name in known and known[file.name] == md5(file) for file in files)

    def _absence(self, root: Path, failure: str) -> str:
        names = ", ".join(Path(remote.file).name for remote in self.remotes)
        folder = (root / self.remotes[0].file).parent
        origin = self.remotes[0].urls[0].rpartition("/")[0]
        return (
            f"{self.name} is not under {root} {failure}: get {names} from {origin} and put {'them' if len(self.remotes) > 1 else 'it'} into"
            f" {folder}, or say with --data-root where the sets lie; `--data generated` runs the same protocol without it"
        )


def md5(path: Path) -> str:
    """The checksum by which the usual sets are published.

    Args:
        path: a file.

    Returns:
        Its MD5, hexadecimal.
    """
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def fetch(remote: Remote, file: Path, report: Callable[[str], None]) -> str:
    """Download a file; it appears under its name only when it is complete and has the published checksum.

    Args:
        remote: what to download.
        file: where to put it.
        report: is told how far the download is.

    Returns:
        Why it failed, empty where it did not.
    """
    failure = ""
    for url in remote.urls:
        temporary = None
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.", suffix=".part")
            with os.fdopen(handle, "wb") as out, urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
                digest = _copy(response, out, file.name, report)
            if digest == remote.md5:
                os.chmod(temporary, 0o644)
                os.replace(temporary, file)
                return ""
            failure = f"{url} does not have the published checksum"
        except (OSError, ValueError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            failure = f"{url}: {str(reason).splitlines()[0] if str(reason) else type(error).__name__}"
        finally:
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)
    return failure


def _copy(response: addinfourl, out: BinaryIO, name: str, report: Callable[[str], None]) -> str:
    total = int(response.headers.get("Content-Length") or 0)
    of = f" of {total / 1e6:.0f}" if total else ""
    digest, done, told = hashlib.md5(usedforsecurity=False), 0, 0.0
    while chunk := response.read(CHUNK):
        out.write(chunk)
        digest.update(chunk)
        done += len(chunk)
        if time.monotonic() - told > 0.5:
            report(f"downloading {name}: {done / 1e6:.0f}{of} MB")
            told = time.monotonic()
    report(f"downloaded {name}: {done / 1e6:.0f} MB")
    return digest.hexdigest()
