"""Cutting a stream out of image sets: what all families of streams share, as a row of small steps."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from torch import Tensor

from scenarios.errors import UserError
from scenarios.experience import Examples, Experience, Scenario, Setting
from scenarios.images import ImageSet
from scenarios.options import option
from scenarios.random import Randomness
from scenarios.recommended import for_streams
from scenarios.storage import Storage, View
from scenarios.streams.request import Request, image_size
from scenarios.streams.selecting import blur, hold_out, limit, limit_by_class
from scenarios.streams.shaping import Normalise, normalisation


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """Options that all streams share.

    Attributes:
        setting: whether the task label is given (task), or not (domain: the same labels in every experience; class: all classes seen).
        validation_share: share of each experience's training examples that is held out for selections.
        train_examples: use at most so many training examples an experience, drawn by class; none for all.
        test_examples: use at most so many test examples an experience; none for all.
        normalise: to zero mean and unit variance by channel or feature over all training examples (standard) or those of the first
            experience alone (first), pixels to [0, 1] (unit), or by their kind (auto): standard for colour, features as they are.
        size: what images are brought to: 32, or 32x48 (width x height); none for the set's own size, in a folder the commonest.
        seed: of class orders, permutations and splits; none for the run's seed.
    """

    setting: Setting = "task"
    validation_share: float = option(0.0, low=0, high=0.9)
    train_examples: int | None = option(None, low=1)
    test_examples: int | None = option(None, low=1)
    normalise: Normalise = "auto"
    size: str | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        image_size(self.size)


@dataclass(frozen=True, eq=False)
class Cut:
    """What one experience is cut from.

    Attributes:
        classes: class indices of the storage, in the order of the experience's outputs.
        name: what the experience is called; by default its classes.
    """

    classes: tuple[int, ...]
    name: str | None = None

    def called(self, images: ImageSet) -> str:
        """What the experience is called.

        Args:
            images: with the names of the classes.

        Returns:
            Its name, or its classes: the first and the last of more than two.
        """
        names = [images.class_names[c] for c in self.classes]
        return self.name or (", ".join(names) if len(names) <= 2 else f"{names[0]}, ..., {names[-1]}")


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
    """
    _check_halves(train)
    outputs = _outputs(config.setting, cuts)
    where = [class_rows(images) for images in (train, test)]
    _check_classes(train, cuts, *where)
    scale, shift = _normalisation(config, request, train, torch.cat([where[0][c] for c in cuts[0].classes]))
    sides = [Storage(images, view or View(), scale, shift) for images in (train, test)]
    learned, tested = ([_examples(side, rows, *of) for of in zip(cuts, outputs, count())] for side, rows in zip(sides, where))
    randomness = stream_randomness(config, request)
    learned = [limit_by_class(part, config.train_examples, randomness.generator("train examples", i)) for i, part in enumerate(learned)]
    tested = [limit(part, config.test_examples, randomness.generator("test examples", i)) for i, part in enumerate(tested)]
    names = [tuple(train.class_names[c] for c in cut.classes) for cut in cuts]
    halves = [
        hold_out(part, config.validation_share, own, randomness.generator("validation", i))
        for i, (part, own) in enumerate(zip(learned, names))
    ]
    learned = blur([rest for rest, _ in halves], blurry, randomness.generator("blurry"))
    experiences = tuple(
        Experience(i, cut.called(train), outputs[i], names[i], learned[i], halves[i][1], tested[i]) for i, cut in enumerate(cuts)
    )
    data = _data(train, test)
    return Scenario(request.name, config.setting, experiences, data, train.shape, {**for_streams(data), **(recommended or {})})


def stream_randomness(config: StreamConfig, request: Request) -> Randomness:
    """The randomness of a stream: its own seed's where it has one, else the run's.

    Args:
        config: options of the stream.
        request: with the run's seed.

    Returns:
        The randomness.
    """
    return Randomness(request.seed if config.seed is None else config.seed)


def _outputs(setting: Setting, cuts: Sequence[Cut]) -> list[range]:
    widths = [len(cut.classes) for cut in cuts]
    if setting != "domain":
        return [range(sum(widths[:i]), sum(widths[: i + 1])) for i in range(len(cuts))]
    if len(set(widths)) > 1:
        line = f"setting 'domain' needs equally many classes in every experience, not {sorted(set(widths))}"
        raise UserError(f"{line}; choose task or class")
    return [range(width) for width in widths]


def class_rows(images: ImageSet) -> list[Tensor]:
    """Which images belong to which class.

    Args:
        images: the set.

    Returns:
        For each class int64 [n], ascending.
    """
    sizes = images.labels.bincount(minlength=len(images.class_names)).tolist()
    return list(images.labels.argsort(stable=True).split(sizes))


def _normalisation(config: StreamConfig, request: Request, train: ImageSet, first: Tensor) -> tuple[Tensor, Tensor]:
    measured = train.select(first, "first") if config.normalise == "first" else train
    if request.report and config.normalise in ("first", "standard") and train.are_features:
        whose = "the first experience's" if config.normalise == "first" else "all experiences'"
        request.report(f"features are standardised by mean and deviation of {whose} {len(measured):,} training examples")
    return normalisation(config.normalise, measured)


def _examples(storage: Storage, where: Sequence[Tensor], cut: Cut, outputs: range, task: int) -> Examples:
    rows = torch.cat([where[c] for c in cut.classes])
    targets = torch.cat([torch.full((len(where[c]),), output) for c, output in zip(cut.classes, outputs)])
    return Examples(storage, rows, targets, torch.full((len(rows),), task), task)


def _check_classes(images: ImageSet, cuts: Sequence[Cut], learned: Sequence[Tensor], tested: Sequence[Tensor]) -> None:
    for i, cut in enumerate(cuts):
        for c in cut.classes:
            for rows, kind in ((learned[c], "training"), (tested[c], "test")):
                if not len(rows):
                    line = f"class '{images.class_names[c]}' of '{images.name}' has no {kind} image, which experience {i} needs"
                    raise UserError(f"{line}; add some, or take the class away")


def _check_halves(images: ImageSet) -> None:
    if set(images.groups or ()) in ({"train", "test"}, {"train", "validation", "test"}):
        what = f"'{images.name}' has other classes in its part for the test than for training, as few-shot learning wants them"
        raise UserError(f"{what}; a stream needs the same in both, or choose a few-shot scenario (`simulate list scenarios`)")


def _data(train: ImageSet, test: ImageSet) -> dict[str, Any]:
    return {
        "name": train.name,
        "origin": train.origin,
        "fingerprint": hashlib.sha256((train.fingerprint + test.fingerprint).encode()).hexdigest(),
        "verified": train.verified and test.verified,
        "shape": list(train.shape),
        "examples": len(train),
        **({"kind": "features"} if train.are_features else {}),
        **({"poisoned": True} if train.poisoned or test.poisoned else {}),
    }
