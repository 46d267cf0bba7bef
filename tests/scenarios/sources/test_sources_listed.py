"""Sets in torchvision's layouts: miniature folders are read as torchvision itself reads them, and what is broken is refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision
from PIL import Image
from scipy.io import savemat

import scenarios
from scenarios.errors import DataUnavailableError, UserError
from scenarios.sources import load

GENERATOR = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALIMPSEST_CACHE", str(tmp_path / "cache"))


def picture(path: Path, side: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(GENERATOR.integers(0, 256, (side, side, 3), dtype=np.uint8))
    image.save(path.with_suffix(".png"))
    path.with_suffix(".png").rename(path)  # lossless, whatever the ending says


def text(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def eurosat(root: Path) -> None:
    for name in ("AnnualCrop", "Forest", "SeaLake"):
        for i in range(5):
            picture(root / "eurosat/2750" / name / f"{name}_{i}.jpg")


def flowers102(root: Path) -> None:
    base = root / "flowers-102"
    for number in range(1, 13):
        picture(base / "jpg" / f"image_{number:05d}.jpg")
    savemat(base / "imagelabels.mat", {"labels": np.array([[1, 2, 3] * 4], np.uint8)})
    savemat(
        base / "setid.mat", {"trnid": np.array([[5, 1, 6]]), "valid": np.array([[7, 2, 3]]), "tstid": np.array([[4, 8, 9, 10, 11, 12]])}
    )


def pets(root: Path) -> None:
    base, lines = (
        root / "oxford-iiit-pet",
        {"trainval": ["Abyssinian_1 1 1 1", "great_pyrenees_7 2 2 3"], "test": ["great_pyrenees_8 2 2 3", "Abyssinian_2 1 1 1"]},
    )
    for part, own in lines.items():
        text(base / "annotations" / f"{part}.txt", own)
        for line in own:
            picture(base / "images" / f"{line.split()[0]}.jpg")
    (base / "annotations/trimaps").mkdir()


def dtd(root: Path) -> None:
    base = root / "dtd/dtd"
    for k, part in enumerate(("train", "val", "test")):
        names = [f"{name}/{name}_{k}{i}.jpg" for i in range(2) for name in ("zigzagged", "banded")]
        text(base / "labels" / f"{part}1.txt", names)
        for name in names:
            picture(base / "images" / name)


def food101(root: Path) -> None:
    base = root / "food-101"
    for part, count in (("train", 3), ("test", 1)):
        lists = {name: [f"{name}/{part}{i}" for i in range(count)] for name in ("waffles", "baklava")}
        text(base / "meta" / f"{part}.json", [json.dumps(lists)])
        for path in sum(lists.values(), []):
            picture(base / "images" / f"{path}.jpg")


def gtsrb(root: Path) -> None:
    base = root / "gtsrb"
    for label in range(2):
        for i in range(3):
            picture(base / "GTSRB/Training" / f"{label:05d}" / f"{i:05d}.ppm")
    lines = ["Filename;Width;Height;ClassId"]
    for i in range(3):
        picture(base / "GTSRB/Final_Test/Images" / f"{i:05d}.ppm")
        lines.append(f"{i:05d}.ppm;8;8;{1 - i % 2}")
    text(base / "GT-final_test.csv", lines)


Maker = Callable[[Path], None]
SETS: dict[str, tuple[Maker, str, list[dict[str, Any]], list[dict[str, Any]]]] = {
    "flowers102": (flowers102, "Flowers102", [{"split": "train"}, {"split": "val"}], [{"split": "test"}]),
    "pets": (pets, "OxfordIIITPet", [{"split": "trainval"}], [{"split": "test"}]),
    "dtd": (dtd, "DTD", [{"split": "train"}, {"split": "val"}], [{"split": "test"}]),
    "food101": (food101, "Food101", [{"split": "train"}], [{"split": "test"}]),
    "gtsrb": (gtsrb, "GTSRB", [{"split": "train"}], [{"split": "test"}]),
    "eurosat": (eurosat, "EuroSAT", [{}], []),
}


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_read_as_torchvision_reads_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, kind, learned, tested = SETS[name]
    make(tmp_path)
    monkeypatch.setattr(torchvision.datasets.Flowers102, "_check_integrity", lambda self: True)
    train, test = load(name, root=tmp_path, download=False, size=(8, 8))

    def pairs(splits: list[dict[str, Any]]) -> list[tuple[bytes, int]]:
        sets = [getattr(torchvision.datasets, kind)(str(tmp_path), **split) for split in splits]
        return [(np.asarray(image).transpose(2, 0, 1).tobytes(), label) for own in sets for image, label in own]

    def ours(images: Any) -> list[tuple[bytes, int]]:
        return [(image.numpy().tobytes(), int(label)) for image, label in zip(images.images, images.labels)]

    if tested:
        assert ours(train) == pairs(learned) and ours(test) == pairs(tested)
    else:
        assert sorted(ours(train) + ours(test)) == sorted(pairs(learned))
        assert test.labels.bincount().tolist() == [1, 1, 1] and train.labels.bincount().tolist() == [4, 4, 4]
    assert not train.verified and train.origin == "real"
    if name == "pets":
        assert train.class_names == ("Abyssinian", "great_pyrenees") and train.groups == ("cat", "dog")
    if name == "eurosat":
        assert train.class_names == ("AnnualCrop", "Forest", "SeaLake")


def test_images_are_brought_to_the_sets_usual_size_or_the_one_asked_for(tmp_path: Path) -> None:
    food101(tmp_path)
    assert load("food101", root=tmp_path, download=False)[0].shape == (3, 64, 64)
    stream = scenarios.make("split-food101", data_root=tmp_path, tasks=2, size="16x12")
    assert stream.input_shape == (3, 12, 16) and stream.experiences[0].classes == ("baklava",)


def test_stl10_is_read_as_torchvision_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tmp_path / "stl10_binary"
    base.mkdir()
    for part, count in (("train", 20), ("test", 10)):
        GENERATOR.integers(0, 256, count * 3 * 96 * 96, dtype=np.uint8).tofile(base / f"{part}_X.bin")
        (np.arange(count) % 10 + 1).astype(np.uint8).tofile(base / f"{part}_y.bin")
    monkeypatch.setattr(torchvision.datasets.STL10, "_check_integrity", lambda self: True)
    for images, part in zip(load("stl10", root=tmp_path, download=False), ("train", "test")):
        theirs = torchvision.datasets.STL10(str(tmp_path), split=part)
        assert np.array_equal(images.images.numpy(), np.stack([np.asarray(image).transpose(2, 0, 1) for image, _ in theirs]))
        assert images.labels.tolist() == [int(label) for _, label in theirs]
    (base / "test_X.bin").write_bytes(b"12")
    with pytest.raises(UserError, match="are not whole images of 3x96x96"):
        load("stl10", root=tmp_path, download=False)


def test_cub_as_a_stream_has_its_published_test_images(tmp_path: Path) -> None:
    base, rows = (
        tmp_path / "CUB_200_2011",
        [(1, "001.Albatross/a.jpg", 1, 1), (2, "001.Albatross/b.jpg", 1, 0), (3, "002.Auklet/c.jpg", 2, 0), (4, "002.Auklet/d.jpg", 2, 1)],
    )
    for _, path, _, _ in rows:
        picture(base / "images" / path)
    for column, name in ((1, "images"), (2, "image_class_labels"), (3, "train_test_split")):
        text(base / f"{name}.txt", [f"{row[0]} {row[column]}" for row in rows])
    text(base / "classes.txt", ["1 001.Albatross", "2 002.Auklet"])
    train, test = load("cub200", root=tmp_path, size=(8, 8))
    assert train.class_names == ("Albatross", "Auklet") and train.labels.tolist() == [0, 1] and test.labels.tolist() == [0, 1]
    for images, names in ((train, "ad"), (test, "bc")):
        for image, letter in zip(images.images, names):
            (path,) = base.rglob(f"{letter}.jpg")
            assert np.array_equal(image.numpy().transpose(1, 2, 0), np.asarray(Image.open(path)))


def core50(root: Path, objects: int = 10) -> None:
    for session in (1, 2, 3, 4, 11):
        for number in range(1, objects + 1):
            for frame in range(2 if session != 4 else 3):
                picture(root / f"core50/core50_128x128/s{session}/o{number}/C_{session:02d}_{number:02d}_{frame:03d}.png", 4)


def test_core50_holds_sessions_out_and_brings_the_others_one_by_one(tmp_path: Path) -> None:
    core50(tmp_path)
    train, test = load("core50", root=tmp_path, size=(4, 4))
    assert (len(train), len(test)) == (90, 20) and train.sections == (20, 20, 30, 20) and test.sections is None
    assert train.groups == ("plug adapter",) * 5 + ("mobile phone",) * 5 and train.class_names[6] == "mobile phone 2"
    for session, rows in zip((1, 2, 4, 11), np.split(np.arange(90), [20, 40, 70])):
        for row in rows:
            number = int(train.labels[row]) + 1
            frames = [np.asarray(Image.open(path)) for path in (tmp_path / f"core50/core50_128x128/s{session}/o{number}").iterdir()]
            assert any(np.array_equal(train.images[row].numpy().transpose(1, 2, 0), frame) for frame in frames)
    stream: Any = scenarios.make("instances-core50", data_root=tmp_path, size="4")
    assert [len(each.train) for each in stream.experiences] == [20, 20, 30, 20] and stream.setting == "domain"
    assert [len(each.test) for each in stream.experiences] == [20] * 4
    assert stream.experiences[2].train.rows.tolist() == list(range(40, 70))
    assert len(scenarios.make("instances-core50", data_root=tmp_path, size="4", tasks=2)) == 2
    assert len(scenarios.make("split-core50", data_root=tmp_path, size="4")) == 5
    assert load("core50", root=tmp_path, size=(4, 4))[0].sections == (20, 20, 30, 20), "also from the cache"


@pytest.mark.parametrize("name", [*SETS, "stl10", "cub200", "core50"])
def test_an_absent_set_says_where_it_comes_from_and_where_it_belongs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host\nmore")

    for kind in ("EuroSAT", "Flowers102", "OxfordIIITPet", "DTD", "Food101", "GTSRB", "STL10"):
        monkeypatch.setattr(torchvision.datasets, kind, offline)
    for download in (False, True):
        with pytest.raises(DataUnavailableError, match=f"{name} is not under {tmp_path} and .* http") as refused:
            load(name, root=tmp_path, download=download)
        assert "\n" not in str(refused.value) and "--data-root" in str(refused.value)
        assert ("no route to host" in str(refused.value)) == (download and name not in ("cub200", "core50"))


@pytest.mark.parametrize(
    ("name", "file", "content", "message"),
    [
        ("pets", "oxford-iiit-pet/annotations/test.txt", "Abyssinian_2 1 1", "cannot be used: not enough values"),
        ("pets", "oxford-iiit-pet/annotations/test.txt", "Abyssinian_9 1 1 1", "Abyssinian_9.jpg cannot be read"),
        ("food101", "food-101/meta/train.json", "{", "cannot be used"),
        ("food101", "food-101/meta/test.json", '{"soup": ["soup/1"]}', "cannot be used: 'soup' is not in list"),
        ("gtsrb", "gtsrb/GT-final_test.csv", "Filename;ClassId\n00000.ppm;7", "of other classes"),
        ("gtsrb", "gtsrb/GT-final_test.csv", "Filename;ClassId", "its list of test images is empty"),
        ("flowers102", "flowers-102/setid.mat", "", "cannot be used"),
    ],
)
def test_broken_lists_are_refused_in_one_line(name: str, file: str, content: str, message: str, tmp_path: Path) -> None:
    SETS[name][0](tmp_path)
    (tmp_path / file).write_text(content)
    with pytest.raises(UserError, match=message) as refused:
        load(name, root=tmp_path, download=False)
    assert "\n" not in str(refused.value) and "or take" in str(refused.value)
