"""Disposable transfer learning: a source task, a target task, and the order to dispose of the source.

Koh, Shon, Lee, Hong, Kim. *Disposable Transfer Learning for Selective Source Task Unlearning.* ICCV 2023. Three experiences, told apart by
their roles: `source` is pre-trained on, `target` is transferred to, and in `dispose` the source is to be forgotten without harm to the
target. The third has the target's outputs and training data (a learner that knows nothing of disposal trains on: the keep-only baseline)
and no test of its own: what is left of source and target stands in their columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch

from scenarios.errors import UserError
from scenarios.experience import Examples, Scenario
from scenarios.images import ImageSet
from scenarios.options import option
from scenarios.recommended import for_streams
from scenarios.streams.cutting import Cut, StreamConfig, build_stream, stream_randomness
from scenarios.streams.orders import class_order
from scenarios.streams.request import Request
from scenarios.streams.shaping import join, reshape
from scenarios.streams.streams import split_names


@dataclass(frozen=True, kw_only=True)
class TransferConfig(StreamConfig):
    """Options of a transfer between two sets.

    Attributes:
        source_classes: use the source's first so many classes; none for all.
        target_classes: use the target's first so many classes; none for all.
        source_examples: pre-train on at most so many examples; none for all.
        target_examples: transfer with at most so many examples; none for all.
    """

    source_classes: int | None = option(None, low=2)
    target_classes: int | None = option(None, low=2)
    source_examples: int | None = option(None, low=1)
    target_examples: int | None = option(None, low=1)


@dataclass(frozen=True, kw_only=True)
class TransferSplitConfig(StreamConfig):
    """Options of a transfer between the classes of one set.

    Attributes:
        source_classes: the source's classes, the first of the order; the others are the target's. None for half of them.
        class_order: natural, seeded, or a list of all classes (3,1,4,...).
        source_examples: pre-train on at most so many examples; none for all.
        target_examples: transfer with at most so many examples; none for all.
    """

    source_classes: int | None = option(None, low=2)
    class_order: Literal["natural", "seeded"] | tuple[int, ...] = "natural"
    source_examples: int | None = option(None, low=1)
    target_examples: int | None = option(None, low=1)


class Transfer:
    """From one set to another, brought to one shape."""

    Config = TransferConfig

    @staticmethod
    def make(config: TransferConfig, request: Request) -> Scenario:
        """Build the stream.

        Args:
            config: its options.
            request: name and seed.

        Returns:
            The scenario.

        Raises:
            UserError: these are not two data sets, or a set has fewer classes than asked for.
        """
        if request.data is not None:
            raise UserError(f"a transfer names its data sets itself; leave --data {request.data} out")
        names = split_names(f"{request.parts['source']}-{request.parts['target']}")
        if len(names) != 2:
            raise UserError(f"{request.name} must name two data sets, as transfer-digits-glyphs does, not {len(names)}")
        pairs = [request.sized(config.size).load(name) for name in names]
        wanted = [_classes(pair[0], count, side) for pair, count, side in zip(pairs, _asked(config), ("source", "target"))]
        shape = _one_shape([pair[0] for pair in pairs], request.report)
        train, test = (join([reshape(pair[side], shape) for pair in pairs]) for side in (0, 1))
        start = len(pairs[0][0].class_names)
        cuts = [tuple(range(wanted[0])), tuple(range(start, start + wanted[1]))]
        return _three(config, request, train, test, cuts, [f"source: {names[0]}", f"target: {names[1]}"])


class TransferSplit:
    """From some classes of a set to the others."""

    Config = TransferSplitConfig

    @staticmethod
    def make(config: TransferSplitConfig, request: Request) -> Scenario:
        """Build the stream.

        Args:
            config: its options.
            request: name, seed, data.

        Returns:
            The scenario.

        Raises:
            UserError: fewer than two classes are left for the source or the target.
        """
        train, test = request.sized(config.size).load(request.parts["set"])
        order = class_order(config.class_order, len(train.class_names), stream_randomness(config, request))
        count = config.source_classes or len(order) // 2
        if not 2 <= count <= len(order) - 2:
            many = f"scenario.source_classes={count} of the {len(order)} classes of '{train.name}'"
            raise UserError(f"{many} leaves a task of fewer than 2 classes; choose from 2 to {len(order) - 2}")
        return _three(config, request, train, test, [tuple(order[:count]), tuple(order[count:])], ["source", "target"])


def _asked(config: TransferConfig) -> tuple[int | None, int | None]:
    return config.source_classes, config.target_classes


def _classes(images: ImageSet, count: int | None, side: str) -> int:
    there = len(images.class_names)
    if count is not None and count > there:
        raise UserError(f"scenario.{side}_classes={count} is more than the {there} classes of '{images.name}'; choose at most {there}")
    return count or there


def _one_shape(sets: list[ImageSet], report: Callable[[str], None] | None) -> tuple[int, int, int]:
    channels, height, width = (max(images.shape[d] for images in sets) for d in range(3))
    shape = (channels, height, width)
    for images in sets:
        if images.shape != shape and report:
            before, after = ("x".join(map(str, size)) for size in (images.shape, shape))
            report(f"{images.name} is brought from {before} to {after}, the shape of both sets together")
    return shape


def _three(
    config: TransferConfig | TransferSplitConfig,
    request: Request,
    train: ImageSet,
    test: ImageSet,
    cuts: list[tuple[int, ...]],
    names: list[str],
) -> Scenario:
    pairs = [Cut(classes=classes, name=name) for classes, name in zip(cuts, names)]
    stream = build_stream(config, request, train, test, pairs)
    randomness = stream_randomness(config, request)
    limits = (config.source_examples, config.target_examples)
    source, target = (
        replace(experience, role=role, train=_fewer(experience.train, limit, randomness.generator("examples", role)))
        for experience, role, limit in zip(stream.experiences, ("source", "target"), limits)
    )
    nothing = target.test.select(torch.zeros(0, dtype=torch.int64))
    dispose = replace(target, index=2, name="dispose", role="dispose", test=nothing)
    experiences = (source, target, dispose)
    data = {**stream.data, "roles": [experience.role for experience in experiences]}
    return replace(stream, experiences=experiences, data=data, recommended=for_streams(data))


def _fewer(examples: Examples, count: int | None, generator: torch.Generator) -> Examples:
    if count is None or count >= len(examples):
        return examples
    return examples.select(torch.randperm(len(examples), generator=generator)[:count].sort().values)
