from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from scenarios.cache import Cache, _crc32, cache_folder
from scenarios.sources.decoded import Decoded, Part
from tests.scenarios.sources.files import random_images


def decoded(seed: int = 0, verified: bool = True) -> Decoded:
    parts = [Part.of(*random_images(number, (1, 4, 4), 3, seed=seed + number)) for number in (7, 5)]
    return Decoded(parts[0], parts[1], ("a", "b", "c"), ("x", "x", "y"), verified, ("1 file was left out",))


def files(folder: Path) -> set[str]:
    return {path.suffix for path in folder.iterdir()}


def snapshot(folder: Path) -> Path:
    """A copy of a cache, whose files no process has looked at yet."""
    return Path(shutil.copytree(folder, folder.with_name(f"copy of {folder.name}")))


def assert_same(one: Decoded | None, other: Decoded) -> None:
    assert one is not None
    for mine, theirs in ((one.train, other.train), (one.test, other.test)):
        assert np.array_equal(mine.images, theirs.images) and np.array_equal(mine.labels, theirs.labels)
        assert mine.fingerprint == theirs.fingerprint and mine.labels.dtype == np.int64
    for name in ("class_names", "groups", "verified", "notes"):
        assert getattr(one, name) == getattr(other, name)


@pytest.mark.parametrize("verified", [True, False])
def test_what_is_written_is_read_back(tmp_path: Path, verified: bool) -> None:
    cache, given = Cache(tmp_path / "not" / "yet"), decoded(verified=verified)
    assert_same(cache.write("set", "stamp", given), given)
    assert_same(cache.read("set", "stamp"), given)
    assert files(cache.folder) == {".json", ".pixels"}


def test_the_fingerprint_is_sha256_of_pixels_then_labels() -> None:
    images, labels = random_images(6, (3, 2, 2), 4)
    assert Part.of(images, labels).fingerprint == hashlib.sha256(images.tobytes() + labels.astype("<i8").tobytes()).hexdigest()


def test_pixels_are_mapped_and_writing_to_them_leaves_the_file_alone(tmp_path: Path) -> None:
    cache, given = Cache(tmp_path), decoded()
    kept = cache.write("set", "stamp", given)
    assert isinstance(kept.train.images, np.memmap)
    kept.train.images[:] = 0
    assert_same(cache.read("set", "stamp"), given)


def test_a_set_whose_files_have_changed_is_absent(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.write("set", "stamp", decoded())
    assert cache.read("set", "other stamp") is None and cache.read("other set", "stamp") is None


def test_a_new_version_takes_the_place_of_the_old_one_and_of_its_pixels(tmp_path: Path) -> None:
    cache, new = Cache(tmp_path), decoded(seed=100)
    old = cache.write("set", "old", decoded())
    before = old.train.images.copy()
    cache.write("set", "new", new)
    assert_same(cache.read("set", "new"), new)
    assert len(list(tmp_path.glob("*.pixels"))) == 2
    assert np.array_equal(old.train.images, before), "a process that still has the old set mapped keeps it"


def test_a_part_that_did_not_change_keeps_its_pixels(tmp_path: Path) -> None:
    cache, given = Cache(tmp_path), decoded()
    cache.write("set", "old", given)
    assert_same(cache.write("set", "new", given), given)


def test_sets_with_the_same_pixels_share_them(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.write("one", "stamp", decoded())
    cache.write("two", "stamp", decoded())
    assert len(list(tmp_path.glob("*.pixels"))) == 2 and len(list(tmp_path.glob("*.json"))) == 2


def test_any_changed_byte_is_noticed_by_a_process_that_has_not_read_it_yet(tmp_path: Path) -> None:
    given = decoded()
    Cache(tmp_path / "good").write("set", "stamp", given)
    pixels = tmp_path / "good" / f"{given.test.fingerprint}.pixels"
    content, labels = pixels.read_bytes(), given.test.labels
    damages = [bytes([byte]) + content[1:] for byte in range(0, 256, 17) if byte != content[0]]
    damages += [bytes(len(content))]
    damages += [content[: -labels.nbytes] + (labels * 0 + other).tobytes() for other in (200, -1)]
    damages += [content[: -labels.nbytes] + (labels + 1).tobytes(), content[:-1] + b"\x01"]
    for i, damage in enumerate(damages):
        said: list[str] = []
        folder = Path(shutil.copytree(tmp_path / "good", tmp_path / str(i)))
        (folder / pixels.name).write_bytes(damage)
        cache = Cache(folder, said.append)
        assert cache.read("set", "stamp") is None and len(said) == 1 and "damaged" in said[0]
        assert_same(cache.write("set", "stamp", given), given)
        assert_same(Cache(snapshot(folder)).read("set", "stamp"), given)


def test_a_file_that_changes_while_a_process_runs_is_read_through_again(tmp_path: Path) -> None:
    cache, given = Cache(tmp_path), decoded()
    cache.write("set", "stamp", given)
    pixels = tmp_path / f"{given.train.fingerprint}.pixels"
    pixels.write_bytes(bytes(pixels.stat().st_size))
    os.utime(pixels, ns=(1, 1))
    assert cache.read("set", "stamp") is None


def test_an_intact_file_is_read_through_once_in_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Cache(tmp_path / "cache").write("set", "stamp", decoded())
    cache, read = Cache(snapshot(tmp_path / "cache")), []
    monkeypatch.setattr("scenarios.cache._crc32", lambda path, whole=_crc32: read.append(path) or whole(path))
    for _ in range(3):
        assert cache.read("set", "stamp") is not None
    assert len(read) == 2


def test_what_a_killed_writer_left_is_swept(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for name in (".set.x1.part", ".other.x2.part"):
        (tmp_path / name).write_bytes(b"half a set")
    with cache.locked("set"):
        cache.write("set", "stamp", decoded())
    assert not (tmp_path / ".set.x1.part").exists() and (tmp_path / ".other.x2.part").exists(), "that one may be at work"


def test_a_set_is_decoded_by_one_at_a_time(tmp_path: Path) -> None:
    said: list[str] = []
    order: list[str] = []

    def second() -> None:
        with Cache(tmp_path, said.append).locked("set"):
            order.append("second")

    with Cache(tmp_path).locked("set"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.3)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"] and "waiting" in said[0]


@pytest.mark.parametrize(
    "damage", ["cut pixels", "no pixels", "not json", "json of another kind", "empty", "lacks a key", "later layout", "other names"]
)
def test_a_damaged_set_is_absent_and_can_be_written_again(tmp_path: Path, damage: str) -> None:
    cache, given = Cache(tmp_path), decoded()
    cache.write("set", "stamp", given)
    index, pixels = tmp_path / "set.json", tmp_path / f"{given.train.fingerprint}.pixels"
    content = json.loads(index.read_text())
    if damage == "cut pixels":
        pixels.write_bytes(pixels.read_bytes()[:-1])
    elif damage == "no pixels":
        pixels.unlink()
    elif damage == "lacks a key":
        index.write_text(json.dumps({key: value for key, value in content.items() if key != "test"}))
    elif damage == "other names":
        index.write_text(json.dumps({**content, "class_names": ["b", "a", "c"]}))
    elif damage == "later layout":
        index.write_text(json.dumps({**content, "layout": 99}))
    else:
        index.write_text({"not json": "{", "json of another kind": "[1, 2]", "empty": ""}[damage])
    assert cache.read("set", "stamp") is None
    assert_same(cache.write("set", "stamp", given), given)
    assert_same(cache.read("set", "stamp"), given)


def test_a_folder_that_cannot_be_made_does_not_hinder_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    said: list[str] = []
    cache, given = Cache(tmp_path / "file" / "cache", said.append), decoded()
    with cache.locked("set"):
        assert cache.write("set", "stamp", given) is given and cache.read("set", "stamp") is None
    assert len(said) == 1 and str(tmp_path / "file") in said[0] and "PALIMPSEST_CACHE" in said[0]


def test_a_full_disk_leaves_no_rubbish_and_the_old_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, old, new = Cache(tmp_path), decoded(), decoded(seed=100)
    cache.write("set", "old", old)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("scenarios.cache._dump", full)
        assert cache.write("set", "new", new) is new
    assert_same(cache.read("set", "old"), old)
    assert len(list(tmp_path.iterdir())) == 3


def test_processes_that_write_and_read_at_once_never_see_half_a_set(tmp_path: Path) -> None:
    script = """
import sys, numpy as np
from pathlib import Path
from scenarios.cache import Cache
from scenarios.sources.decoded import Decoded, Part
cache, mine, seen = Cache(Path(sys.argv[1])), sys.argv[2], 0
def part(value, number):
    return Part.of(np.full((number, 1, 8, 8), value, np.uint8), np.full(number, value))
for round in range(15):
    value = int(mine) + round % 2
    cache.write("set", "stamp", Decoded(part(value, 50), part(value, 20), ("a",)))
    found = cache.read("set", "stamp")
    if found is not None:
        values = {int(v) for p in (found.train, found.test) for a in (p.images, p.labels) for v in np.unique(a)}
        assert len(values) == 1, values
        seen += 1
print(seen)
"""
    started = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path), start], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for start in ("1", "2")
    ]
    for process in started:
        out, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert int(out) > 0
    assert files(tmp_path) <= {".json", ".pixels"}


def test_the_folder_is_the_users_own_unless_said_otherwise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PALIMPSEST_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    for unset in (lambda: monkeypatch.setenv("PALIMPSEST_CACHE", ""), lambda: monkeypatch.delenv("PALIMPSEST_CACHE")):
        unset()
        assert cache_folder().name == "palimpsest" and cache_folder().is_absolute() and not cache_folder().is_relative_to(Path.cwd())


@pytest.mark.parametrize("asked", [None, "~/cache"])
def test_without_a_home_the_cache_is_temporary(tmp_path: Path, asked: str | None) -> None:
    code = """
import os, pwd
os.environ.pop("HOME", None)
def nobody(uid):
    raise KeyError(uid)
pwd.getpwuid = nobody
from scenarios.cache import cache_folder
folder = cache_folder()
assert folder == cache_folder() and folder.is_dir()
print(folder)
"""
    kept = {name: value for name, value in os.environ.items() if name not in ("PALIMPSEST_CACHE", "XDG_CACHE_HOME")}
    environment = {**kept, "TMPDIR": str(tmp_path), **({"PALIMPSEST_CACHE": asked} if asked else {})}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).parent == tmp_path and not list(tmp_path.iterdir()), "it goes with the process"
