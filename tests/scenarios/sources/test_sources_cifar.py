"""What can be wrong with CIFAR's files, and pickles written by hand."""

from __future__ import annotations

import io
import pickle
import pickletools
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scenarios.errors import UserError
from scenarios.sources import load
from scenarios.sources.unpickle import unpickle
from tests.scenarios.sources.files import python2_batch, random_images, write_cifar


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALIMPSEST_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("size", [0, 1, 3073 * 20 - 1, 3072 * 20])
def test_a_cut_binary_batch_is_refused(tmp_path: Path, size: int) -> None:
    write_cifar(tmp_path, 10, "bin")
    path = tmp_path / "cifar-10-batches-bin" / "data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(UserError, match="data_batch_3.bin cannot be used"):
        load("cifar10", root=tmp_path)


def test_labels_out_of_range_are_refused(tmp_path: Path) -> None:
    write_cifar(tmp_path, 10, "bin")
    path = tmp_path / "cifar-10-batches-bin" / "test_batch.bin"
    path.write_bytes(b"\x0a" + path.read_bytes()[1:])
    with pytest.raises(UserError, match="labels go from 0 to 10, not 0 to 9"):
        load("cifar10", root=tmp_path)


@pytest.mark.parametrize("form", ["py.tar.gz", "bin.tar.gz"])
def test_a_cut_archive_is_refused(tmp_path: Path, form: str) -> None:
    write_cifar(tmp_path, 100, form)
    (path,) = tmp_path.glob("*.tar.gz")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=path.name):
        load("cifar100", root=tmp_path)


def test_an_archive_without_all_batches_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("readme.html"), io.BytesIO())
    with pytest.raises(UserError, match="it lacks data_batch_1"):
        load("cifar10", root=tmp_path)


def refuse(tmp_path: Path, batch: bytes, reason: str) -> None:
    """A CIFAR-100 whose test batch is this must be refused in one line, and nothing be kept."""
    write_cifar(tmp_path, 100, "py")
    (tmp_path / "cifar-100-python" / "test").write_bytes(batch)
    with pytest.raises(UserError, match=reason) as caught:
        load("cifar100", root=tmp_path)
    assert str(tmp_path / "cifar-100-python" / "test") in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "cache").exists()


IMAGES, LABELS = random_images(4, (3072,), 4)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([1, 2], "has no 'data'"),
        ({"data": IMAGES}, "no 'fine_labels'"),
        ({"data": IMAGES[:, :-1], "fine_labels": LABELS.tolist()}, "rows of 3072"),
        ({"data": IMAGES.astype(np.float64), "fine_labels": LABELS.tolist()}, "rows of 3072"),
        ({"data": IMAGES.tolist(), "fine_labels": LABELS.tolist()}, "rows of 3072"),
        ({"data": IMAGES, "fine_labels": [0, 1, 2]}, "4 images but 3 labels"),
        ({"data": IMAGES, "fine_labels": [0, 1, 2, 100]}, "labels go from 0 to 100"),
        ({"data": IMAGES, "fine_labels": [0, 1, 2, -1]}, "labels go from -1"),
        ({"data": IMAGES, "fine_labels": ["a"] * 4}, "not a list of whole numbers"),
        ({"data": np.array([None] * 4), "fine_labels": [0] * 4}, "an array of 'O8'"),
    ],
)
def test_a_batch_of_the_wrong_structure_is_refused(tmp_path: Path, content: Any, reason: str) -> None:
    refuse(tmp_path, pickle.dumps(content, protocol=2), reason)


@pytest.mark.parametrize("cut", [0, 1, 100, -1, -5000])
def test_a_cut_pickle_is_refused(tmp_path: Path, cut: int) -> None:
    refuse(tmp_path, pickle.dumps({"data": IMAGES, "fine_labels": LABELS.tolist()}, protocol=2)[:cut], "cannot be used")


ENCODE = b"c_codecs\nencode\n"


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (ENCODE + b"(V../../x\nVrot13\ntR.", "encodes text as 'rot13'"),
        (b"\x80\x04\x8c\x05numpy\x8c\x0fndarray.__class\x93.", "has no use for"),
        (b"cnumpy.core.multiarray\nscalar\n.", "has no use for"),
        (b"cnumpy.lib.npyio\nload\n.", "has no use for"),
        (b"cnumpy\nload\n.", "has no use for"),
        (b"cevil.multiarray\n_reconstruct\n.", "has no use for"),
        (b"cnumpy.core.multiarray.builtins\neval\n.", "has no use for"),
        (ENCODE + b"}V__defaults__\n(Vrot13\ntsb.", "tries to change"),
        (ENCODE + b"N}V__code__\nNs\x86b.", "tries to change"),
        (b"\x80\x02" + ENCODE + b")\x81.", "cannot be used"),
        (b"\x80\x02\x82\x01.", "cannot be used"),
        (b"Pelsewhere\n.", "cannot be used"),
        (b"\x80\x02]q\x00h\x00a.", "depth|recursion|has no"),
        (b"cnumpy\ndtype\n(Vu1\nK\x00K\x01tR(K\x03V!!\nNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb.", "cannot be used"),
    ],
)
def test_a_pickle_written_by_hand_is_refused(tmp_path: Path, program: bytes, reason: str) -> None:
    refuse(tmp_path, program, reason)


def test_a_refused_pickle_leaves_the_unpickler_as_it_was(tmp_path: Path) -> None:
    for program in (ENCODE + b"}V__defaults__\n(Vrot13\ntsb.", b"cnumpy\ndtype\n}Vcode\nVO\nsb."):
        with pytest.raises(pickle.UnpicklingError):
            unpickle(io.BytesIO(program))
    assert np.array_equal(unpickle(io.BytesIO(pickle.dumps(IMAGES, protocol=2))), IMAGES)


def test_the_array_of_a_pickle_must_have_the_bytes_that_it_promises() -> None:
    batch = python2_batch(IMAGES, LABELS.tolist(), "labels")
    promised = batch.replace(b"J\x04\x00\x00\x00J\x00\x0c\x00\x00\x86", b"J\x05\x00\x00\x00J\x00\x0c\x00\x00\x86")
    assert promised != batch
    with pytest.raises(ValueError):
        unpickle(io.BytesIO(promised))


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", ["u1", ">i4", "<f4", "f8", "?", "i8"])
def test_plain_arrays_and_containers_pass_unharmed(protocol: int, kind: str) -> None:
    array = (np.arange(24) % 2).astype(kind).reshape(2, 3, 4)
    given = {"a": array, "b": [1, 2.5, None, "text", (True, {"c": array[0, 0]})], "f": np.asfortranarray(array[0]), "raw": b"\xff\x00"}
    found = unpickle(io.BytesIO(pickle.dumps(given, protocol=protocol)))
    assert np.array_equal(found["a"], array) and found["a"].dtype == array.dtype and np.array_equal(found["f"], given["f"])
    assert found["b"][:4] == [1, 2.5, None, "text"] and np.array_equal(found["b"][4][1]["c"], array[0, 0]) and found["raw"] == b"\xff\x00"


def test_the_helpers_python2_pickle_is_one() -> None:
    batch = python2_batch(IMAGES, LABELS.tolist(), "labels")
    names = {operation.name for operation, _, _ in pickletools.genops(batch)}
    assert "BINSTRING" in names and "BINUNICODE" not in names
    read = pickle.loads(batch, encoding="latin1")
    assert np.array_equal(read["data"], IMAGES) and read["labels"] == LABELS.tolist()
