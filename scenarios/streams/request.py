"""What a scenario is made from beside its options: its name, the run's seed, and where data sets come from."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from scenarios.errors import UserError, shown
from scenarios.images import ImageSet
from scenarios.sources import load
from scenarios.streams.shaping import reshape


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a scenario is made from, beside its options.

    Attributes:
        name: what the user typed.
        parts: what stands in the place of the registry name's placeholders, for instance `{"set": "cifar10"}`.
        seed: of the run; class orders, permutations and validation splits are drawn from it.
        data: replaces the data set and keeps the protocol.
        data_root: where data sets lie.
        report: is told what a download is doing.
        size: what images are brought to, as `image_size` reads it; none for their own.
    """

    name: str
    parts: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    data: str | None = None
    data_root: Path | None = None
    report: Callable[[str], None] | None = None
    size: str | None = None

    def sized(self, size: str | None) -> Request:
        """The same, for images of another size.

        Args:
            size: what images are brought to, as `image_size` reads it; none for their own.

        Returns:
            The request.
        """
        return replace(self, size=size)

    def load(self, name: str, num_classes: int = 0) -> tuple[ImageSet, ImageSet]:
        """Load a data set, or the one that replaces it.

        Args:
            name: the scenario's own set.
            num_classes: the classes that the protocol needs.

        Returns:
            Training and test images.

        Raises:
            UserError: the replacement has too few classes.
        """
        chosen = self.data or name
        many = max(num_classes, _NUM_CLASSES.get(name, 0)) > 10
        if many or chosen == "embedded":
            chosen = {"generated": "generated100", "embedded": "glyphs" if many else "digits"}.get(chosen, chosen)
        wanted = image_size(self.size)
        train, test = load(chosen, root=self.data_root, report=self.report, size=wanted)
        if len(train.class_names) < num_classes:
            raise UserError(f"'{chosen}' has {len(train.class_names)} classes, but {self.name} needs {num_classes}; choose another --data")
        if wanted is not None and train.are_features:
            raise UserError(f"'{chosen}' holds features, which have no width and height; leave scenario.size out")
        if wanted is not None:
            train, test = (reshape(images, (images.shape[0], wanted[1], wanted[0])) for images in (train, test))
        return train, test


def image_size(text: str | None) -> tuple[int, int] | None:
    """Read the size that a user wants images to have.

    Args:
        text: the side of a square, or width and height.

    Returns:
        Width and height, or None for the images' own size.

    Raises:
        UserError: the text says something else, or more than 1024 pixels.

    Example:
        >>> image_size("32"), image_size("32x48")
        ((32, 32), (32, 48))
    """
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,4})(?:x([0-9]{1,4}))?", text.strip().lower())
    sides = [int(side) for side in found.groups() if side] if found else []
    if not sides or min(sides) < 1 or max(sides) > LARGEST_SIDE:
        raise UserError(f"scenario.size must be like 32 or 32x48 (width x height), up to {LARGEST_SIDE}, not {shown(text)}")
    return sides[0], sides[-1]


LARGEST_SIDE = 1024
_NUM_CLASSES = {
    "cifar100": 100,
    "tiny-imagenet": 200,
    "emnist-letters": 26,
    "flowers102": 102,
    "pets": 37,
    "dtd": 47,
    "food101": 101,
    "gtsrb": 43,
    "cub200": 200,
    "core50": 50,
}
