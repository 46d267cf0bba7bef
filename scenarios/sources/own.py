"""Sets of people's own: their sides checked against each other, and put together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scenarios.errors import UserError
from scenarios.sources.base import hold_out
from scenarios.sources.decoded import Decoded, Labels, Part, Pixels
from scenarios.sources.pixels import DARKEST

TRAIN, VALIDATION, TEST = "train", "validation", "test"


def in_order(names: Iterable[str]) -> list[str]:
    """Put class names in order: whole numbers by their value, before all others, which are in alphabetical order.

    Args:
        names: the names.

    Returns:
        Each once.

    Example:
        >>> in_order(["10", "9", "b", "-1", "007", "a"])
        ['-1', '007', '9', '10', 'a', 'b']
    """
    return sorted(set(names), key=lambda name: (0, int(name), name) if re.fullmatch(r"-?[0-9]{1,300}", name) else (1, 0, name))


@dataclass(frozen=True)
class Side:
    """One side of a set.

    Attributes:
        name: train, validation or test.
        where: what it is called for the user, for instance `x_train`.
        numbers: int64 [n], the class of each image, an index into `classes`.
        classes: the classes' names, in order.
    """

    name: str
    where: str
    numbers: Labels
    classes: list[str]

    @classmethod
    def of(cls, name: str, where: str, labels: Sequence[str] | np.ndarray) -> Side:
        """Number the classes of a side.

        Args:
            name: train, validation or test.
            where: what it is called for the user.
            labels: the class name of each image.

        Returns:
            The side.

        Raises:
            UserError: a name is no text.
        """
        names, numbers = np.unique(np.asarray(labels), return_inverse=True)
        classes = in_order(names.tolist())
        for own in classes:
            if any("\ud800" <= letter <= "\udfff" for letter in own):
                raise UserError(f"{where} has a class whose name is no Unicode text ({ascii(own)}); call it otherwise")
        place = {own: i for i, own in enumerate(classes)}
        return cls(name, where, np.array([place[own] for own in names.tolist()])[numbers.reshape(-1)].astype(np.int64), classes)


def assemble(set_name: str, pixels: Pixels, sides: Sequence[Side], notes: Sequence[str] = (), *, divided: bool = False) -> Decoded:
    """Put a set together.

    Sides that share no class are a division of the classes, as few-shot learning has it; then a class's group is its side. Else all have
    the same classes, and images for validation are left out (a stream takes its own out of those for training). Of one side alone, a fifth
    of each class is held out for the test.

    Args:
        set_name: what the set is called in messages.
        pixels: uint8 [N, C, H, W], the images (or features, real numbers [N, F, 1, 1]) of all sides, one side after another.
        sides: train, and where they are there validation and test, in this order.
        notes: what the user should know already.
        divided: the sides must not share a class.

    Returns:
        The set.

    Raises:
        UserError: a side lacks classes of another, or images show nothing.
    """
    ends = np.cumsum([len(side.numbers) for side in sides]).tolist()
    parts = {side.name: pixels[end - len(side.numbers) : end] for side, end in zip(sides, ends)}
    if pixels.dtype == np.uint8:
        _check_images(set_name, sides, pixels, parts)
    train, rest = sides[0], list(sides[1:])
    if not rest:
        return _held_out(train, pixels, notes)
    shared = {name for i, side in enumerate(sides) for other in sides[:i] for name in {*side.classes} & {*other.classes}}
    if divided and shared:
        twice = in_order(shared)[0]
        wheres = [side.where for side in sides if twice in side.classes]
        raise UserError(f"class '{twice}' is in {' and in '.join(wheres)}; a class must be on one side of the division")
    if not shared:
        return _division(sides, pixels, notes)
    test = rest[-1]
    _check_classes(train, test)
    if len(rest) == 2:
        extra = len(rest[0].numbers)
        notes = [*notes, f"{extra} images of {rest[0].where} are left out: scenario.validation_share takes some of {train.where}"]
    learned, tested = (Part.of(parts[side.name], side.numbers) for side in (train, test))
    return Decoded(learned, tested, tuple(train.classes), verified=False, notes=tuple(notes))


def _held_out(side: Side, pixels: Pixels, notes: Sequence[str]) -> Decoded:
    counts = np.bincount(side.numbers)
    if counts.min() < 2:
        single = [name for name, count in zip(side.classes, counts) if count < 2]
        many = f"{len(single)} classes have" if len(single) > 1 else "it has"
        raise UserError(f"class '{single[0]}' of {side.where} has 1 image, and a test needs one more ({many} no second); add some")
    keep, held = hold_out(side.numbers)
    learned, tested = (Part.of(pixels[rows], side.numbers[rows]) for rows in (keep, held))
    return Decoded(learned, tested, tuple(side.classes), verified=False, notes=tuple(notes))


def _division(sides: Sequence[Side], pixels: Pixels, notes: Sequence[str]) -> Decoded:
    starts = np.cumsum([0, *(len(side.classes) for side in sides)]).tolist()
    labels = np.concatenate([side.numbers + start for side, start in zip(sides, starts)])
    first = len(sides[0].numbers)
    names = tuple(name for side in sides for name in side.classes)
    groups = tuple(side.name for side in sides for _ in side.classes)
    learned, rest = Part.of(pixels[:first], labels[:first]), Part.of(pixels[first:], labels[first:])
    return Decoded(learned, rest, names, groups, verified=False, notes=tuple(notes))


def _check_classes(train: Side, test: Side) -> None:
    for side, other in ((train, test), (test, train)):
        only = in_order({*side.classes} - {*other.classes})
        if only:
            more = f" (and {len(only) - 1} more)" if len(only) > 1 else ""
            line = f"class '{only[0]}'{more} is in {side.where}, but not in {other.where}: it has no counterpart"
            raise UserError(f"{line}; add images there, or take it away (sides that share no class are a few-shot division)")


def _check_images(set_name: str, sides: Sequence[Side], pixels: Pixels, parts: Mapping[str, Pixels]) -> None:
    for side in sides:
        _check_side(side, parts[side.name])
    if not _reaches(pixels, DARKEST):
        span = f"its brightest pixel is {int(pixels.max())} of 255"
        raise UserError(f"{set_name} is all but black ({span}): its numbers are on another scale; stretch them to 0 to 255")


def _check_side(side: Side, pixels: Pixels) -> None:
    _, firsts, counts = np.unique(side.numbers, return_index=True, return_counts=True)
    for number, (first, count) in enumerate(zip(firsts, counts)):
        image = pixels[first]
        if count > 1 and (image == image[:, :1, :1]).all() and _all_equal(pixels, np.flatnonzero(side.numbers == number)):
            what = f"all {count} images of class '{side.classes[number]}' in {side.where} are one constant"
            raise UserError(f"{what} ({', '.join(map(str, image[:, 0, 0]))}): nothing is to be seen on them; look at the files")
    if len(side.numbers) > len(side.classes) and _all_equal(pixels, np.arange(len(side.numbers))):
        raise UserError(f"all {len(side.numbers)} images of {side.where} are equal; look at the files")


def _all_equal(pixels: Pixels, rows: np.ndarray) -> bool:
    return all(np.array_equal(pixels[row], pixels[rows[0]]) for row in rows)


def _reaches(pixels: Pixels, level: int) -> bool:
    return any(int(pixels[start : start + 256].max()) >= level for start in range(0, len(pixels), 256))
