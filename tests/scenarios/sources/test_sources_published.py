"""Published sets, on small files of the same form: right decoding, and one line for whatever is broken."""

from __future__ import annotations

import gzip
import hashlib
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch

from scenarios.errors import DataUnavailableError, UserError
from scenarios.sources import load, sources
from scenarios.sources.published import Published
from tests.scenarios.sources import files

PUBLISHED = [name for name in sources.names() if issubclass(sources.load(name)[0], Published)]
EMNIST = [f"emnist-letters-{part}-{kind}-ubyte" for part in ("train", "test") for kind in ("images-idx3", "labels-idx1")]
Pair = tuple[files.Arrays, files.Arrays]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise URLError("no network in tests")

    monkeypatch.setenv("PALIMPSEST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(urllib.request, "urlopen", no_network)


def assert_holds(loaded: Any, expected: Pair, shape: tuple[int, int, int]) -> None:
    for part, (images, labels) in zip(loaded, expected):
        assert part.shape == shape and part.images.dtype == torch.uint8 and part.labels.dtype == torch.int64
        assert np.array_equal(part.images.numpy(), images.reshape(-1, *shape)) and part.labels.tolist() == labels.tolist()
        assert part.origin == "real" and not part.verified


@pytest.mark.parametrize(
    "name, folder", [("mnist", "MNIST/raw"), ("mnist", "mnist"), ("fashion", "FashionMNIST/raw"), ("kmnist", "KMNIST/raw")]
)
@pytest.mark.parametrize("packed", [True, False])
def test_idx_files_are_found_in_the_usual_places_packed_or_not(tmp_path: Path, name: str, folder: str, packed: bool) -> None:
    expected = files.write_idx(tmp_path / folder, packed)
    assert_holds(load(name, root=tmp_path, download=False), expected, (1, 28, 28))


def test_emnist_letters_stand_upright_and_begin_at_zero(tmp_path: Path) -> None:
    train, test = files.write_idx(tmp_path / "EMNIST/raw", names=EMNIST, first=1, classes=26)
    expected = tuple((images.transpose(0, 2, 1), labels) for images, labels in (train, test))
    loaded = load("emnist-letters", root=tmp_path)
    assert_holds(loaded, (expected[0], expected[1]), (1, 28, 28))
    assert len(loaded[0].class_names) == 26


@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize("form", ["py2", "py", "bin", "py.tar.gz", "bin.tar.gz"])
def test_every_form_of_cifar_gives_the_same_set(tmp_path: Path, classes: int, form: str) -> None:
    expected = files.write_cifar(tmp_path, classes, form)
    assert_holds(load(f"cifar{classes}", root=tmp_path), expected, (3, 32, 32))


def test_cifar100_has_20_superclasses_of_five() -> None:
    groups = sources.load("cifar100")[0].groups
    assert len(groups) == 100 and {groups.count(group) for group in groups} == {5}


def test_usps_as_text_and_as_an_archive_give_the_same_digits(tmp_path: Path) -> None:
    train, test = files.write_usps(tmp_path / "text" / "USPS")
    assert_holds(load("usps", root=tmp_path / "text"), (train, test), (1, 16, 16))
    (tmp_path / "npz").mkdir()
    np.savez(tmp_path / "npz" / "usps.npz", train_x=train[0], train_y=train[1], test_x=test[0], test_y=test[1])
    assert_holds(load("usps", root=tmp_path / "npz"), (train, test), (1, 16, 16))


def test_svhns_tens_are_zeros(tmp_path: Path) -> None:
    expected = files.write_svhn(tmp_path / "SVHN")
    assert_holds(load("svhn", root=tmp_path), expected, (3, 32, 32))


@pytest.mark.parametrize("packed", [True, False])
def test_omniglots_halves_share_no_class_and_its_ink_is_bright(tmp_path: Path, packed: bool) -> None:
    characters = files.write_omniglot(tmp_path / "omniglot-py", packed)
    train, test = load("omniglot", root=tmp_path)
    drawn = characters["images_background"] + characters["images_evaluation"]
    assert train.class_names == test.class_names == tuple(name for name, _ in drawn)
    assert train.groups == ("Early", "Early", "Late", "Late", "Other", "Other")
    assert train.labels.tolist() == [c for c in range(4) for _ in range(3)] and test.labels.tolist() == [4] * 3 + [5] * 3
    assert train.shape == (1, 28, 28) and not train.verified
    for part in (train, test):
        for image, label in zip(part.images, part.labels.tolist()):
            side = drawn[label][1]
            assert image.float().mean().item() == pytest.approx(255 * (side / 105) ** 2, abs=3)
            assert image[0, 0, 0] > 200 and image[0, -1, -1] == 0


@pytest.mark.parametrize("packed", [True, False])
def test_tiny_imagenets_validation_part_is_its_test(tmp_path: Path, packed: bool) -> None:
    files.write_tiny_imagenet(tmp_path, packed)
    train, test = load("tiny-imagenet", root=tmp_path)
    assert train.class_names == ("brick", "lawn") and train.shape == (3, 64, 64)
    assert train.labels.tolist() == [1, 1, 0, 0] and test.labels.tolist() == [1, 0]
    assert train.images[1].unique().tolist() == [50] and test.images[1, 0].float().mean() > 150


def test_a_set_with_the_published_checksums_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write_usps(tmp_path / "USPS")
    kind = sources.load("usps")[0]
    sums = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in (tmp_path / "USPS").iterdir()}
    monkeypatch.setattr(kind, "remotes", [])
    monkeypatch.setattr(kind, "checksums", sums)
    assert all(part.verified for part in load("usps", root=tmp_path))


def test_a_set_is_decoded_once_and_again_when_its_files_change(tmp_path: Path) -> None:
    files.write_idx(tmp_path / "MNIST/raw")
    told: list[str] = []
    first, _ = load("mnist", root=tmp_path, report=told.append)
    again, _ = load("mnist", root=tmp_path, report=told.append)
    assert told == ["decoding mnist"] and torch.equal(first.images, again.images) and first.fingerprint == again.fingerprint
    other = np.zeros((40, 28, 28), np.uint8)
    (tmp_path / "MNIST/raw" / f"{files.IDX_FILES[0]}.gz").write_bytes(gzip.compress(files.idx_bytes(other)))
    changed, _ = load("mnist", root=tmp_path, report=told.append)
    assert len(told) == 2 and int(changed.images.max()) == 0


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("download", [True, False])
def test_an_absent_set_is_one_line_that_says_where_how_and_what_instead(tmp_path: Path, name: str, download: bool) -> None:
    with pytest.raises(DataUnavailableError) as caught:
        load(name, root=tmp_path / "data", download=download)
    line = str(caught.value)
    assert "\n" not in line and str(tmp_path / "data") in line and "--data generated" in line and "http" in line
    assert not list(tmp_path.glob("**/*.part")), "a failed download leaves nothing"


def damage_cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage_noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(path.stat().st_size))


def damage_empty(path: Path) -> None:
    path.write_bytes(b"")


SETS: dict[str, Callable[[Path], object]] = {
    "mnist": lambda root: files.write_idx(root / "MNIST/raw"),
    "cifar10 py": lambda root: files.write_cifar(root, 10, "py"),
    "cifar10 bin": lambda root: files.write_cifar(root, 10, "bin"),
    "cifar100 py.tar.gz": lambda root: files.write_cifar(root, 100, "py.tar.gz"),
    "usps": lambda root: files.write_usps(root / "USPS"),
    "svhn": lambda root: files.write_svhn(root / "SVHN"),
    "omniglot": lambda root: files.write_omniglot(root / "omniglot-py", True),
    "tiny-imagenet": lambda root: files.write_tiny_imagenet(root, True),
}


@pytest.mark.parametrize("damage", [damage_cut, damage_noise, damage_empty])
@pytest.mark.parametrize("kind", SETS)
def test_a_damaged_file_is_one_line_that_names_it(tmp_path: Path, kind: str, damage: Callable[[Path], None]) -> None:
    root = tmp_path / "data"
    root.mkdir()
    SETS[kind](root)
    victim = sorted(path for path in root.rglob("*") if path.is_file())[0]
    damage(victim)
    if kind == "cifar10 bin" and damage is damage_cut:
        victim.write_bytes(victim.read_bytes()[:-1])
    with pytest.raises(UserError) as caught:
        load(kind.split()[0], root=root)
    assert "\n" not in str(caught.value) and str(victim) in str(caught.value)
    assert not list((tmp_path / "cache").glob("*")), "nothing of it is kept"


def test_labels_beyond_the_classes_are_refused(tmp_path: Path) -> None:
    files.write_idx(tmp_path / "MNIST/raw", first=3)
    with pytest.raises(UserError, match="its labels go from 3 to 12, not 0 to 9"):
        load("mnist", root=tmp_path)


def test_fewer_labels_than_images_are_refused(tmp_path: Path) -> None:
    files.write_idx(tmp_path / "MNIST/raw")
    (tmp_path / "MNIST/raw" / f"{files.IDX_FILES[1]}.gz").write_bytes(gzip.compress(files.idx_bytes(np.zeros(39, np.uint8))))
    with pytest.raises(UserError, match="40 images but 39 labels"):
        load("mnist", root=tmp_path)


@pytest.mark.parametrize("name", ["usps", "svhn"])
def test_a_page_in_the_place_of_a_file_is_refused(tmp_path: Path, name: str) -> None:
    SETS[name](tmp_path)
    victim = next(path for path in sorted(tmp_path.rglob("*")) if path.is_file())
    victim.write_text("<html>404</html>")
    with pytest.raises(UserError, match="cannot be used"):
        load(name, root=tmp_path)
