"""What can be wrong with IDX files, and EMNIST's archive."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest

from scenarios.errors import UserError
from scenarios.sources import load
from scenarios.sources.grey import EmnistLetters
from tests.scenarios.sources.files import IDX_FILES, idx_bytes, write_idx

EMNIST = [f"emnist-letters-{part}-{kind}-ubyte" for part in ("train", "test") for kind in ("images-idx3", "labels-idx1")]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALIMPSEST_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(("folder", "packed"), [("EMNIST/raw", False), ("EMNIST/raw/gzip", True)])
def test_letters_stand_upright_and_count_from_zero(tmp_path: Path, folder: str, packed: bool) -> None:
    expected = write_idx(tmp_path / folder, packed, EMNIST, first=1, classes=26)
    for part, (images, labels) in zip(load("emnist-letters", root=tmp_path), expected):
        assert np.array_equal(part.images.numpy()[:, 0], images.transpose(0, 2, 1))
        assert np.array_equal(part.labels.numpy(), labels) and len(part.class_names) == 26


def test_letters_are_read_from_the_archive_of_all_of_emnist(tmp_path: Path) -> None:
    expected = write_idx(tmp_path / "loose", True, EMNIST, first=1, classes=26)
    (tmp_path / EmnistLetters.remotes[0].file).parent.mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / EmnistLetters.remotes[0].file, "w") as archive:
        archive.writestr("gzip/emnist-digits-train-images-idx3-ubyte.gz", b"other")
        for name in EMNIST:
            archive.write(tmp_path / "loose" / f"{name}.gz", f"gzip/{name}.gz")
    train, _ = load("emnist-letters", root=tmp_path)
    assert np.array_equal(train.labels.numpy(), expected[0][1])


@pytest.mark.parametrize(
    ("broken", "content", "reason"),
    [
        (0, b"", "not an IDX file"),
        (0, b"<html>not found</html>", "not an IDX file"),
        (0, b"\0\0\x08\x03\0\0", "header is cut off"),
        (0, idx_bytes(np.zeros((40, 28, 28)))[:-1], "promises 31360 bytes of data, it has 31359"),
        (0, idx_bytes(np.zeros((40, 28, 28))) + b"\0", "promises"),
        (0, b"\0\0\x08\x03" + b"\xff" * 12, "promises"),
        (0, idx_bytes(np.zeros((40, 27, 28))), "not 28x28"),
        (0, idx_bytes(np.zeros(40)), "not 28x28"),
        (1, idx_bytes(np.zeros(39)), "40 images but 39 labels"),
        (1, idx_bytes(np.full(40, 10)), "labels go from 10 to 10"),
        (1, idx_bytes(np.zeros((40, 2))), "not a list"),
        (2, idx_bytes(np.zeros((0, 28, 28))), "but 30 labels"),
    ],
)
def test_a_file_of_the_wrong_structure_is_one_line_that_names_it(tmp_path: Path, broken: int, content: bytes, reason: str) -> None:
    write_idx(tmp_path / "MNIST" / "raw", packed=False)
    path = tmp_path / "MNIST" / "raw" / IDX_FILES[broken]
    path.write_bytes(content)
    with pytest.raises(UserError, match=reason) as caught:
        load("mnist", root=tmp_path)
    assert "\n" not in str(caught.value) and "intact copy" in str(caught.value)
    assert IDX_FILES[broken] in str(caught.value) or IDX_FILES[broken + 1] in str(caught.value)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("damage", ["cut", "flipped", "not packed"])
def test_a_damaged_packed_file_is_refused(tmp_path: Path, damage: str) -> None:
    write_idx(tmp_path / "MNIST" / "raw")
    path = tmp_path / "MNIST" / "raw" / f"{IDX_FILES[0]}.gz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes({"cut": path.read_bytes()[:-100], "flipped": content, "not packed": gzip.decompress(path.read_bytes())}[damage])
    with pytest.raises(UserError, match=IDX_FILES[0]):
        load("mnist", root=tmp_path)
