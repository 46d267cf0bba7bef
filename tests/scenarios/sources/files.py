"""Small files of the same form as the published ones, with random contents."""

from __future__ import annotations

import bz2
import gzip
import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
Arrays = tuple[np.ndarray, np.ndarray]


def random_images(number: int, shape: Sequence[int], classes: int, seed: int = 0) -> Arrays:
    """Random pixels, and labels that go through all classes in turn."""
    return np.random.default_rng(seed).integers(0, 256, (number, *shape)).astype(np.uint8), np.arange(number) % classes


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_idx(
    folder: Path, packed: bool = True, names: Sequence[str] = IDX_FILES, first: int = 0, classes: int = 10
) -> tuple[Arrays, Arrays]:
    folder.mkdir(parents=True, exist_ok=True)
    train, test = random_images(40, (28, 28), classes), random_images(30, (28, 28), classes, seed=1)
    for name, array in zip(names, (train[0], train[1] + first, test[0], test[1] + first)):
        data = idx_bytes(array)
        (folder / (name + ".gz" * packed)).write_bytes(gzip.compress(data) if packed else data)
    return train, test


def python2_batch(data: np.ndarray, labels: Sequence[int], key: str) -> bytes:
    """A batch as Python 2 wrote the published ones: byte strings as keys and as the array's contents, protocol 2."""

    def string(text: bytes) -> bytes:
        return b"T" + struct.pack("<I", len(text)) + text

    rows, columns = (b"J" + struct.pack("<i", n) for n in data.shape)
    dtype = b"cnumpy\ndtype\n" + string(b"u1") + b"K\x00K\x01\x87R(K\x03" + string(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + string(b"b") + b"\x87R"
    state = b"(K\x01" + rows + columns + b"\x86" + dtype + b"\x89" + string(data.tobytes()) + b"tb"
    listed = b"](" + b"".join(b"J" + struct.pack("<i", label) for label in labels) + b"e"
    return b"\x80\x02}(" + string(b"data") + array + state + string(key.encode()) + listed + b"u."


def write_cifar(root: Path, classes: int, form: str) -> tuple[Arrays, Arrays]:
    """CIFAR in one of its forms: `py2`, `py`, `bin`, and these as archives: `py.tar.gz`, `bin.tar.gz`."""
    ten = classes == 10
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"] if ten else ["train", "test"]
    parts = [random_images(2 * classes, (3072,), classes, seed=i) for i in range(len(names))]
    binary = form.startswith("bin")
    folder = f"cifar-10-batches-{'bin' if binary else 'py'}" if ten else f"cifar-100-{'binary' if binary else 'python'}"
    contents = {}
    for name, (data, labels) in zip(names, parts):
        contents[f"{folder}/{name}{'.bin' * binary}"] = _batch(data, labels, ten, form)
    if form.endswith(".tar.gz"):
        with tarfile.open(root / f"cifar-{classes}-{'binary' if binary else 'python'}.tar.gz", "w:gz") as archive:
            for path, content in contents.items():
                member = tarfile.TarInfo(path)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    else:
        (root / folder).mkdir()
        for path, content in contents.items():
            (root / path).write_bytes(content)
    train = tuple(np.concatenate(arrays) for arrays in zip(*parts[:-1]))
    return (train[0], train[1]), parts[-1]


def _batch(data: np.ndarray, labels: np.ndarray, ten: bool, form: str) -> bytes:
    key = "labels" if ten else "fine_labels"
    if form.startswith("bin"):
        columns = [labels[:, None]] if ten else [np.zeros((len(labels), 1)), labels[:, None]]
        return np.hstack([*columns, data]).astype(np.uint8).tobytes()
    if form == "py2":
        return python2_batch(data, labels.tolist(), key)
    return pickle.dumps({"data": data, key: labels.tolist(), "filenames": ["a.png"] * len(data)}, protocol=2 if ten else 5)


def write_usps(folder: Path) -> tuple[Arrays, Arrays]:
    folder.mkdir(parents=True)
    parts = [random_images(number, (16, 16), 10, seed=number) for number in (40, 20)]
    for name, (images, labels) in zip(("usps.bz2", "usps.t.bz2"), parts):
        values = images.reshape(len(images), 256) / 127.5 - 1
        lines = [f"{label + 1} " + " ".join(f"{i + 1}:{value:.5f}" for i, value in enumerate(row)) for label, row in zip(labels, values)]
        (folder / name).write_bytes(bz2.compress(("\n".join(lines) + "\n").encode()))
    return parts[0], parts[1]


def write_svhn(folder: Path) -> tuple[Arrays, Arrays]:
    from scipy.io import savemat

    folder.mkdir(parents=True)
    parts = [random_images(number, (3, 32, 32), 10, seed=number) for number in (40, 20)]
    for name, (images, labels) in zip(("train_32x32.mat", "test_32x32.mat"), parts):
        savemat(folder / name, {"X": images.transpose(2, 3, 1, 0), "y": np.where(labels == 0, 10, labels)[:, None].astype(np.uint8)})
    return parts[0], parts[1]


def png_bytes(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def write_tree(root: Path, contents: dict[str, bytes], archive: str | None = None) -> None:
    """Write files under a folder, or into an archive in it."""
    if archive is None:
        for path, content in contents.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
    else:
        root.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(root / archive, "w") as file:
            for path, content in contents.items():
                file.writestr(path, content)


def write_omniglot(root: Path, packed: bool) -> dict[str, list[tuple[str, int]]]:
    """Two alphabets of two characters in the background set and one in the evaluation set, three drawings each: a black square on white."""
    halves = {"images_background": ("Early", "Late"), "images_evaluation": ("Other",)}
    characters: dict[str, list[tuple[str, int]]] = {}
    side = 10
    for half, alphabets in halves.items():
        contents = {}
        for alphabet in alphabets:
            for character in (1, 2):
                drawing = np.full((105, 105), 255, np.uint8)
                drawing[:side, :side] = 0
                name = f"{alphabet}/character{character:02d}"
                characters.setdefault(half, []).append((name, side))
                for person in (1, 2, 3):
                    contents[f"{half}/{name}/0000_{person:02d}.png"] = png_bytes(drawing > 0)
                side += 10
        write_tree(root, contents, f"{half}.zip" if packed else None)
    return characters


def write_tiny_imagenet(root: Path, packed: bool) -> None:
    """Two classes: two red and two green images for training, one each for the test; one is grey, as some are."""
    base = "tiny-imagenet-200"
    red, green = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)
    red[..., 0], green[..., 1] = 200, 100
    grey = np.full((64, 64), 50, np.uint8)
    contents = {
        f"{base}/wnids.txt": b"n02\nn01\n",
        f"{base}/words.txt": b"n01\tlawn, meadow\nn02\tbrick\nn03\tunused\n",
        f"{base}/val/val_annotations.txt": b"val_0.JPEG\tn01\t0\t0\t63\t63\nval_1.JPEG\tn02\t0\t0\t63\t63\n",
        f"{base}/val/images/val_0.JPEG": png_bytes(green, "JPEG"),
        f"{base}/val/images/val_1.JPEG": png_bytes(red, "JPEG"),
        f"{base}/test/images/test_0.JPEG": png_bytes(red, "JPEG"),
    }
    for wnid, images in (("n01", (green, grey)), ("n02", (red, red))):
        contents[f"{base}/train/{wnid}/{wnid}_boxes.txt"] = b""
        for i, image in enumerate(images):
            contents[f"{base}/train/{wnid}/images/{wnid}_{i}.JPEG"] = png_bytes(image, "JPEG")
    write_tree(root, contents, f"{base}.zip" if packed else None)
