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


PICTURES = np.random.default_rng(1).integers(0, 256, (7, 8, 8))
CLASSES = np.arange(7) % 2


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
    ("labels", "names"),
    [
        (["10", "9", "2"], ("2", "9", "10")),
        ([10, 9, -2], ("-2", "9", "10")),
        (["7", "007", "b"], ("007", "7", "b")),
        (["b", "10", "9"], ("9", "10", "b")),
        (["\u00e9t\u00e9", " a", "a "], (" a", "a ", "\u00e9t\u00e9")),
        ([True, False, True], ("False", "True")),
        ([b"cat", b"ant", b"bee"], ("ant", "bee", "cat")),
    ],
)
@pytest.mark.parametrize("columns", [False, True])
def test_classes_are_in_order_whatever_labels_are(tmp_path: Path, labels: list[Any], names: tuple[str, ...], columns: bool) -> None:
    images, numbers = files.random_images(30, (8, 8), 3)
    y = np.array(labels)[numbers]
    path = archive(tmp_path / "own.npz", x_train=images, y_train=y[:, None] if columns else y, x_test=images, y_test=y)
    train, test = load(f"npz:{path}")
    assert train.class_names == names
    given = [label.decode() if isinstance(label, bytes) else str(label) for label in labels]
    assert [train.class_names[label] for label in train.labels] == [given[number] for number in numbers]
    assert test.labels.tolist() == train.labels.tolist()


def test_what_was_done_to_arrays_is_said_whenever_they_are_loaded(tmp_path: Path) -> None:
    path = archive(tmp_path / "own.npz", x=PICTURES.astype(np.uint16) * 257, y=CLASSES, z=np.zeros(3))
    for first in (True, False):
        said: list[str] = []
        load(f"npz:{path}", report=said.append)
        assert any("16-bit numbers: 65535 is white" in line for line in said)
        assert any("1 arrays of own.npz are left out (z)" in line for line in said)
        assert any("decoding" in line for line in said) == first


def test_without_anybody_to_report_to_the_log_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load(f"npz:{archive(tmp_path / 'own.npz', x=PICTURES, y=CLASSES, z=np.zeros(3))}")
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"][-1].endswith("left out (z)")


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
        ({"x": np.zeros((4, 0, 8)), "y": np.zeros(4, int)}, "no pixels"),
        ({"x": np.eye(4)[None].repeat(4, 0), "y": np.eye(4)}, "argmax"),
        ({"x": np.full((4, 8, 8), 200), "y": np.array([0, 0, 1, 1])}, "all 2 images of class '0' in y of .* are one constant \\(200\\)"),
        ({"x": np.arange(16).reshape(1, 4, 4).repeat(6, 0) * 16, "y": np.arange(6) % 2}, "all 6 images of y of .* are equal"),
        ({"x": np.arange(16).reshape(1, 4, 4).repeat(6, 0), "y": np.arange(6) % 2}, "x goes from 0 to 15"),
        ({"x": PICTURES, "y": np.array([0, 0, 0, 0, 0, 1, 1])}, None),
        ({"x": PICTURES, "y": np.array([0, 0, 0, 0, 0, 1, 2])}, "class '1' of y of .* has 1 image, .* \\(2 classes have no second\\)"),
        ({"x_train": PICTURES, "y_train": CLASSES, "x_test": PICTURES, "y_test": CLASSES + 1}, "'0' is in y_train of .* not in y_test"),
        ({"x_train": PICTURES, "y_train": CLASSES, "x_test": PICTURES, "y_test": CLASSES * 0 + 1}, "class '0' is in y_train"),
        ({"x_train": PICTURES, "y_train": CLASSES * 0, "x_test": PICTURES, "y_test": CLASSES}, "'1' is in y_test of .* not in y_train"),
        ({"x_train": PICTURES, "y_train": CLASSES, "x_test": PICTURES // 255, "y_test": CLASSES}, "bring them to one scale"),
        ({"x_train": PICTURES, "y_train": CLASSES, "x_test": PICTURES[:, 1:], "y_test": CLASSES}, "differ in shape"),
        ({"x_train": PICTURES, "y_train": CLASSES, "x_test": PICTURES * 0, "y_test": CLASSES}, "one scale|constant"),
    ],
)
def test_arrays_that_are_no_labelled_images_are_refused_in_one_line(tmp_path: Path, arrays: dict[str, Any], reason: str | None) -> None:
    path = archive(tmp_path / "own.npz", **arrays)
    if reason is None:
        assert load(f"npz:{path}")[0].class_names == ("0", "1")
        return
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


def sides(path: Path, train: int, test: int, validation: int = 0, each: int = 20, shift: int = 0) -> Path:
    arrays, start = {}, 0
    for side, count in (("train", train), ("val", validation), ("test", test)):
        if count:
            images, labels = files.random_images(count * each, (8, 8), count, seed=start)
            arrays |= {f"x_{side}": images, f"y_{side}": labels + start}
            start += count - shift
    return archive(path, **arrays)


@pytest.mark.parametrize("validation", [0, 8])
@pytest.mark.parametrize("name", ["mini-imagenet", "omniglot", "glyphs"])
def test_sides_that_share_no_class_are_the_division(tmp_path: Path, validation: int, name: str) -> None:
    path = sides(tmp_path / "few.npz", 40, 20, validation)
    scenario: Any = scenarios.make(name, data=f"npz:{path}")
    experience = scenario.experiences[0]
    parts = [set(map(int, part.table.names)) for part in (experience.train, experience.validation, experience.test)]
    assert parts[0] == set(range(40)) and parts[2] == set(range(40 + validation, 60 + validation))
    assert parts[1] == (set(range(40, 48)) if validation else set(range(40)))


def test_a_stream_refuses_what_is_divided_for_few_shot_learning(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'few' has other classes in its part for the test") as caught:
        scenarios.make("split-mnist", data=f"npz:{sides(tmp_path / 'few.npz', 10, 10)}")
    assert "\n" not in str(caught.value)


def test_sides_that_share_some_classes_are_no_division(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"class '0' \(and 37 more\) is in y_train"):
        load(f"npz:{sides(tmp_path / 'few.npz', 40, 20, shift=2)}")


def test_images_for_validation_are_left_out_of_streams_with_a_count(tmp_path: Path) -> None:
    said: list[str] = []
    images, labels = files.random_images(40, (8, 8), 10)
    arrays = {f"{kind}_{side}": array for side in ("train", "val", "test") for kind, array in (("x", images), ("y", labels))}
    train, test = load(f"npz:{archive(tmp_path / 'own.npz', **arrays)}", report=said.append)
    assert len(train) == len(test) == 40 and any(line.startswith("40 images of y_val") for line in said)


def test_a_class_of_too_few_images_is_named_with_its_part_and_its_true_count(tmp_path: Path) -> None:
    images, labels = files.random_images(220, (8, 8), 11)
    with pytest.raises(UserError, match=r"'few', part for validation: class '\d+' has 4 images there \(20 in all\), .* needs 16 images"):
        scenarios.make("mini-imagenet", data=f"npz:{archive(tmp_path / 'few.npz', x=images, y=labels)}")
    path = sides(tmp_path / "sides.npz", 10, 10)
    with pytest.raises(UserError, match=r"part for training: class '\d+' has 20 images, but an episode needs 21 images a class \(6 shots"):
        scenarios.make("mini-imagenet", data=f"npz:{path}", shots=6)
    with pytest.raises(UserError, match="part for training: scenario.ways=11 exceed its 10 classes"):
        scenarios.make("mini-imagenet", data=f"npz:{path}", ways=11)


@pytest.mark.parametrize(("size", "shape"), [("32", (1, 32, 32)), ("16x24", (1, 24, 16)), (None, (1, 28, 28))])
def test_a_size_is_given_to_any_set(tmp_path: Path, size: str | None, shape: tuple[int, int, int]) -> None:
    images, labels = files.random_images(60, (28, 28), 10)
    path = archive(tmp_path / "own.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    stream: Any = scenarios.make("split-mnist", data=f"npz:{path}", size=size)
    assert stream.input_shape == shape and stream.experiences[0].train.batch(slice(0, 2)).x.shape == (2, *shape)


@pytest.mark.parametrize("size", ["0", "32x", "x32", "9999", "32x48x3", "-5", "a\nb", "3.5"])
def test_a_size_that_is_none_is_refused(size: str) -> None:
    for scenario in ("split-digits", "digits"):
        with pytest.raises(UserError, match="scenario.size must be like 32 or 32x48"):
            scenarios.make(scenario, size=size)


@pytest.mark.parametrize(("given", "wanted"), [("features.npz", "npz:features.npz"), ("./pictures", "folder:./pictures")])
def test_a_path_without_its_kind_is_told_how_to_be_written(given: str, wanted: str) -> None:
    with pytest.raises(UserError, match=f"is a path, not a data set's name; write {wanted}"):
        load(given)
