"""Cutting a stream out of image sets: what all families of streams share, as a row of small steps."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from scenarios.errors import UserError
from scenarios.experience import Examples, Experience, Scenario, Setting
from scenarios.images import ImageSet
from scenarios.options import option
from scenarios.random import Randomness
from scenarios.recommended import for_streams
from scenarios.storage import Storage, View
from scenarios.streams.arrival import arriving, blur
from scenarios.streams.request import Request, image_size
from scenarios.streams.selecting import hold_out, limit, limit_by_class
from scenarios.streams.shaping import Normalise, normalisation
from scenarios.streams.spoiling import NoiseKind, mislabelled, thinned


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
        long_tail: training examples of the largest class for one of the smallest; the others lie between, on an exponential.
        long_tail_order: which classes are large: those met first (ordered), or any (shuffled).
        label_noise: share of each class's training examples, in each experience, that have a wrong label. Tests are untouched.
        label_noise_kind: any other class of the experience (symmetric), or the next one (pairs).
        online: one pass, in the order of arrival, and no word of where an experience ends: for learners that do not ask for it.
    """

    setting: Setting = "task"
    validation_share: float = option(0.0, low=0, high=0.9)
    train_examples: int | None = option(None, low=1)
    test_examples: int | None = option(None, low=1)
    normalise: Normalise = "auto"
    size: str | None = None
    seed: int | None = None
    long_tail: float = option(1.0, low=1)
    long_tail_order: Literal["ordered", "shuffled"] = "shuffled"
    label_noise: float = option(0.0, low=0, high=1)
    label_noise_kind: NoiseKind = "symmetric"
    online: bool = False

    def __post_init__(self) -> None:
        image_size(self.size)
        if self.online and self.setting == "task":
            raise UserError("scenario.online tells no boundaries, and a task label would; choose --setting class or domain")
        if self.long_tail == 1 and self.long_tail_order != "shuffled":
            raise UserError("scenario.long_tail_order says which classes a long tail leaves large; set scenario.long_tail as well")
        if not self.label_noise and self.label_noise_kind != "symmetric":
            raise UserError("scenario.label_noise_kind says what wrong labels there are; set scenario.label_noise as well")


@dataclass(frozen=True, eq=False)
class Cut:
    """What one experience is cut from.

    Attributes:
        classes: class indices of the storage, in the order of the experience's outputs.
        name: what the experience is called; by default its classes.
        labels: what its outputs are called; by default as the classes are.
        train: int64 [n], the rows that are learned from; None for all of the classes.
        test: int64 [n], the rows that are tested on; None for all of the classes.
        targets: the outputs of its classes, in a stream in which they come back; None for outputs of its own, after those before.
        seen: how many outputs have been met with it, in such a stream.
    """

    classes: tuple[int, ...]
    name: str | None = None
    labels: tuple[str, ...] | None = None
    train: Tensor | None = None
    test: Tensor | None = None
    targets: tuple[int, ...] | None = None
    seen: int = 0

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
    gaussian: float = 0.0,
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
        gaussian: standard deviation of the times, in experiences, at which the examples of an experience arrive; 0 for sharp boundaries.
        recommended: options of a run that suit the scenario.

    Returns:
        The scenario.
    """
    _check_halves(train)
    randomness = stream_randomness(config, request)
    where = [class_rows(images) for images in (train, test)]
    _check_classes(train, cuts, *where)
    where[0] = thinned(where[0], _in_order(cuts), config.long_tail, config.long_tail_order, randomness.generator("long tail"))
    rows = [[_rows(where[0], cut.classes, cut.train) for cut in cuts], [_rows(where[1], cut.classes, cut.test) for cut in cuts]]
    outputs, targets = _outputs(config.setting, cuts)
    scale, shift = _normalisation(config, request, train, rows[0][0])
    storages = [Storage(images, view or View(), scale, shift) for images in (train, test)]
    learned, tested = (
        [_examples(storage, own, cut.classes, to, i) for i, (own, cut, to) in enumerate(zip(side, cuts, targets))]
        for storage, side in zip(storages, rows)
    )
    names = _names(train, cuts, targets)
    learned, held = _to_learn(config, learned, names, blurry, gaussian, randomness)
    tested = [limit(part, config.test_examples, randomness.generator("test examples", i)) for i, part in enumerate(tested)]
    experiences = tuple(
        Experience(i, cut.called(train), outputs[i], tuple(names[i][output] for output in outputs[i]), learned[i], held[i], tested[i])
        for i, cut in enumerate(cuts)
    )
    data = {**data_of(train, test), **({"online": True} if config.online else {})}
    recommended = {**for_streams(data), **(recommended or {})}
    return Scenario(request.name, config.setting, experiences, data, train.shape, recommended, config.online)


def stream_randomness(config: StreamConfig, request: Request) -> Randomness:
    """The randomness of a stream: its own seed's where it has one, else the run's.

    Args:
        config: options of the stream.
        request: with the run's seed.

    Returns:
        The randomness.
    """
    return Randomness(request.seed if config.seed is None else config.seed)


def _outputs(setting: Setting, cuts: Sequence[Cut]) -> tuple[list[range], list[tuple[int, ...]]]:
    # The outputs that belong to each experience, and that of each of its classes.
    if cuts[0].targets is not None:
        whole = cuts[-1].seen
        ranges = [range(whole if setting == "domain" else cut.seen) for cut in cuts]
        return ranges, [cut.targets or () for cut in cuts]
    widths = [len(cut.classes) for cut in cuts]
    if setting == "domain" and len(set(widths)) > 1:
        line = f"setting 'domain' needs equally many classes in every experience, not {sorted(set(widths))}"
        raise UserError(f"{line}; choose task or class")
    starts = [0 if setting == "domain" else sum(widths[:i]) for i in range(len(cuts))]
    ranges = [range(start, start + width) for start, width in zip(starts, widths)]
    return ranges, [tuple(own) for own in ranges]


def _names(images: ImageSet, cuts: Sequence[Cut], targets: Sequence[tuple[int, ...]]) -> list[dict[int, str]]:
    # What the outputs are called: an experience's own as it calls them, the others as whoever has them does.
    own = [dict(zip(to, cut.labels or [images.class_names[c] for c in cut.classes])) for cut, to in zip(cuts, targets)]
    everywhere = {output: name for names in reversed(own) for output, name in names.items()}
    return [{**everywhere, **names} for names in own]


def _in_order(cuts: Sequence[Cut]) -> list[int]:
    return list(dict.fromkeys(c for cut in cuts for c in cut.classes))


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


def _rows(where: Sequence[Tensor], classes: Sequence[int], chosen: Tensor | None) -> Tensor:
    everything = torch.cat([where[c] for c in classes])
    # A long tail has taken some of a class's rows away, also of those that a stream has chosen itself.
    return everything if chosen is None else chosen[torch.isin(chosen, everything)]


def _examples(storage: Storage, rows: Tensor, classes: Sequence[int], targets: Sequence[int], task: int) -> Examples:
    places = torch.full((len(storage.images.class_names),), -1)
    places[list(classes)] = torch.tensor(targets)
    return Examples(storage, rows, places[storage.images.labels[rows]], torch.full((len(rows),), task), task)


def _to_learn(
    config: StreamConfig, parts: list[Examples], names: list[dict[int, str]], blurry: float, gaussian: float, randomness: Randomness
) -> tuple[list[Examples], list[Examples]]:
    # What each experience learns from, and what it selects on.
    parts = [limit_by_class(part, config.train_examples, randomness.generator("train examples", i)) for i, part in enumerate(parts)]
    halves = [hold_out(part, config.validation_share, names[i], randomness.generator("validation", i)) for i, part in enumerate(parts)]
    learned = [rest for rest, _ in halves]
    if config.label_noise:
        kind, share = config.label_noise_kind, config.label_noise
        learned = [mislabelled(part, share, kind, randomness.generator("label noise", i)) for i, part in enumerate(learned)]
    learned = blur(learned, blurry, randomness.generator("blurry"))
    return arriving(learned, gaussian, config.online, randomness), [held for _, held in halves]


def _check_classes(images: ImageSet, cuts: Sequence[Cut], learned: Sequence[Tensor], tested: Sequence[Tensor]) -> None:
    for i, cut in enumerate(cuts):
        for c in cut.classes:
            for rows, chosen, kind in ((learned[c], cut.train, "training"), (tested[c], cut.test, "test")):
                if chosen is None and not len(rows):
                    line = f"class '{images.class_names[c]}' of '{images.name}' has no {kind} image, which experience {i} needs"
                    raise UserError(f"{line}; add some, or take the class away")


def _check_halves(images: ImageSet) -> None:
    if set(images.groups or ()) in ({"train", "test"}, {"train", "validation", "test"}):
        what = f"'{images.name}' has other classes in its part for the test than for training, as few-shot learning wants them"
        raise UserError(f"{what}; a stream needs the same in both, or choose a few-shot scenario (`simulate list scenarios`)")


def data_of(train: ImageSet, test: ImageSet) -> dict[str, Any]:
    """What a scenario says of its data.

    Args:
        train: all training images.
        test: all test images.

    Returns:
        Name, origin, fingerprint, whether they are as published, shape and number.
    """
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
