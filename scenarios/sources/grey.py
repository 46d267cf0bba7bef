"""MNIST and its successors, all in the IDX format: a magic number, the sizes (big-endian), the bytes.

MNIST: LeCun et al. 1998. Fashion-MNIST: Xiao, Rasul and Vollgraf 2017. KMNIST: Clanuwat et al. 2018. EMNIST: Cohen et al. 2017.
EMNIST's files hold the images mirrored at the diagonal; here they stand upright.
"""

from __future__ import annotations

import gzip
import math
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from scenarios.sources.base import Place, check, checked_labels, reading
from scenarios.sources.decoded import Decoded, Part
from scenarios.sources.published import Published, Remote

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def parse_idx(data: bytes) -> np.ndarray:
    """Read an IDX file of bytes; to be used inside `reading`.

    Args:
        data: the whole file, unpacked.

    Returns:
        uint8 array of the shape that the file declares.

    Example:
        >>> parse_idx(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]))
        array([7, 9], dtype=uint8)
    """
    check(len(data) >= 4 and data[:3] == b"\0\0\x08", "it is not an IDX file of bytes")
    dimensions = data[3]
    start = 4 + 4 * dimensions
    check(1 <= dimensions <= 3 and len(data) >= start, "its header is cut off")
    shape = struct.unpack(f">{dimensions}I", data[4:start])
    expected, found = math.prod(shape), len(data) - start
    check(expected == found, f"its header promises {expected} bytes of data, it has {found}")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _pair(images: tuple[Path, bytes], labels: tuple[Path, bytes], first: int, classes: int, transpose: bool = False) -> Part:
    with reading(images[0]):
        pixels = parse_idx(images[1])
        check(pixels.ndim == 3 and pixels.shape[1:] == (28, 28), f"its images are {pixels.shape[1:]}, not 28x28")
    with reading(labels[0]):
        numbers = checked_labels(parse_idx(labels[1]).astype(np.int64) - first, classes, len(pixels))
    return Part.of((pixels.transpose(0, 2, 1) if transpose else pixels)[:, None], numbers)


def _contents(path: Path) -> bytes:
    with reading(path):
        if path.suffix == ".gz":
            with gzip.open(path) as file:
                return file.read()
        return path.read_bytes()


class _Idx(Published):
    """Four IDX files, packed or not."""

    class_names: ClassVar[tuple[str, ...]] = tuple("0123456789")

    def decode(self, files: Sequence[Path], place: Place) -> Decoded:
        """Read the four files.

        Args:
            files: images and labels for training, then for the test.
            place: where they were found.

        Returns:
            The set as arrays.
        """
        read = [(file, _contents(file)) for file in files]
        train, test = (_pair(read[i], read[i + 1], 0, len(self.class_names)) for i in (0, 2))
        return Decoded(train, test, self.class_names, verified=self.verify(files))


def _layouts(folder: str) -> list[list[str]]:
    folders = (f"{folder}/raw", folder, folder.lower())
    return [[f"{place}/{file}{suffix}" for file in FILES] for place in folders for suffix in (".gz", "")]


def _remotes(folder: str, checksums: Sequence[str], *mirrors: str) -> list[Remote]:
    names = [f"{file}.gz" for file in FILES]
    return [Remote(f"{folder}/raw/{name}", md5, tuple(mirror + name for mirror in mirrors)) for name, md5 in zip(names, checksums)]


class Mnist(_Idx):
    """MNIST."""

    name = "mnist"
    layouts = _layouts("MNIST")
    remotes = _remotes(
        "MNIST",
        (
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        ),
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "http://yann.lecun.com/exdb/mnist/",
    )


class FashionMnist(_Idx):
    """Fashion-MNIST."""

    name = "fashion"
    class_names = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
    layouts = _layouts("FashionMNIST")
    remotes = _remotes(
        "FashionMNIST",
        (
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    )


class Kmnist(_Idx):
    """Kuzushiji-MNIST."""

    name = "kmnist"
    class_names = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    layouts = _layouts("KMNIST")
    remotes = _remotes(
        "KMNIST",
        (
            "bdb82020997e1d708af4cf47b453dcf7",
            "e144d726b3acfaa3e44228e80efcd344",
            "5c965bf0a639b31b8f53240b1b52f4d7",
            "7320c461ea6c1c855c0b718fb2a4b134",
        ),
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
    )


class EmnistLetters(Published):
    """EMNIST's letters: 26 classes, upper and lower case together, from the archive of all EMNIST splits or from its unpacked files."""

    name = "emnist-letters"
    layouts = [
        ["EMNIST/raw/gzip.zip"],
        ["EMNIST/gzip.zip"],
        *(
            [
                f"{folder}/emnist-letters-{part}-{kind}-ubyte{suffix}"
                for part in ("train", "test")
                for kind in ("images-idx3", "labels-idx1")
            ]
            for folder in ("EMNIST/raw", "EMNIST/raw/gzip", "EMNIST/gzip", "EMNIST")
            for suffix in (".gz", "")
        ),
    ]
    remotes = [Remote("EMNIST/raw/gzip.zip", "58c8d27c78d21e728a6bc7b3cc06412e", ("https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",))]

    def decode(self, files: Sequence[Path], place: Place) -> Decoded:
        """Read the letters and turn them upright.

        Args:
            files: the archive, or the four IDX files.
            place: where they were found.

        Returns:
            The set as arrays.
        """
        read = [(file, _contents(file)) for file in files] if len(files) == 4 else self._unzip(files[0])
        train, test = (_pair(read[i], read[i + 1], 1, 26, transpose=True) for i in (0, 2))
        return Decoded(train, test, tuple("abcdefghijklmnopqrstuvwxyz"), verified=self.verify(files))

    def _unzip(self, archive: Path) -> list[tuple[Path, bytes]]:
        names = [f"emnist-letters-{part}-{kind}-ubyte.gz" for part in ("train", "test") for kind in ("images-idx3", "labels-idx1")]
        with reading(archive), zipfile.ZipFile(archive) as file:
            members = {Path(member).name: member for member in file.namelist()}
            return [(archive, gzip.decompress(file.read(members[name]))) for name in names]
