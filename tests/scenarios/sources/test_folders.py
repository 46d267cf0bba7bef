"""Folders of people's own images: layouts, sizes, what is left out, and what is in the way."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import scenarios
from scenarios.errors import UserError
from scenarios.images import ImageSet
from scenarios.sources import load
from tests.scenarios.sources.files import png_bytes, write_tree

Said = list[str]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALIMPSEST_CACHE", str(tmp_path / "cache"))


def picture(seed: int, size: tuple[int, int] = (12, 10)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size[::-1]).astype(np.uint8)


def tree(folder: Path, classes: Iterable[str] = ("ant", "bee"), sides: Iterable[str] = ("train", "test"), each: int = 3) -> Path:
    seeds = iter(range(10_000))
    for side in sides:
        for name in classes:
            for i in range(each):
                write_tree(folder, {f"{side}/{name}/{i}.png": png_bytes(picture(next(seeds)))})
    return folder


def read(folder: Path, **options: Any) -> tuple[ImageSet, ImageSet, Said]:
    said: Said = []
    train, test = load(f"folder:{folder}", report=said.append, **options)
    return train, test, said


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(UserError) as caught:
        read(folder)
    for word in (str(folder), *words):
        assert word in str(caught.value)


def test_deep_images_beside_bytes_are_scaled_together(tmp_path: Path) -> None:
    folder = tree(tmp_path / "own")
    deep = np.zeros((10, 12), np.uint16)
    deep[0, :4] = 0, 256, 30000, 65535
    write_tree(folder, {"train/ant/deep.png": png_bytes(deep), "test/bee/dark.png": png_bytes(deep // 16)})
    train, test, _ = read(folder)
    assert train.shape == (1, 10, 12) and train.images[3, 0, 0, :4].tolist() == [0, 1, 117, 255]
    assert test.images[-1, 0, 0, :4].tolist() == [0, 0, 7, 16], "one scale for both"


def test_deep_images_of_12_bits_alone_are_refused(tmp_path: Path) -> None:
    folder = tree(tmp_path / "own")
    for i in range(3):
        write_tree(folder, {f"train/ant/deep{i}.png": png_bytes(picture(i).astype(np.uint16) * (10 + i))})
    refused(folder, "deep2.png", "16 bits")


def test_eight_bits_that_use_a_small_part_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    for i in range(12):
        write_tree(folder, {f"{'ant' if i % 2 else 'bee'}/{i}.png": png_bytes(picture(i) // 16)})
    refused(folder, "all but black", "15 of 255")


def test_classes_that_differ_in_alpha_alone_differ(tmp_path: Path) -> None:
    for name, area in (("left", np.s_[:, :5]), ("right", np.s_[:, 5:])):
        for i in range(10):
            pixels = np.zeros((10, 10, 4), np.uint8)
            pixels[area + (3,)] = 100 + 10 * i
            write_tree(tmp_path / "own", {f"{name}/{i}.png": png_bytes(pixels)})
    train, _, _ = read(tmp_path / "own")
    left, right = (train.images[train.labels == label].float().mean(0) for label in (0, 1))
    assert (left - right).abs().max() > 100


@pytest.mark.parametrize("side", ["train", "test"])
def test_a_class_of_one_constant_is_refused_by_name(tmp_path: Path, side: str) -> None:
    folder = tree(tmp_path / "own", ("ant", "bee", "cat"))
    for i in range(3):
        write_tree(folder, {f"{side}/bee/{i}.png": png_bytes(np.full((10, 12), 99, np.uint8))})
    refused(folder, f"all 3 images of class 'bee' in {folder / side} are one constant (99)")


def test_a_set_of_equal_images_is_refused(tmp_path: Path) -> None:
    write_tree(tmp_path / "own", {f"{name}/{i}.png": png_bytes(picture(0)) for name in "ab" for i in range(5)})
    refused(tmp_path / "own", "all 10 images of", "are equal")


@pytest.mark.parametrize("outlier", [(3, 3), (120, 100), (500, 2)])
def test_the_commonest_size_is_kept_and_an_outlier_named(tmp_path: Path, outlier: tuple[int, int]) -> None:
    folder = tree(tmp_path / "own")
    write_tree(folder, {"train/bee/odd.png": png_bytes(picture(0, outlier))})
    train, test, said = read(folder)
    assert train.shape == test.shape == (1, 10, 12)
    assert any("12x10, the commonest size (12 of 13" in line and f"odd.png has {outlier[0]}x{outlier[1]}" in line for line in said)


def test_of_equally_common_sizes_the_one_in_the_middle_is_taken(tmp_path: Path) -> None:
    for i, size in enumerate([(20, 20), (8, 8), (90, 90)] * 4):
        write_tree(tmp_path / "own", {f"{'ab'[i % 2]}/{i}.png": png_bytes(picture(i, size))})
    train, _, said = read(tmp_path / "own")
    assert train.shape == (1, 20, 20) and "8 are far off" in said[-1]


@pytest.mark.parametrize(("sizes", "shape"), [([(300, 200)] * 6, (1, 64, 64)), ([(90 + i, 70 + i) for i in range(6)], (1, 64, 64))])
def test_photographs_become_squares(tmp_path: Path, sizes: list[tuple[int, int]], shape: tuple[int, int, int]) -> None:
    for i, size in enumerate(sizes):
        write_tree(tmp_path / "own", {f"{'ab'[i % 2]}/{i}.png": png_bytes(picture(i, size))})
    train, _, said = read(tmp_path / "own")
    assert train.shape == shape and "64x64" in said[-1] and "scenario.size" in said[-1]


def test_a_size_that_is_asked_for_is_given(tmp_path: Path) -> None:
    folder = tree(tmp_path / "own", [str(i) for i in range(10)])
    for size, shape in (("32", (1, 32, 32)), ("6x9", (1, 9, 6)), (None, (1, 10, 12))):
        stream: Any = scenarios.make("split-mnist", data=f"folder:{folder}", size=size)
        assert stream.input_shape == shape


def test_an_image_that_a_camera_turned_has_the_size_of_the_others(tmp_path: Path) -> None:
    folder = tree(tmp_path / "own")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(1)).transpose(Image.Transpose.ROTATE_90).save(folder / "train" / "ant" / "turned.png", exif=exif)
    train, _, said = read(folder)
    assert train.images[3, 0].tolist() == picture(1).tolist() and said == ["decoding folder"]


def test_images_in_deeper_folders_and_of_rarer_endings_are_read(tmp_path: Path) -> None:
    folder = tree(tmp_path / "own")
    write_tree(folder, {"train/ant/deep/er/x.PNG": png_bytes(picture(7)), "train/ant/y.JFIF": png_bytes(picture(8), "JPEG")})
    write_tree(folder, {"test/ant/z.PgM": png_bytes(picture(9), "PPM")})
    train, test, said = read(folder)
    assert (len(train), len(test)) == (8, 7) and any("'ant' has its images in several folders" in line for line in said)
    assert picture(7).tolist() in train.images[:, 0].tolist() and picture(9).tolist() in test.images[:, 0].tolist()


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    folder = tree(tmp_path / "own")
    write_tree(folder, {f"train/ant/{i}.heic": b"?" for i in range(3)})
    write_tree(folder, {"train/ant/note.txt": b"", "train/loose.png": png_bytes(picture(1)), "README": b"", "extra/a/1.png": b""})
    write_tree(folder, {"train/.hidden/x.png": b"?", "train/ant/.x.png": b"?", ".git/x.png": b"?", "__MACOSX/ant/x.png": b"?"})
    train, _, said = read(folder)
    assert train.class_names == ("ant", "bee") and len(train) == 6
    (line,) = [line for line in said if "left out" in line]
    for word in ("7 files are left out", "3 .heic", "1 .txt", "1 beside the class folders", "1 in extra", "1 without an ending"):
        assert word in line


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP"])
def test_only_the_first_frame_is_read_and_the_others_are_counted(tmp_path: Path, kind: str) -> None:
    folder = tree(tmp_path / "own")
    frames = [Image.fromarray(picture(i) // 128 * 255) for i in (1, 2)]
    options = {"lossless": True} if kind == "WEBP" else {}
    frames[0].save(folder / "train" / "ant" / f"moving.{kind.lower()}", kind, save_all=True, append_images=frames[1:], **options)
    train, _, said = read(folder)
    assert any("1 of 13 images have more than one frame" in line and "moving" in line for line in said)
    assert (picture(1) // 128 * 255).tolist() in train.images.float().mean(1).round().int().tolist()


def test_grey_images_beside_coloured_ones_are_counted(tmp_path: Path) -> None:
    folder = tree(tmp_path / "own")
    write_tree(folder, {"train/ant/red.png": png_bytes(np.full((10, 12, 3), (200, 0, 0), np.uint8))})
    train, _, said = read(folder)
    assert train.shape[0] == 3 and any(line.startswith("12 grey images beside 1 in colour") for line in said)


@pytest.mark.parametrize("sides", [("train", "test"), ("Train", "TEST"), ("training", "testing")])
def test_parts_are_known_by_their_usual_names(tmp_path: Path, sides: tuple[str, str]) -> None:
    train, test, _ = read(tree(tmp_path / "own", sides=sides))
    assert train.class_names == ("ant", "bee") and (len(train), len(test)) == (6, 6)


def test_a_class_may_be_called_like_a_part(tmp_path: Path) -> None:
    train, _, _ = read(tree(tmp_path / "own", ("train", "car"), sides=["."]))
    assert train.class_names == ("car", "train")


def test_layouts_without_class_folders_are_refused_with_those_that_work(tmp_path: Path) -> None:
    write_tree(tmp_path / "flat", {f"{side}/{i}.png": png_bytes(picture(i)) for side in ("train", "test") for i in range(3)})
    write_tree(tmp_path / "files", {f"{i}.png": png_bytes(picture(i)) for i in range(3)})
    for name in ("flat", "files"):
        refused(tmp_path / name, "without class folders", "PATH/train/CLASS/*.png", "PATH/CLASS/*.png")
    tree(tmp_path / "wrapped" / "inner")
    refused(tmp_path / "wrapped", f"is it folder:{tmp_path / 'wrapped' / 'inner'}?")
    tree(tmp_path / "no test", sides=["train"])
    refused(tmp_path / "no test", "none in test")
    tree(tmp_path / "imagenet", sides=["train", "val"])
    refused(tmp_path / "imagenet", "call val test")
    tree(tmp_path / "twice", sides=["train", "Train", "test"])
    refused(tmp_path / "twice", "make them one")


@pytest.mark.parametrize(("only", "other"), [("train", "test"), ("test", "train")])
def test_a_class_on_one_side_alone_is_refused_by_name(tmp_path: Path, only: str, other: str) -> None:
    folder = tree(tmp_path / "own")
    write_tree(folder, {f"{only}/wasp/{i}.png": png_bytes(picture(i)) for i in range(2)})
    refused(folder, f"class 'wasp' is in {folder / only}, but not in {folder / other}")


def test_a_class_without_images_is_refused_by_name(tmp_path: Path) -> None:
    folder = tree(tmp_path / "own")
    (folder / "train" / "wasp").mkdir()
    refused(folder, str(folder / "train" / "wasp"), "0 images")
    write_tree(folder, {"train/wasp/1.heic": b"", "train/wasp/2.heic": b""})
    refused(folder, str(folder / "train" / "wasp"), "2 files (.heic)", "0 images")
    write_tree(tmp_path / "single", {f"{name}/{i}.png": png_bytes(picture(i)) for name in "ab" for i in range(1 + (name == "a"))})
    refused(tmp_path / "single", "class 'b'", "has 1 image")


def test_whole_numbers_are_in_order(tmp_path: Path) -> None:
    train, _, _ = read(tree(tmp_path / "own", [str(i) for i in range(12)]))
    assert train.class_names == tuple(map(str, range(12)))


def test_names_that_look_the_same_are_the_same(tmp_path: Path) -> None:
    composed, taken_apart = "caf\u00e9", "cafe\u0301"
    for side, name in (("train", composed), ("test", taken_apart)):
        tree(tmp_path / "own", (name, "bar"), sides=[side])
    assert read(tmp_path / "own")[0].class_names == ("bar", composed)
    tree(tmp_path / "own", (taken_apart,), sides=["train"])
    refused(tmp_path / "own", "spelt with other characters")


@pytest.mark.parametrize("sides", [("train", "test"), ("train", "val", "test")])
def test_parts_that_share_no_class_are_the_few_shot_division(tmp_path: Path, sides: tuple[str, ...]) -> None:
    for i, side in enumerate(sides):
        tree(tmp_path / "few", [f"{side}{c}" for c in range(5 + i)], sides=[side], each=4)
    scenario: Any = scenarios.make("mini-imagenet", data=f"folder:{tmp_path / 'few'}", queries=2, test_queries=2)
    experience = scenario.experiences[0]
    names = [[*part.table.names] for part in (experience.train, experience.validation, experience.test)]
    assert names[0] == [f"train{c}" for c in range(5)] and names[2] == [f"test{c}" for c in range(5 + len(sides) - 1)]
    assert names[1] == ([f"val{c}" for c in range(6)] if "val" in sides else names[0])


def damage_zero(path: Path) -> None:
    path.write_bytes(b"")


def damage_cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


def damage_text(path: Path) -> None:
    path.write_text("no image")


def damage_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def damage_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def damage_link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("absent.png"))


def damage_bomb(path: Path) -> None:
    Image.new("1", (10_000, 10_000)).save(path)


DAMAGES = [damage_zero, damage_cut, damage_text, damage_fifo, damage_loop, damage_link, damage_bomb]


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_image_that_cannot_be_read_is_refused_by_name(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    folder = tree(tmp_path / "own")
    damage(folder / "test" / "bee" / "1.png")
    outcome: list[BaseException] = []

    def attempt() -> None:
        try:
            read(folder)
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "it waits for somebody to write into a pipe"
    assert isinstance(outcome[0], UserError) and str(folder / "test" / "bee" / "1.png") in str(outcome[0])


def test_links_to_folders_are_followed_unless_they_lead_back(tmp_path: Path) -> None:
    folder = tree(tmp_path / "own")
    tree(tmp_path / "elsewhere", ("c",), sides=["."])
    for side in ("train", "test"):
        (folder / side / "cat").symlink_to(tmp_path / "elsewhere" / "c")
    assert read(folder)[0].class_names == ("ant", "bee", "cat")
    (folder / "train" / "dog").symlink_to(tmp_path / "absent")
    refused(folder, str(folder / "train" / "dog"), "cannot be read")
    (folder / "train" / "dog").unlink()
    (folder / "train" / "ant" / "loop").symlink_to(folder)
    refused(folder, str(folder / "train" / "ant" / "loop"), "leads back")


def test_a_folder_that_may_not_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tree(tmp_path / "own")
    scan = os.scandir

    def forbid(path: Any) -> Any:
        if Path(path).name == "bee":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr("os.scandir", forbid)
    refused(folder, "bee", "Permission denied")


@pytest.mark.parametrize("change", ["content", "time", "name"])
def test_images_remade_in_place_are_seen(tmp_path: Path, change: str) -> None:
    folder = tree(tmp_path / "own")
    before, _, _ = read(folder)
    path = folder / "train" / "ant" / "1.png"
    status = path.stat()
    path.write_bytes(png_bytes(picture(999)) if change != "name" else path.read_bytes())
    if change == "time":
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    if change == "name":
        path.rename(path.with_name("9.png"))
    after, _, _ = read(folder)
    assert after.fingerprint != before.fingerprint


def test_without_room_for_temporary_files_a_set_is_decoded_in_memory_with_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tree(tmp_path / "own")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    expected = read(folder)[0].fingerprint
    monkeypatch.setenv("PALIMPSEST_CACHE", str(tmp_path / "other"))
    monkeypatch.setattr("os.posix_fallocate", full)
    train, _, said = read(folder)
    assert train.fingerprint == expected and any("No space left on device" in line and "in memory" in line for line in said)
    monkeypatch.setenv("PALIMPSEST_CACHE", str(tmp_path / "third"))
    monkeypatch.setattr("scenarios.sources.pictures.IN_MEMORY", 10)
    with pytest.raises(UserError, match="TMPDIR"):
        read(folder)


def test_names_that_are_no_text_are_refused_or_passed_on(tmp_path: Path) -> None:
    folder = tree(tmp_path / os.fsdecode(b"own \xff"))
    os.rename(folder / "train" / "ant" / "0.png", os.fsencode(folder / "train" / "ant") + b"/\xfe.png")
    assert len(read(folder)[0]) == 6
    for side in ("train", "test"):
        os.rename(folder / side / "bee", os.fsencode(folder / side) + b"/b\xff")
    with pytest.raises(UserError, match=r"name is no Unicode text \('b\\udcff'\)") as caught:
        read(folder)
    assert str(caught.value).isprintable()


def test_those_who_begin_at_once_decode_once(tmp_path: Path) -> None:
    folder, said, together = tree(tmp_path / "own", each=30), list[str](), threading.Barrier(4)
    sets: list[ImageSet] = []

    def begin() -> None:
        together.wait()
        sets.append(load(f"folder:{folder}", report=said.append)[0])

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(sets) == 4 and len({each.fingerprint for each in sets}) == 1
    assert said.count("decoding folder") == 1
    assert {path.suffix for path in (tmp_path / "cache").iterdir()} == {".json", ".pixels"}
