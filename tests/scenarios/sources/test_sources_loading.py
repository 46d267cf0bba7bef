"""What all sources share: names, the cache between decoding and use, downloads."""

from __future__ import annotations

import hashlib
import http.server
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
from tests.scenarios.sources.files import IDX_FILES, write_cifar, write_idx


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
