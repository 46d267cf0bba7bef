"""Sets that torchvision knows: EuroSAT, Flowers, Pets, DTD, Food-101, GTSRB, in its folders and with its splits.

EuroSAT: Helber et al. 2019; it has no test part, so a fifth of each class is held out, always the same. Flowers-102: Nilsback and Zisserman
2008; its parts for training and for validation are learned from. Oxford-IIIT Pet: Parkhi et al. 2012. DTD: Cimpoi et al. 2014; partition 1,
its parts for training and for validation are learned from. Food-101: Bossard et al. 2014. GTSRB: Stallkamp et al. 2012.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

from scenarios.sources.base import check, hold_out
from scenarios.sources.listed import Listed, Listing
from scenarios.sources.walk import content, listed

Files = list[tuple[Path, int]]


class EuroSat(Listed):
    """EuroSAT: land use seen by Sentinel-2, 27,000 images of 10 classes."""

    name = "eurosat"
    folders = ("eurosat/2750", "EuroSAT", "EuroSAT/2750")
    needed = ("AnnualCrop", "SeaLake")
    origin_url = "https://github.com/phelber/eurosat"
    fetchers = (("EuroSAT", {}),)

    def listing(self, folder: Path) -> Listing:
        """Read the class folders.

        Args:
            folder: of the set.

        Returns:
            Its files; the part for the test is held out.
        """
        classes = [path for path in listed(folder) if path.is_dir()]
        files = [(path, label) for label, own in enumerate(classes) for path in content(own).images]
        check(bool(files), "it has no images")
        keep, held = hold_out(np.array([label for _, label in files]))
        return Listing([files[i] for i in keep], [files[i] for i in held], tuple(path.name for path in classes))


class Flowers102(Listed):
    """Flowers-102: 8,189 photographs of 102 kinds of flowers."""

    name = "flowers102"
    folders = ("flowers-102",)
    needed = ("jpg", "imagelabels.mat", "setid.mat")
    origin_url = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"
    fetchers = (("Flowers102", {}),)

    def listing(self, folder: Path) -> Listing:
        """Read the two MATLAB files.

        Args:
            folder: of the set.

        Returns:
            Its files; classes are called by their numbers, as the set gives them no names.
        """
        from scipy.io import loadmat

        labels = loadmat(folder / "imagelabels.mat")["labels"].reshape(-1).astype(int) - 1
        numbers = loadmat(folder / "setid.mat")

        def files(*parts: str) -> Files:
            chosen = np.concatenate([numbers[part].reshape(-1) for part in parts]).astype(int).tolist()
            return [(folder / "jpg" / f"image_{number:05d}.jpg", int(labels[number - 1])) for number in chosen]

        return Listing(files("trnid", "valid"), files("tstid"), tuple(f"flower {label + 1}" for label in range(int(labels.max()) + 1)))


class Pets(Listed):
    """Oxford-IIIT Pet: 7,349 photographs of 37 breeds; the species are the groups."""

    name = "pets"
    folders = ("oxford-iiit-pet",)
    needed = ("images", "annotations/trainval.txt", "annotations/test.txt")
    origin_url = "https://www.robots.ox.ac.uk/~vgg/data/pets/"
    fetchers = (("OxfordIIITPet", {}),)

    def listing(self, folder: Path) -> Listing:
        """Read the lists.

        Args:
            folder: of the set.

        Returns:
            Its files.
        """
        names: dict[int, tuple[str, str]] = {}

        def files(part: str) -> Files:
            found = []
            for line in (folder / "annotations" / f"{part}.txt").read_text().splitlines():
                image, label, species, _ = line.split()
                names[int(label) - 1] = image.rpartition("_")[0], {"1": "cat", "2": "dog"}[species]
                found.append((folder / "images" / f"{image}.jpg", int(label) - 1))
            return found

        train, test = files("trainval"), files("test")
        check(sorted(names) == list(range(len(names))), "its labels have gaps")
        called = [names[label] for label in sorted(names)]
        return Listing(train, test, tuple(name for name, _ in called), tuple(species for _, species in called))


class Dtd(Listed):
    """DTD: 5,640 pictures of 47 textures."""

    name = "dtd"
    folders = ("dtd/dtd", "dtd")
    needed = ("images", "labels/train1.txt", "labels/val1.txt", "labels/test1.txt")
    origin_url = "https://www.robots.ox.ac.uk/~vgg/data/dtd/"
    fetchers = (("DTD", {}),)

    def listing(self, folder: Path) -> Listing:
        """Read the lists of partition 1.

        Args:
            folder: of the set.

        Returns:
            Its files.
        """
        lines = {part: (folder / "labels" / f"{part}1.txt").read_text().split() for part in ("train", "val", "test")}
        classes = sorted({line.split("/")[0] for own in lines.values() for line in own})
        number = {name: label for label, name in enumerate(classes)}

        def files(*parts: str) -> Files:
            return [(folder / "images" / line, number[line.split("/")[0]]) for part in parts for line in lines[part]]

        return Listing(files("train", "val"), files("test"), tuple(classes))


class Food101(Listed):
    """Food-101: 101,000 photographs of 101 dishes; those for training are not cleaned of wrong labels."""

    name = "food101"
    folders = ("food-101",)
    needed = ("images", "meta/train.json", "meta/test.json")
    origin_url = "https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/"
    fetchers = (("Food101", {}),)

    def listing(self, folder: Path) -> Listing:
        """Read the lists.

        Args:
            folder: of the set.

        Returns:
            Its files.
        """
        lists = {part: json.loads((folder / "meta" / f"{part}.json").read_text()) for part in ("train", "test")}
        classes = sorted(lists["train"])

        def files(part: str) -> Files:
            return [(folder / "images" / f"{image}.jpg", classes.index(name)) for name, images in lists[part].items() for image in images]

        return Listing(files("train"), files("test"), tuple(classes))


class Gtsrb(Listed):
    """GTSRB: 39,270 pictures of 43 traffic signs, 12,630 of them for the test."""

    name = "gtsrb"
    folders = ("gtsrb",)
    needed = ("GTSRB/Training", "GTSRB/Final_Test/Images", "GT-final_test.csv")
    origin_url = "https://benchmark.ini.rub.de/"
    side = 32
    fetchers = (("GTSRB", {"split": "train"}), ("GTSRB", {"split": "test"}))

    def listing(self, folder: Path) -> Listing:
        """Read the class folders for training and the list for the test.

        Args:
            folder: of the set.

        Returns:
            Its files; classes are called by their numbers.
        """
        classes = [path for path in listed(folder / "GTSRB/Training") if path.is_dir()]
        train = [(path, label) for label, own in enumerate(classes) for path in content(own).images]
        with (folder / "GT-final_test.csv").open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter=";", skipinitialspace=True))
        test = [(folder / "GTSRB/Final_Test/Images" / row["Filename"], int(row["ClassId"])) for row in rows]
        return Listing(train, test, tuple(f"sign {int(path.name)}" for path in classes))
