"""Sets of the user's own: arrays and folders of images."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scenarios
from scenarios.errors import UserError
from scenarios.sources import load
from tests.scenarios.sources import files


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALIMPSEST_CACHE", str(tmp_path / "cache"))


def archive(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("layout", ["NHW", "NHWC", "NCHW", "fractions"])
def test_arrays_of_every_layout_are_read(tmp_path: Path, layout: str) -> None:
    channels = 1 if layout == "NHW" else 3
    images, labels = files.random_images(20, (channels, 8, 10), 4)
    given = {"NHW": images[:, 0], "NHWC": images.transpose(0, 2, 3, 1), "NCHW": images, "fractions": images / 255}[layout]
    archive(tmp_path / "own.npz", x_train=given, y_train=labels, x_test=given[:8], y_test=labels[:8])
    train, test = load(f"npz:{tmp_path / 'own.npz'}")
    assert np.array_equal(train.images.numpy(), images) and np.array_equal(test.images.numpy(), images[:8])
    assert train.labels.tolist() == labels.tolist() and train.class_names == ("0", "1", "2", "3")
    assert (train.name, train.origin, train.verified) == ("own", "real", False)


def test_a_fifth_of_each_class_is_held_out_of_x_and_y(tmp_path: Path) -> None:
    images, labels = files.random_images(60, (8, 8), 3)
    train, test = load("npz", path=str(archive(tmp_path / "own.npz", x=images, y=np.array(["cat", "ant", "bee"])[labels])))
    assert train.class_names == ("ant", "bee", "cat")
    assert train.labels.bincount().tolist() == [16] * 3 and test.labels.bincount().tolist() == [4] * 3
    both = np.concatenate([train.images.numpy(), test.images.numpy()])
    assert np.array_equal(np.sort(both.sum((1, 2, 3))), np.sort(images.sum((1, 2), dtype=both.sum().dtype)))


@pytest.mark.parametrize(
    "arrays, reason",
    [
        ({"images": np.zeros((4, 8, 8), np.uint8)}, "it holds images"),
        ({"x": np.zeros((4, 8, 8), np.uint8), "y": np.zeros(3, int)}, "does not fit 4 images"),
        ({"x": np.zeros((4, 64), np.uint8), "y": np.zeros(4, int)}, "has the shape"),
        ({"x": np.full((4, 8, 8), 7.0), "y": np.zeros(4, int)}, "outside"),
        ({"x": np.full((4, 8, 8), np.nan), "y": np.zeros(4, int)}, "outside"),
        ({"x": np.full((4, 8, 8), 300), "y": np.zeros(4, int)}, "outside 0 to 255"),
        ({"x": np.zeros((4, 8, 8), np.uint8), "y": np.zeros(4)}, "not whole numbers or text"),
        ({"x": np.zeros((4, 8, 8), np.uint8), "y": np.array([{}, [], 1, 2], object)}, "pickle"),
    ],
)
def test_arrays_that_are_no_labelled_images_are_refused_in_one_line(tmp_path: Path, arrays: dict[str, Any], reason: str) -> None:
    path = archive(tmp_path / "own.npz", **arrays)
    with pytest.raises(UserError, match=reason) as caught:
        load(f"npz:{path}")
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_what_is_no_archive_is_refused_in_one_line(tmp_path: Path) -> None:
    single, broken = tmp_path / "single.npz", tmp_path / "broken.npz"
    stream = io.BytesIO()
    np.save(stream, np.zeros(3))
    single.write_bytes(stream.getvalue())
    archive(broken, x=np.zeros((4, 8, 8), np.uint8), y=np.zeros(4, int))
    broken.write_bytes(broken.read_bytes()[:200])
    for path in (single, broken, tmp_path / "absent.npz"):
        with pytest.raises(UserError, match=path.name):
            load(f"npz:{path}")


def tree(folder: Path, split: bool, size: tuple[int, int] = (12, 10), colour: bool = True) -> None:
    generator = np.random.default_rng(0)
    for side, count in (("train/", 4), ("test/", 2)) if split else (("", 5),):
        for c, name in enumerate(("ant", "bee")):
            for i in range(count):
                pixels = generator.integers(0, 256, (size[1], size[0], 3) if colour else (size[1], size[0])).astype(np.uint8)
                pixels[0, 0] = 10 * c + i
                files.write_tree(folder, {f"{side}{name}/{i}.png": files.png_bytes(pixels)})


@pytest.mark.parametrize("split, counts", [(True, (8, 4)), (False, (8, 2))])
@pytest.mark.parametrize("colour", [True, False])
def test_folders_named_like_their_classes_are_read(tmp_path: Path, split: bool, counts: tuple[int, int], colour: bool) -> None:
    tree(tmp_path / "insects", split, colour=colour)
    train, test = load(f"folder:{tmp_path / 'insects'}")
    assert (len(train), len(test)) == counts and train.shape == (3 if colour else 1, 10, 12)
    assert (train.name, train.class_names, train.verified) == ("insects", ("ant", "bee"), False)
    for part in (train, test):
        assert (part.images[:, 0, 0, 0] // 10).tolist() == part.labels.tolist()


def test_images_of_different_sizes_are_brought_to_one(tmp_path: Path) -> None:
    tree(tmp_path / "own", True)
    files.write_tree(tmp_path / "own", {"train/ant/large.png": files.png_bytes(np.full((30, 40, 3), 99, np.uint8))})
    train, test = load("folder", path=str(tmp_path / "own"))
    assert train.shape == test.shape == (3, 10, 12) and train.images[4].unique().tolist() == [99]


def test_an_image_that_is_replaced_or_added_is_seen(tmp_path: Path) -> None:
    tree(tmp_path / "own", True)
    first, _ = load(f"folder:{tmp_path / 'own'}")
    image = tmp_path / "own" / "train" / "ant" / "0.png"
    image.write_bytes(files.png_bytes(np.full((10, 12, 3), 77, np.uint8)))
    os.utime(image, ns=(1, 1))
    second, _ = load(f"folder:{tmp_path / 'own'}")
    assert second.fingerprint != first.fingerprint and second.images[0].unique().tolist() == [77]
    files.write_tree(tmp_path / "own", {"train/cat/0.png": image.read_bytes(), "test/cat/0.png": image.read_bytes()})
    third, _ = load(f"folder:{tmp_path / 'own'}")
    assert third.class_names == ("ant", "bee", "cat")
    assert len(list((tmp_path / "cache").glob("*.json"))) == 1, "an older copy is replaced"


def test_folders_that_are_no_set_are_refused_in_one_line(tmp_path: Path) -> None:
    tree(tmp_path / "broken", True)
    (tmp_path / "broken" / "train" / "bee" / "1.png").write_bytes(b"no image")
    tree(tmp_path / "strange", True)
    files.write_tree(tmp_path / "strange", {"test/wasp/0.png": files.png_bytes(np.zeros((10, 12, 3), np.uint8))})
    (tmp_path / "empty").mkdir()
    for name, reason in (("broken", "1.png"), ("strange", "wasp"), ("empty", "--data folder:PATH"), ("absent", "--data folder:PATH")):
        with pytest.raises(UserError, match=reason) as caught:
            load(f"folder:{tmp_path / name}")
        assert "\n" not in str(caught.value)


def test_a_scenario_is_cut_from_a_set_of_ones_own(tmp_path: Path) -> None:
    images, labels = files.random_images(80, (28, 28), 10)
    path = archive(tmp_path / "letters.npz", x_train=images, y_train=labels, x_test=images[:40], y_test=labels[:40])
    scenario: Any = scenarios.make("split-mnist", data=f"npz:{path}")
    assert len(scenario) == 5 and scenario.data["name"] == "letters" and not scenario.data["verified"]
