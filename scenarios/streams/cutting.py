"""Cutting a stream out of image sets: what all families of streams share."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from scenarios.errors import UserError, shown
from scenarios.experience import Examples, Experience, Scenario, Setting, Storage, View
from scenarios.images import ImageSet
from scenarios.options import option
from scenarios.random import Randomness
from scenarios.recommended import for_streams
from scenarios.sources import load
from scenarios.streams.selecting import blur, hold_out, limit, limit_by_class


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
_NUM_CLASSES = {"cifar100": 100, "tiny-imagenet": 200, "emnist-letters": 26}


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """Options that all streams share.

    Attributes:
        setting: whether the task label is given (task), or not (domain: the same labels in every experience; class: all classes seen).
        validation_share: share of each experience's training examples that is held out for selections.
        train_examples: use at most so many training examples an experience, drawn by class; none for all.
        test_examples: use at most so many test examples an experience; none for all.
        normalise: to zero mean and unit variance by channel (standard), to [0, 1] (unit), or by the images' kind: standard for colour.
        size: what images are brought to: 32, or 32x48 (width x height); none for the set's own size, in a folder the commonest.
        seed: of class orders, permutations and splits; none for the run's seed.
    """

    setting: Setting = "task"
    validation_share: float = option(0.0, low=0, high=0.9)
    train_examples: int | None = option(None, low=1)
    test_examples: int | None = option(None, low=1)
    normalise: Literal["auto", "standard", "unit"] = "auto"
    size: str | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        image_size(self.size)


@dataclass(frozen=True)
class Cut:
    """What one experience is cut from.

    Attributes:
        classes: class indices of the storage, in the order of the experience's outputs.
        name: what the experience is called; by default its classes.
    """

    classes: tuple[int, ...]
    name: str | None = None


def class_order(asked: str | tuple[int, ...], num_classes: int, randomness: Randomness) -> list[int]:
    """The order in which classes are met.

    Args:
        asked: natural, seeded, or all classes in some order.
        num_classes: how many there are.
        randomness: for a seeded order.

    Returns:
        All class indices.

    Raises:
        UserError: a class is repeated, missing or unknown.
    """
    if asked == "natural":
        return list(range(num_classes))
    if asked == "seeded":
        return torch.randperm(num_classes, generator=randomness.generator("class order")).tolist()
    assert isinstance(asked, tuple)
    repeated = sorted(c for c, times in Counter(asked).items() if times > 1)
    missing = sorted(set(range(num_classes)) - set(asked))
    unknown = sorted(set(asked) - set(range(num_classes)))
    for words, wrong in (("repeats", repeated), ("names unknown", unknown), ("lacks", missing)):
        if wrong:
            shown = ", ".join(map(str, wrong[:5])) + (", ..." if len(wrong) > 5 else "")
            raise UserError(f"scenario.class_order {words} class {shown}; give each of 0 to {num_classes - 1} once")
    return list(asked)


def build_stream(
    config: StreamConfig,
    request: Request,
    train: ImageSet,
    test: ImageSet,
    cuts: Sequence[Cut],
    *,
    view: View | None = None,
    blurry: float = 0.0,
    recommended: Mapping[str, object] | None = None,
) -> Scenario:
    """Cut a stream out of one storage.

    Args:
        config: options that all streams share.
        request: name and seed.
        train: all training images.
        test: all test images.
        cuts: the experiences, in order.
        view: how images are seen, by experience.
        blurry: share of each experience's training examples that come from its neighbours.
        recommended: options of a run that suit the scenario.

    Returns:
        The scenario.

    Raises:
        UserError: setting `domain` and experiences of different numbers of classes.
    """
    setting = config.setting
    widths = {len(cut.classes) for cut in cuts}
    if setting == "domain" and len(widths) > 1:
        raise UserError(f"setting 'domain' needs equally many classes in every experience, not {sorted(widths)}; choose task or class")
    scale, shift = normalisation(config.normalise, train)
    sides = [Storage(images, view or View(), scale, shift) for images in (train, test)]
    randomness = stream_randomness(config, request)
    starts = [0 if setting == "domain" else sum(len(cut.classes) for cut in cuts[:i]) for i in range(len(cuts))]
    where = [[torch.nonzero(side.images.labels == c)[:, 0] for c in range(len(train.class_names))] for side in sides]
    _check_classes(train, cuts, *where)
    trains, tests = (
        [_examples(side, rows, cut, start, i) for i, (cut, start) in enumerate(zip(cuts, starts))] for side, rows in zip(sides, where)
    )
    trains = [limit_by_class(part, config.train_examples, randomness.generator("train examples", i)) for i, part in enumerate(trains)]
    tests = [limit(part, config.test_examples, randomness.generator("test examples", i)) for i, part in enumerate(tests)]
    named = [[train.class_names[c] for c in cut.classes] for cut in cuts]
    held = [
        hold_out(part, config.validation_share, names, randomness.generator("validation", i))
        for i, (part, names) in enumerate(zip(trains, named))
    ]
    learned = blur([rest for rest, _ in held], blurry, randomness.generator("blurry"))
    experiences = tuple(
        Experience(
            index=i,
            name=cut.name or _name(train, cut),
            outputs=range(starts[i], starts[i] + len(cut.classes)),
            classes=tuple(named[i]),
            train=learned[i],
            validation=held[i][1],
            test=tests[i],
        )
        for i, cut in enumerate(cuts)
    )
    fingerprint = hashlib.sha256((train.fingerprint + test.fingerprint).encode()).hexdigest()
    data = {
        "name": train.name,
        "origin": train.origin,
        "fingerprint": fingerprint,
        "verified": train.verified and test.verified,
        "shape": list(train.shape),
        "examples": len(train),
        **({"poisoned": True} if train.poisoned or test.poisoned else {}),
    }
    return Scenario(request.name, setting, experiences, data, train.shape, {**for_streams(data), **(recommended or {})})


def stream_randomness(config: StreamConfig, request: Request) -> Randomness:
    """The randomness of a stream: its own seed's where it has one, else the run's.

    Args:
        config: options of the stream.
        request: with the run's seed.

    Returns:
        The randomness.
    """
    return Randomness(request.seed if config.seed is None else config.seed)


def pad(images: ImageSet, padding: int) -> ImageSet:
    """Put zeros around all images.

    Args:
        images: the set.
        padding: how many on each side.

    Returns:
        The set of larger images.
    """
    if not padding:
        return images
    padded = torch.nn.functional.pad(images.images, [padding] * 4)
    return replace(images, images=padded, fingerprint=_derived(images, f"padding {padding}"), _copies={})


def reshape(images: ImageSet, shape: tuple[int, int, int]) -> ImageSet:
    """Bring a set to another shape: grey to colour or back, and bilinear resizing.

    Args:
        images: the set.
        shape: the shape wanted, (C, H, W).

    Returns:
        The set in that shape.
    """
    if images.shape == shape:
        return images
    pixels = images.images
    if pixels.shape[1] == 3 and shape[0] == 1:
        pixels = pixels.float().mean(1, keepdim=True).round().to(torch.uint8)
    if pixels.shape[2:] != shape[1:]:
        parts = [
            torch.nn.functional.interpolate(part.float(), shape[1:], mode="bilinear", align_corners=False, antialias=True)
            for part in pixels.split(4096)
        ]
        pixels = torch.cat([part.round_().clamp_(0, 255).to(torch.uint8) for part in parts])
    pixels = pixels.expand(-1, shape[0], -1, -1).contiguous()
    return replace(images, images=pixels, fingerprint=_derived(images, f"shape {shape}"), _copies={})


def join(sets: Sequence[ImageSet]) -> ImageSet:
    """Put image sets of one shape into one; the classes of later sets follow those of earlier ones.

    Args:
        sets: at least one set.

    Returns:
        The joint set; its origin is the least real of its parts'.
    """
    starts = [sum(len(part.class_names) for part in sets[:i]) for i in range(len(sets))]
    order = ("generated", "embedded", "real")
    return ImageSet(
        name="+".join(part.name for part in sets),
        images=torch.cat([part.images for part in sets]),
        labels=torch.cat([part.labels + start for part, start in zip(sets, starts)]),
        class_names=tuple(name for part in sets for name in part.class_names),
        origin=min((part.origin for part in sets), key=order.index),
        fingerprint=hashlib.sha256("".join(part.fingerprint for part in sets).encode()).hexdigest(),
        verified=all(part.verified for part in sets),
        poisoned=any(part.poisoned for part in sets),
    )


def _derived(images: ImageSet, how: str) -> str:
    return hashlib.sha256(f"{images.fingerprint} {how}".encode()).hexdigest()


def _examples(storage: Storage, where: list[Tensor], cut: Cut, start: int, task: int) -> Examples:
    rows = torch.cat([where[c] for c in cut.classes])
    targets = torch.cat([torch.full((len(where[c]),), start + k) for k, c in enumerate(cut.classes)])
    return Examples(storage, rows, targets, torch.full((len(rows),), task), task)


def _check_classes(images: ImageSet, cuts: Sequence[Cut], learned: Sequence[Tensor], tested: Sequence[Tensor]) -> None:
    if set(images.groups or ()) in ({"train", "test"}, {"train", "validation", "test"}):
        what = f"'{images.name}' has other classes in its part for the test than for training, as few-shot learning wants them"
        raise UserError(f"{what}; a stream needs the same in both, or choose a few-shot scenario (`simulate list scenarios`)")
    for i, cut in enumerate(cuts):
        for c in cut.classes:
            for rows, kind in ((learned[c], "training"), (tested[c], "test")):
                if not len(rows):
                    line = f"class '{images.class_names[c]}' of '{images.name}' has no {kind} image, which experience {i} needs"
                    raise UserError(f"{line}; add some, or take the class away")


def _name(images: ImageSet, cut: Cut) -> str:
    names = [images.class_names[c] for c in cut.classes]
    return ", ".join(names) if len(names) <= 2 else f"{names[0]}, ..., {names[-1]}"


def normalisation(kind: Literal["auto", "standard", "unit"], images: ImageSet) -> tuple[Tensor, Tensor]:
    """How pixels become the network's input: `pixels * scale + shift`.

    Args:
        kind: zero mean and unit variance by channel (standard), [0, 1] (unit), or by the images' kind (auto): standard for colour.
        images: what mean and variance are taken over.

    Returns:
        Scale and shift, float [C, 1, 1].
    """
    channels = images.shape[0]
    if kind == "unit" or (kind == "auto" and channels == 1):
        return torch.full((channels, 1, 1), 1 / 255), torch.zeros(channels, 1, 1)
    values = torch.arange(256, dtype=torch.float64)
    counts = torch.stack([torch.bincount(images.images[:, c].flatten(), minlength=256) for c in range(channels)]).double()
    mean = (counts @ values) / counts.sum(1)
    deviation = ((counts @ values.square()) / counts.sum(1) - mean.square()).sqrt().clamp_min(1.0)
    return (1 / deviation).float()[:, None, None], (-mean / deviation).float()[:, None, None]

