"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009), from either published form: pickled batches or the binary layout, unpacked or as the archive.

A row of the binary layout is the label (CIFAR-100: superclass, then class) and 3,072 pixels, channel by channel; a pickled batch holds the
same pixels as an array of uint8 [N, 3072]. CIFAR-100's superclasses become the groups.
"""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, ClassVar

import numpy as np

from scenarios.sources.base import Place, check, checked_labels, reading
from scenarios.sources.decoded import Decoded, Labels, Part, Pixels
from scenarios.sources.published import Published, Remote
from scenarios.sources.unpickle import unpickle

PIXELS = 3 * 32 * 32
PUBLISHED = "https://www.cs.toronto.edu/~kriz/"

SUPERCLASSES = {
    "aquatic_mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food_containers": "bottle bowl can cup plate",
    "fruit_and_vegetables": "apple mushroom orange pear sweet_pepper",
    "household_electrical_devices": "clock keyboard lamp telephone television",
    "household_furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large_carnivores": "bear leopard lion tiger wolf",
    "large_man-made_outdoor_things": "bridge castle house road skyscraper",
    "large_natural_outdoor_scenes": "cloud forest mountain plain sea",
    "large_omnivores_and_herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium_mammals": "fox porcupine possum raccoon skunk",
    "non-insect_invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small_mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles_1": "bicycle bus motorcycle pickup_truck train",
    "vehicles_2": "lawn_mower rocket streetcar tank tractor",
}

Batch = tuple[Pixels, Labels]


class _Cifar(Published):
    """Batches, pickled or binary, in a folder or in an archive.

    Attributes:
        class_names: the classes.
        groups: each class's superclass, where there are any.
        label_key: what a pickled batch calls its labels.
        label_bytes: how many bytes of a binary row are labels; the last is the class.
        train_files: the names of the batches for training, without their endings.
        test_file: the name of the batch for the test, without its ending.
    """

    class_names: ClassVar[tuple[str, ...]]
    groups: ClassVar[tuple[str, ...] | None] = None
    label_key: ClassVar[str]
    label_bytes: ClassVar[int]
    train_files: ClassVar[tuple[str, ...]]
    test_file: ClassVar[str]

    def decode(self, files: Sequence[Path], place: Place) -> Decoded:
        """Read the batches in their published order.

        Args:
            files: the batches, or the archive that holds them.
            place: where they were found.

        Returns:
            The set as arrays.
        """
        if len(files) == 1 and files[0].name.endswith(".tar.gz"):
            batches = self._unpack(files[0])
        else:
            batches = {}
            for file in files:
                with reading(file), file.open("rb") as stream:
                    batches[file.stem] = self._batch(stream, binary=file.suffix == ".bin")
        train = [batches[name] for name in self.train_files]
        pixels = train[0][0] if len(train) == 1 else np.concatenate([part[0] for part in train])
        learned = Part.of(pixels, np.concatenate([part[1] for part in train]))
        return Decoded(learned, Part.of(*batches[self.test_file]), self.class_names, self.groups, self.verify(files))

    def _unpack(self, archive: Path) -> dict[str, Batch]:
        wanted = {*self.train_files, self.test_file}
        batches = {}
        with reading(archive), tarfile.open(archive, "r|gz") as members:
            for member in members:
                stem = Path(member.name).stem
                stream = members.extractfile(member)
                if stem in wanted and stream is not None:
                    batches[stem] = self._batch(stream, binary=member.name.endswith(".bin"))
            check(wanted == set(batches), f"it lacks {', '.join(sorted(wanted - set(batches)))}")
        return batches

    def _batch(self, stream: IO[bytes], binary: bool) -> Batch:
        if binary:
            data = np.frombuffer(stream.read(), np.uint8)
            row = self.label_bytes + PIXELS
            check(len(data) > 0 and len(data) % row == 0, f"its {len(data)} bytes are not whole rows of {row}")
            rows = data.reshape(-1, row)
            labels, pixels = rows[:, self.label_bytes - 1].astype(np.int64), rows[:, self.label_bytes :]
        else:
            batch = unpickle(stream)
            check(isinstance(batch, dict) and {"data", self.label_key} <= set(batch), f"it has no 'data' or no '{self.label_key}'")
            labels, pixels = batch[self.label_key], batch["data"]
            fits = isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.ndim == 2 and pixels.shape[1] == PIXELS
            check(fits, f"its data are not rows of {PIXELS} bytes")
        return np.ascontiguousarray(pixels).reshape(-1, 3, 32, 32), checked_labels(labels, len(self.class_names), len(pixels))


class Cifar10(_Cifar):
    """CIFAR-10."""

    name = "cifar10"
    class_names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    label_key = "labels"
    label_bytes = 1
    train_files = tuple(f"data_batch_{i}" for i in range(1, 6))
    test_file = "test_batch"
    layouts = [
        [f"cifar-10-batches-py/{file}" for file in (*train_files, test_file)],
        [f"cifar-10-batches-bin/{file}.bin" for file in (*train_files, test_file)],
        ["cifar-10-python.tar.gz"],
        ["cifar-10-binary.tar.gz"],
    ]
    remotes = [Remote("cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a", (PUBLISHED + "cifar-10-python.tar.gz",))]
    checksums = {
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
        "cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530",
    }


class Cifar100(_Cifar):
    """CIFAR-100 with its 100 classes; the 20 superclasses are the groups."""

    name = "cifar100"
    class_names = tuple(sorted(" ".join(SUPERCLASSES.values()).split()))
    groups = tuple(next(group for group, members in SUPERCLASSES.items() if name in members.split()) for name in class_names)
    label_key = "fine_labels"
    label_bytes = 2
    train_files = ("train",)
    test_file = "test"
    layouts = [
        ["cifar-100-python/train", "cifar-100-python/test"],
        ["cifar-100-binary/train.bin", "cifar-100-binary/test.bin"],
        ["cifar-100-python.tar.gz"],
        ["cifar-100-binary.tar.gz"],
    ]
    remotes = [Remote("cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85", (PUBLISHED + "cifar-100-python.tar.gz",))]
    checksums = {
        "train": "16019d7e3df5f24257cddd939b257f8d",
        "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
        "cifar-100-binary.tar.gz": "03b5dce01913d631647c71ecec9e9cb8",
    }
