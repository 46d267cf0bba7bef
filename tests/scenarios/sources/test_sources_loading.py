"""What all sources share: names, the cache between decoding and use, downloads."""

from __future__ import annotations

import bz2
import hashlib
import http.server
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from scenarios.errors import DataUnavailableError, UserError
from scenarios.sources import load, sources
from scenarios.sources import published as publishing
from scenarios.sources.cifar import Cifar10, Cifar100
from scenarios.sources.grey import EmnistLetters, FashionMnist, Kmnist, Mnist
from scenarios.sources.omniglot import Omniglot
from scenarios.sources.published import Remote, fetch
from scenarios.sources.svhn import Svhn
from scenarios.sources.usps import Usps
from tests.scenarios.sources.files import (
    IDX_FILES,
    png_bytes,
    write_cifar,
    write_idx,
    write_omniglot,
    write_svhn,
    write_tiny_imagenet,
    write_usps,
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PALIMPSEST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_importing_the_sources_imports_neither_torch_nor_numpy() -> None:
    code = "import sys, scenarios.sources; assert not {'torch', 'numpy', 'PIL'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_every_row_leads_to_a_class() -> None:
    for name in sources.names():
        kind, options = sources.load(name)
        assert kind(**options).origin in ("real", "embedded", "generated")


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean cifar10"):
        load("cifar-10")


def test_the_same_set_in_two_folders_is_kept_apart(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_idx(tmp_path / name / "MNIST" / "raw")
    path = tmp_path / "two" / "MNIST" / "raw" / (IDX_FILES[1] + ".gz")
    path.write_bytes(b"")
    load("mnist", root=tmp_path / "one")
    with pytest.raises(UserError):
        load("mnist", root=tmp_path / "two")


def test_without_a_cache_that_can_be_written_a_set_is_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PALIMPSEST_CACHE", str(tmp_path / "file" / "cache"))
    images, _ = write_idx(tmp_path / "MNIST" / "raw")[0]
    train, _ = load("mnist", root=tmp_path)
    assert np.array_equal(train.images.numpy()[:, 0], images)


def test_training_on_a_loaded_set_cannot_change_the_cache(tmp_path: Path) -> None:
    write_idx(tmp_path / "MNIST" / "raw")
    train, _ = load("mnist", root=tmp_path)
    pixels = train.images.clone()
    train.images.zero_()
    train.labels.zero_()
    again, _ = load("mnist", root=tmp_path)
    assert torch.equal(again.images, pixels) and again.labels.any()


def test_the_data_folder_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_idx(tmp_path / "MNIST" / "raw")
    monkeypatch.setenv("PALIMPSEST_DATA", str(tmp_path))
    assert len(load("mnist")[0]) == 40


def test_a_download_that_fails_is_reported_and_tried_at_no_second_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def refuse(url: str, timeout: float) -> None:
        tried.append(url)
        raise OSError("Network is unreachable")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(DataUnavailableError, match="Network is unreachable"):
        load("mnist", root=tmp_path)
    assert tried == list(Mnist.remotes[0].urls)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix == ".part"]


def test_addresses_and_checksums_are_those_of_torchvision() -> None:
    from torchvision import datasets

    for ours, theirs in ((Mnist, datasets.MNIST), (FashionMnist, datasets.FashionMNIST), (Kmnist, datasets.KMNIST)):
        assert [(Path(remote.file).name, remote.md5) for remote in ours.remotes] == list(theirs.resources)
        assert [url.rpartition("/")[0] + "/" for url in ours.remotes[0].urls] == list(theirs.mirrors)
    assert (EmnistLetters.remotes[0].urls[0], EmnistLetters.remotes[0].md5) == (datasets.EMNIST.url, datasets.EMNIST.md5)
    for source, lists in ((Usps, datasets.USPS.split_list), (Svhn, datasets.SVHN.split_list)):
        assert [[remote.urls[0], Path(remote.file).name, remote.md5] for remote in source.remotes] == [lists["train"], lists["test"]]
    for source, set_ in ((Cifar10, datasets.CIFAR10), (Cifar100, datasets.CIFAR100)):
        assert (source.remotes[0].file, source.remotes[0].urls[0], source.remotes[0].md5) == (set_.filename, set_.url, set_.tgz_md5)
        assert dict(map(tuple, set_.train_list + set_.test_list)).items() <= source.checksums.items()
    assert {Path(remote.file).stem: remote.md5 for remote in Omniglot.remotes} == datasets.Omniglot.zips_md5


class _Server(http.server.BaseHTTPRequestHandler):
    content = bytes(range(256)) * 5000

    def do_GET(self) -> None:
        if self.path == "/hangs":
            time.sleep(3)
        self.send_response(404 if self.path == "/absent" else 200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        half = len(self.content) // 2
        try:
            self.wfile.write(self.content[:half] if self.path == "/breaks" else self.content)
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{running.server_address[1]}"
    running.shutdown()
    thread.join()
    running.server_close()


MD5 = hashlib.md5(_Server.content, usedforsecurity=False).hexdigest()


def test_a_download_arrives_whole_with_progress(server: str, tmp_path: Path) -> None:
    lines: list[str] = []
    file = tmp_path / "new" / "file"
    assert fetch(Remote("file", MD5, (f"{server}/file",)), file, lines.append) == ""
    assert file.read_bytes() == _Server.content and list(file.parent.iterdir()) == [file]
    assert any("of 1 MB" in line for line in lines)


def test_a_mirror_steps_in(server: str, tmp_path: Path) -> None:
    assert fetch(Remote("file", MD5, (f"{server}/absent", f"{server}/file")), tmp_path / "file", lambda line: None) == ""


@pytest.mark.parametrize(
    ("path", "md5", "reason"),
    [("absent", MD5, "Not Found"), ("file", "0" * 32, "checksum"), ("breaks", MD5, ""), ("hangs", MD5, "timed out")],
)
def test_a_download_that_is_not_the_published_file_leaves_nothing(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, md5: str, reason: str
) -> None:
    monkeypatch.setattr(publishing, "TIMEOUT_SECONDS", 0.3)
    failure = fetch(Remote("file", md5, (f"{server}/{path}",)), tmp_path / "file", lambda line: None)
    assert reason in failure and f"/{path}" in failure and "\n" not in failure
    assert list(tmp_path.iterdir()) == []


def test_a_downloaded_archive_is_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, _ = write_cifar(tmp_path, 10, "py.tar.gz")
    archive = tmp_path / "cifar-10-python.tar.gz"
    content = archive.read_bytes()
    archive.unlink()

    def deliver(remote: Remote, file: Path, report: object) -> str:
        file.parent.mkdir(parents=True)
        file.write_bytes(content)
        return ""

    monkeypatch.setattr(publishing, "fetch", deliver)
    loaded, _ = load("cifar10", root=tmp_path / "fresh")
    assert np.array_equal(loaded.images.numpy().reshape(len(train[0]), -1), train[0])


@pytest.mark.parametrize("kind", ["pipe", "loop"])
def test_a_published_file_that_is_none_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    write_idx(tmp_path / "MNIST" / "raw")
    path = tmp_path / "MNIST" / "raw" / (IDX_FILES[0] + ".gz")
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path)
    with pytest.raises(UserError, match="train-images-idx3-ubyte" if kind == "pipe" else "mnist is not under"):
        load("mnist", root=tmp_path, download=False)


def test_a_data_root_that_is_no_folder_is_told_even_where_nothing_is_read_from_it(tmp_path: Path) -> None:
    said: list[str] = []
    load("digits", root=tmp_path / "mistake", report=said.append)
    assert any(f"{tmp_path / 'mistake'} is no folder; nothing is read from it for digits" in line for line in said)
    said.clear()
    load("digits", root=tmp_path, report=said.append)
    assert not said
    with pytest.raises(DataUnavailableError):
        load("mnist", root=tmp_path / "mistake", report=said.append, download=False)
    assert "is no folder" in said[0]


def test_a_home_that_there_is_not_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="give the whole path"):
        load("npz:~nobody-of-this-name/x.npz")


def test_too_few_file_handles_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files", str(tmp_path))

    monkeypatch.setattr(Mnist, "locate", exhausted)
    with pytest.raises(UserError, match="mnist cannot be read: .*: Too many open files"):
        load("mnist", root=tmp_path)


@pytest.mark.parametrize("label", [1.7, 1.5, 0.0, 11.0, float("nan")])
def test_labels_that_are_no_whole_numbers_are_refused(tmp_path: Path, label: float) -> None:
    from scipy.io import loadmat, savemat

    write_svhn(tmp_path / "SVHN")
    path = tmp_path / "SVHN" / "test_32x32.mat"
    arrays = loadmat(path)
    labels = arrays["y"].astype(np.float64)
    savemat(path, {"X": arrays["X"], "y": labels})
    assert len(load("svhn", root=tmp_path)[1]) == 20, "whole numbers are, of whatever kind"
    labels[3] = label
    savemat(path, {"X": arrays["X"], "y": labels})
    with pytest.raises(UserError, match="test_32x32.mat"):
        load("svhn", root=tmp_path)
    write_usps(tmp_path / "USPS")
    text = bz2.decompress((tmp_path / "USPS" / "usps.bz2").read_bytes()).decode().splitlines()
    text[2] = f"{label} " + text[2].partition(" ")[2]
    (tmp_path / "USPS" / "usps.bz2").write_bytes(bz2.compress("\n".join(text).encode()))
    with pytest.raises(UserError, match="usps.bz2"):
        load("usps", root=tmp_path)


@pytest.mark.parametrize("name", ["omniglot", "tiny-imagenet"])
def test_images_of_published_folders_remade_in_place_are_seen(tmp_path: Path, name: str) -> None:
    if name == "omniglot":
        write_omniglot(tmp_path / "omniglot-py", packed=False)
        victim = sorted((tmp_path / "omniglot-py" / "images_background").rglob("*.png"))[0]
        new = png_bytes(np.eye(105) > 0)
    else:
        write_tiny_imagenet(tmp_path, packed=False)
        victim = sorted((tmp_path / "tiny-imagenet-200" / "train").rglob("*.JPEG"))[0]
        new = png_bytes(np.full((64, 64, 3), 123, np.uint8), "JPEG")
    before = load(name, root=tmp_path)[0].fingerprint
    victim.write_bytes(new)
    assert load(name, root=tmp_path)[0].fingerprint != before
