"""Dividing the classes of a data set into classes to meta-train on, to select on, and to test on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from scenarios.episodes.turns import turned
from scenarios.errors import UserError
from scenarios.images import ImageSet
from scenarios.random import Randomness
from scenarios.splits import ClassList
from scenarios.streams.shaping import reshape

SIZES = (64, 16, 20)
"""Train, validation and test classes where nobody has published a split: CIFAR-FS's proportions."""

FEW_CLASSES, FEW_GROUPS = 32, 10
"""With fewer there are none to spare for validation: a sixth of them would not make an episode of 5 ways."""


@dataclass(frozen=True, eq=False)
class ClassPart:
    """Classes of an image set.

    Attributes:
        images: the set.
        classes: class indices.
        in_all: how many images of each class there are, in this set and in those that other parts look at.
    """

    images: ImageSet
    classes: tuple[int, ...]
    in_all: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class ClassSplit:
    """The classes of one domain.

    Attributes:
        name: of the domain.
        train: to meta-train on.
        validation: to select on.
        test: to test on.
    """

    name: str
    train: ClassPart
    validation: ClassPart
    test: ClassPart

    @property
    def parts(self) -> tuple[ClassPart, ClassPart, ClassPart]:
        """Train, validation and test."""
        return self.train, self.validation, self.test

    def reshaped(self, shape: tuple[int, int, int]) -> ClassSplit:
        """The same split of images of another shape.

        Args:
            shape: the shape wanted, (C, H, W).

        Returns:
            The split; sets that parts share, they share afterwards.
        """
        return self._mapped(lambda images: reshape(images, shape), lambda part: (part.classes, part.in_all))

    def turned(self) -> ClassSplit:
        """The same split with each quarter turn of a class as a class of its own, on the same side.

        Returns:
            The split of four times as many classes.
        """
        turns = range(4)
        return self._mapped(
            turned, lambda part: (tuple(4 * c + turn for c in part.classes for turn in turns), tuple(n for n in part.in_all for _ in turns))
        )

    def _mapped(self, change: Callable[[ImageSet], ImageSet], number: Callable[[ClassPart], tuple[tuple[int, ...], ...]]) -> ClassSplit:
        sets = {id(part.images): part.images for part in self.parts}
        done = {key: change(images) for key, images in sets.items()}
        train, validation, test = (ClassPart(done[id(part.images)], *number(part)) for part in self.parts)
        return ClassSplit(self.name, train, validation, test)


class Pool:
    """The training and the test images of a set, for protocols that divide it by classes instead.

    Args:
        train: its training images.
        test: its test images, of the same classes by number.
    """

    def __init__(self, train: ImageSet, test: ImageSet) -> None:
        self.train = train
        self.test = test

    @cached_property
    def joint(self) -> ImageSet:
        """All images in one set."""
        train, test = self.train, self.test
        return replace(
            train,
            images=torch.cat([train.images, test.images]),
            labels=torch.cat([train.labels, test.labels]),
            fingerprint=hashlib.sha256((train.fingerprint + test.fingerprint).encode()).hexdigest(),
            verified=train.verified and test.verified,
            _copies={},
        )

    def part(self, classes: Sequence[int]) -> ClassPart:
        """All images of some classes.

        Args:
            classes: class indices.

        Returns:
            The classes, in the half that has all their images where one has (nothing is copied then), else in the joint set.
        """
        mine = torch.tensor(list(classes), dtype=torch.int64)
        for half, other in ((self.train, self.test), (self.test, self.train)):
            if not torch.isin(mine, other.labels).any():
                return self.part_of(half, classes)
        return self.part_of(self.joint, classes)

    def part_of(self, images: ImageSet, classes: Sequence[int]) -> ClassPart:
        """Images of some classes in one half, or in the joint set.

        Args:
            images: the half, or the joint set.
            classes: class indices.

        Returns:
            The classes there.
        """
        number = len(self.train.class_names)
        counts = (self.train.labels.bincount(minlength=number) + self.test.labels.bincount(minlength=number)).tolist()
        return ClassPart(images, tuple(classes), tuple(counts[c] for c in classes))

    def indices(self, names: Collection[str], by: str) -> list[int]:
        """Find classes by name.

        Args:
            names: of classes (what stands before the first full stop is enough) or of groups.
            by: `classes` or `groups`.

        Returns:
            Class indices.

        Raises:
            UserError: the set has no class or group of some name.
        """
        labels = [name.split(".")[0] for name in self.train.class_names] if by == "classes" else list(self.train.groups or ())
        absent = sorted(set(names) - set(labels))
        if absent:
            lacking = f"{len(absent)} {by} of the published split ({absent[0]}, ...)"
            raise UserError(f"'{self.train.name}' lacks {lacking}; use the published set")
        wanted = set(names)
        return [i for i, label in enumerate(labels) if label in wanted]

    def divide(self, name: str, train: Sequence[int], validation: Sequence[int], test: Sequence[int]) -> ClassSplit:
        """Make a domain of this set.

        Args:
            name: of the domain.
            train: classes to meta-train on.
            validation: classes to select on.
            test: classes to test on.

        Returns:
            The split.
        """
        return ClassSplit(name, self.part(train), self.part(validation), self.part(test))


def listed(name: str, pool: Pool, names: ClassList) -> ClassSplit:
    """Divide classes as published.

    Args:
        name: of the domain.
        pool: the set.
        names: the published split.

    Returns:
        The split.
    """
    train, validation, test = (pool.indices(part, names.by) for part in (names.train, names.validation, names.test))
    return pool.divide(name, train, validation, test)


def seeded(name: str, pool: Pool, randomness: Randomness, names: ClassList | None = None) -> ClassSplit:
    """Divide classes at random, in a published split's proportions; a set of few classes in half, without classes for validation.

    Where there are none, validation is on the test images of the classes that are trained on the training images of.

    Args:
        name: of the domain.
        pool: the set.
        randomness: decides.
        names: the published split of another set that this one stands for: its proportions (else CIFAR-FS's) and whether it divides
            classes or groups are kept.

    Returns:
        The split.
    """
    groups = sorted(set(pool.train.groups or ())) if names is not None and names.by == "groups" else []
    by_groups = len(groups) >= FEW_GROUPS
    units = len(groups) if by_groups else len(pool.train.class_names)
    order = torch.randperm(units, generator=randomness.generator("class split")).tolist()
    if not by_groups and units < FEW_CLASSES:
        half = tuple(sorted(order[: units // 2]))
        return ClassSplit(name, pool.part_of(pool.train, half), pool.part_of(pool.test, half), pool.part(sorted(order[units // 2 :])))
    sizes = SIZES if names is None else (len(names.train), len(names.validation), len(names.test))
    first, second = (round(units * sum(sizes[:part]) / sum(sizes)) for part in (1, 2))
    chosen = sorted(order[:first]), sorted(order[first:second]), sorted(order[second:])
    if by_groups:
        train, validation, test = (pool.indices([groups[i] for i in part], "groups") for part in chosen)
        return pool.divide(name, train, validation, test)
    return pool.divide(name, *chosen)
