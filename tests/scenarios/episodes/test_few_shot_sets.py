"""Few-shot sets in the layouts that people have, on small files of the same form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import scenarios
from scenarios.errors import DataUnavailableError, UserError
from scenarios.sources import load
from scenarios.splits import class_list

COUNTS = {"train": 6, "val": 5, "test": 5}
IMAGES = 3


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALIMPSEST_CACHE", str(tmp_path / "cache"))


def picture(path: Path, colour: int, size: tuple[int, int] = (84, 84)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (colour, 2 * colour % 256, 255 - colour)).save(path)


def by_side(folder: Path) -> None:
    for side, count in COUNTS.items():
        for c in range(count):
            for i in range(IMAGES):
                picture(folder / side / f"{side}{c}" / f"{i}.png", 10 * c + i)


def listed(folder: Path) -> None:
    for side, count in COUNTS.items():
        rows = []
        for c in range(count):
            for i in range(IMAGES):
                picture(folder / "images" / f"{side}{c}_{i}.png", 10 * c + i)
                rows.append(f"{side}{c}_{i}.png,{side}{c}\n")
        (folder / f"{side}.csv").write_text("filename,label\n" + "".join(rows))


def archived(folder: Path) -> None:
    arrays = {}
    for side, count in COUNTS.items():
        colours = np.array([10 * c + i for c in range(count) for i in range(IMAGES)])
        arrays[f"x_{side}"] = np.broadcast_to(
            np.stack([colours, 2 * colours % 256, 255 - colours], 1)[:, None, None], (len(colours), 84, 84, 3)
        ).astype(np.uint8)
        arrays[f"y_{side}"] = np.repeat([f"{side}{c}" for c in range(count)], IMAGES)
    folder.mkdir()
    np.savez(folder / "tiered-imagenet.npz", **arrays)


@pytest.mark.parametrize("lay_out", [by_side, listed, archived])
def test_every_layout_gives_the_same_set(tmp_path: Path, lay_out: Callable[[Path], None]) -> None:
    lay_out(tmp_path / "tiered-imagenet")
    train, test = load("tiered-imagenet", root=tmp_path)
    assert train.shape == (3, 84, 84) and (len(train), len(test)) == (18, 30)
    assert train.groups == ("train",) * 6 + ("validation",) * 5 + ("test",) * 5
    assert [name.split(" ")[-1] for name in train.class_names] == [f"{side}{c}" for side, count in COUNTS.items() for c in range(count)]
    assert train.labels.tolist() == [c for c in range(6) for _ in range(3)]
    assert test.labels.tolist() == [c + 6 for c in range(10) for _ in range(3)]
    assert train.images[5, :, 40, 40].tolist() == [12, 24, 243] and test.images[-1, :, 0, 0].tolist() == [42, 84, 213]


@pytest.mark.parametrize("lay_out", [by_side, listed, archived])
def test_a_layouts_sides_divide_the_scenario(tmp_path: Path, lay_out: Callable[[Path], None]) -> None:
    lay_out(tmp_path / "tiered-imagenet")
    scenario: Any = scenarios.make("tiered-imagenet", data_root=tmp_path, queries=2, test_queries=2)
    experience = scenario.experiences[0]
    assert [len(stream.table) for stream in (experience.train, experience.validation, experience.test)] == [6, 5, 5]
    assert experience.train.storage.images is not experience.test.storage.images
    assert experience.test.batch(0, 2).query_x.shape == (2, 10, 3, 84, 84)


def test_birds_are_cropped_and_divided_by_their_numbers(tmp_path: Path) -> None:
    for number in range(1, 201):
        folder = tmp_path / "CUB_200_2011" / "images" / f"{number:03d}.Bird_{number}"
        picture(folder / "a.jpg", number, (100, 60) if number == 1 else (84, 84))
    train, _ = load("cub", root=tmp_path)
    names, groups = train.class_names, train.groups
    assert groups is not None and len(names) == 200 and train.shape == (3, 84, 84)
    sides = {int(name[:3]): group for name, group in zip(names, groups)}
    assert [sides[n] for n in range(1, 9)] == ["train", "validation", "train", "test"] * 2


def test_other_shapes_are_squeezed_or_cropped(tmp_path: Path) -> None:
    split = class_list("cub")
    assert split is not None
    for name, folder in (("cub", "cub/images"), ("mini-imagenet", "mini-imagenet")):
        names = class_list(name)
        assert names is not None
        for c in (*names.train, *names.validation, *names.test):
            path = tmp_path / folder / f"{c}" / "a.png"
            path.parent.mkdir(parents=True)
            striped = Image.new("RGB", (168, 84), (0, 0, 0))
            striped.paste((255, 255, 255), (42, 0, 126, 84))
            striped.save(path)
    birds, images = load("cub", root=tmp_path)[0], load("mini-imagenet", root=tmp_path)[0]
    assert birds.images.min() == 255
    assert images.images[0, 0, 0].tolist()[:20] == [0] * 20 and images.images[0, 0, 0, 42] == 255


def test_a_set_that_is_not_there_says_where_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(DataUnavailableError, match="mini-imagenet") as caught:
        load("mini-imagenet", root=tmp_path)
    assert "train/CLASS" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "word"), [({"x_val": np.zeros((3, 84, 84))}, "x_val"), ({"y_test": np.zeros(2)}, "y_test"), ({"y_val": None}, "y_val")]
)
def test_an_archive_of_the_wrong_form_is_refused(tmp_path: Path, change: dict[str, Any], word: str) -> None:
    archived(tmp_path / "tiered-imagenet")
    path = tmp_path / "tiered-imagenet" / "tiered-imagenet.npz"
    arrays = {**np.load(path), **change}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(UserError, match=word):
        load("tiered-imagenet", root=tmp_path)


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    by_side(tmp_path / "tiered-imagenet")
    (tmp_path / "tiered-imagenet" / "val" / "val0" / "1.png").write_bytes(b"not an image")
    with pytest.raises(UserError, match="1.png"):
        load("tiered-imagenet", root=tmp_path)


def test_images_remade_in_place_are_seen(tmp_path: Path) -> None:
    by_side(tmp_path / "tiered-imagenet")
    before, _ = load("tiered-imagenet", root=tmp_path)
    picture(tmp_path / "tiered-imagenet" / "train" / "train0" / "1.png", 200)
    after, _ = load("tiered-imagenet", root=tmp_path)
    assert after.fingerprint != before.fingerprint and after.images[1, 0, 0, 0] == 200


def test_what_is_transparent_or_deep_is_brought_to_bytes_like_any_folder(tmp_path: Path) -> None:
    folder = tmp_path / "tiered-imagenet"
    by_side(folder)
    Image.new("RGBA", (84, 84), (0, 0, 0, 128)).save(folder / "train" / "train0" / "0.png")
    Image.fromarray(np.full((84, 84), 30000, np.uint16)).save(folder / "train" / "train0" / "1.png")
    train, _ = load("tiered-imagenet", root=tmp_path)
    assert train.images[:2, :, 0, 0].tolist() == [[127] * 3, [117] * 3]


@pytest.mark.parametrize("lay_out", [by_side, listed])
def test_a_class_on_two_sides_is_refused_by_name(tmp_path: Path, lay_out: Callable[[Path], None]) -> None:
    folder = tmp_path / "tiered-imagenet"
    lay_out(folder)
    if lay_out is by_side:
        picture(folder / "test" / "train3" / "0.png", 5)
    else:
        (folder / "test.csv").write_text((folder / "test.csv").read_text() + "train0_0.png,train3\n")
    with pytest.raises(UserError, match="class 'train3' is in train and in test"):
        load("tiered-imagenet", root=tmp_path)


def test_an_empty_class_and_a_constant_one_are_refused_by_name(tmp_path: Path) -> None:
    by_side(tmp_path / "tiered-imagenet")
    (tmp_path / "tiered-imagenet" / "val" / "empty").mkdir()
    with pytest.raises(UserError, match="val/empty holds nothing and 0 images"):
        load("tiered-imagenet", root=tmp_path)
    for i in range(IMAGES):
        picture(tmp_path / "tiered-imagenet" / "val" / "empty" / f"{i}.png", 9)
    with pytest.raises(UserError, match="all 3 images of class 'empty' in validation are one constant"):
        load("tiered-imagenet", root=tmp_path)


def test_a_listed_image_that_is_not_there_is_named(tmp_path: Path) -> None:
    listed(tmp_path / "tiered-imagenet")
    (tmp_path / "tiered-imagenet" / "images" / "val0_1.png").unlink()
    with pytest.raises(UserError, match="val0_1.png cannot be read"):
        load("tiered-imagenet", root=tmp_path)


def test_what_is_left_out_is_counted_and_whole_numbers_are_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "tiered-imagenet"
    by_side(folder)
    for c in (2, 10):
        for i in range(IMAGES):
            picture(folder / "train" / str(c) / "deeper" / f"{i}.jfif", 10 * c + i)
    (folder / "train" / "2" / "note.txt").write_text("")
    said: list[str] = []
    train, _ = load("tiered-imagenet", root=tmp_path, report=said.append)
    assert train.class_names[:3] == ("2", "10", "train0") and any("1 file is left out (1 .txt" in line for line in said)
