"""Streams of experiences cut from image sets: class splits, permuted and rotated sets, sequences of sets.

Sources: Split and Permuted MNIST as in Zenke et al. 2017 and van de Ven & Tolias 2019 (arXiv 1904.07734), whose three settings (`task`,
`domain`, `class`) every stream has; CIFAR-10 then CIFAR-100 as in Zenke et al. 2017; blurry boundaries after Aljundi et al. 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from scenarios.errors import UserError
from scenarios.experience import Scenario, Setting
from scenarios.images import ImageSet
from scenarios.options import option
from scenarios.sources.registry import sources
from scenarios.streams.cutting import Cut, StreamConfig, build_stream, stream_randomness
from scenarios.streams.orders import Order, class_order, counts_after_first, counts_as_listed, equal_counts, in_parts
from scenarios.streams.request import Request
from scenarios.streams.shaping import join, pad, require_images, reshape
from scenarios.streams.views import Permutation, Rotation


@dataclass(frozen=True, kw_only=True)
class SplitConfig(StreamConfig):
    """Options of class splits.

    Attributes:
        tasks: number of experiences; none for the protocol's own (10 for sets of many classes, else 5).
        first_classes: classes of the first experience, which the others share the rest of equally: 50 on CIFAR-100 is B50-inc10.
        classes_per_task: classes of each experience, for instance 50,10,20,20; ... in the end repeats the last (40,20,...).
        class_order: natural, seeded, numpy (NumPy's permutation of the seed), pycil (that of seed 1993, which LUCIR and PyCIL draw), or a
            list of all classes (3,1,4,...) to be cut into experiences in this order.
        blurry: share of each experience's training examples that come from its neighbours in the stream.
        gaussian: let tasks fade into one another: standard deviation, in experiences, of the times at which their examples arrive.
    """

    tasks: int | None = option(None, low=1)
    first_classes: int | None = option(None, low=1)
    classes_per_task: tuple[int | Literal["..."], ...] | None = option(None, low=1)
    class_order: Order | tuple[int, ...] = "natural"
    blurry: float = option(0.0, low=0, high=1)
    gaussian: float = option(0.0, low=0, high=10)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.classes_per_task and (self.tasks or self.first_classes):
            other = "tasks" if self.tasks else "first_classes"
            raise UserError(f"scenario.classes_per_task says it all; leave scenario.{other} out")
        if self.blurry and self.gaussian:
            raise UserError("scenario.blurry and scenario.gaussian are two ways to blur boundaries; choose one")


@dataclass(frozen=True, kw_only=True)
class PermutedConfig(StreamConfig):
    """Options of permuted streams.

    Attributes:
        tasks: number of experiences.
        permute_first: permute the first experience as well.
        padding: zeros around each image before it is permuted (2 makes 28x28 into 32x32).
    """

    setting: Setting = "domain"
    tasks: int = option(10, low=1)
    permute_first: bool = False
    padding: int = option(0, low=0)


@dataclass(frozen=True, kw_only=True)
class RotatedConfig(StreamConfig):
    """Options of rotated streams.

    Attributes:
        tasks: number of experiences.
        degrees: the last experience's angle; the first is upright, the others lie evenly between.
    """

    setting: Setting = "domain"
    tasks: int = option(5, low=1)
    degrees: float = 180.0


class Split:
    """The classes of a set, cut into experiences."""

    Config = SplitConfig

    @staticmethod
    def make(config: SplitConfig, request: Request) -> Scenario:
        """Build the stream.

        Args:
            config: its options.
            request: name, seed, data.

        Returns:
            The scenario.

        Raises:
            UserError: there is one experience alone, which has no neighbours to be blurred with.
        """
        own = request.parts["set"]
        train, test = request.sized(config.size).load(own)
        order = class_order(config.class_order, len(train.class_names), stream_randomness(config, request))
        counts = _counts(config, own, train, replaced=request.data is not None)
        if (config.blurry or config.gaussian) and len(counts) == 1:
            name = "blurry" if config.blurry else "gaussian"
            raise UserError(f"scenario.{name} mixes an experience with its neighbours, and one has none; choose 2 or more scenario.tasks")
        cuts = [Cut(classes) for classes in in_parts(order, counts)]
        return build_stream(config, request, train, test, cuts, blurry=config.blurry, gaussian=config.gaussian)


PRIME = ("flowers102", "pets", "dtd", "food101", "gtsrb")
"""Sets whose classes no usual number of experiences divides: some have one more."""


def _counts(config: SplitConfig, own: str, images: ImageSet, replaced: bool) -> list[int]:
    total, usual = len(images.class_names), 10 if own in ("cifar100", "tiny-imagenet", "cub200", *PRIME) else 5
    if config.classes_per_task:
        return counts_as_listed(total, config.classes_per_task, images.name)
    if config.first_classes:
        return counts_after_first(total, config.first_classes, config.tasks, max(total // usual, 1), images.name)
    if replaced and config.tasks is None and total < 2 * usual:
        few = f"'{images.name}' has too few classes ({total}) for {usual} experiences"
        raise UserError(f"{few}; choose another --data or scenario.tasks")
    if own in PRIME and config.tasks is None and not replaced:
        return [total // usual + (i < total % usual) for i in range(usual)]
    return equal_counts(total, config.tasks or usual, images.name)


class Cifar10Then100:
    """CIFAR-10, then 5 times 10 classes of CIFAR-100 (Zenke et al. 2017)."""

    Config = StreamConfig

    @staticmethod
    def make(config: StreamConfig, request: Request) -> Scenario:
        """Build the stream.

        Args:
            config: its options.
            request: name, seed, data.

        Returns:
            The scenario.
        """
        first, second = request.sized(config.size).load("cifar10", 10), request.sized(config.size).load("cifar100", 50)
        train, test = join([first[0], second[0]]), join([first[1], second[1]])
        start = len(first[0].class_names)
        cuts = [tuple(range(10)), *(tuple(range(start + 10 * i, start + 10 * (i + 1))) for i in range(5))]
        return build_stream(config, request, train, test, [Cut(classes=cut) for cut in cuts])


class Permuted:
    """A set whose pixels are permuted anew in every experience."""

    Config = PermutedConfig

    @staticmethod
    def make(config: PermutedConfig, request: Request) -> Scenario:
        """Build the stream.

        Args:
            config: its options.
            request: name, seed, data.

        Returns:
            The scenario.
        """
        train, test = (pad(images, config.padding) for images in request.sized(config.size).load(request.parts["set"]))
        require_images(train, "permuted-SET permutes pixels")
        pixels = train.shape[1] * train.shape[2]
        randomness = stream_randomness(config, request)
        orders = [torch.randperm(pixels, generator=randomness.generator("permutation", i)) for i in range(config.tasks)]
        if not config.permute_first:
            orders[0] = torch.arange(pixels)
        cuts = [Cut(classes=tuple(range(len(train.class_names))), name=f"permutation {i}") for i in range(config.tasks)]
        return build_stream(config, request, train, test, cuts, view=Permutation(torch.stack(orders)))


class Rotated:
    """A set rotated by another angle in every experience."""

    Config = RotatedConfig

    @staticmethod
    def make(config: RotatedConfig, request: Request) -> Scenario:
        """Build the stream.

        Args:
            config: its options.
            request: name, seed, data.

        Returns:
            The scenario.
        """
        train, test = request.sized(config.size).load(request.parts["set"])
        require_images(train, "rotated-SET rotates images")
        degrees = torch.linspace(0, config.degrees, config.tasks)
        cuts = [Cut(classes=tuple(range(len(train.class_names))), name=f"{angle:.0f} degrees") for angle in degrees.tolist()]
        return build_stream(config, request, train, test, cuts, view=Rotation(degrees))


class Sequence:
    """Data sets one after another, brought to one shape."""

    Config = StreamConfig

    @staticmethod
    def make(config: StreamConfig, request: Request) -> Scenario:
        """Build the stream.

        Args:
            config: its options.
            request: name, seed.

        Returns:
            The scenario.

        Raises:
            UserError: another data set was asked for, or a set of the name does not exist.
        """
        if request.data is not None:
            raise UserError(f"a sequence names its data sets itself; leave --data {request.data} out")
        pairs = [request.sized(config.size).load(name) for name in split_names(request.parts["sets"])]
        channels, height, width = (max(train.shape[d] for train, _ in pairs) for d in range(3))
        train, test = (join([reshape(pair[side], (channels, height, width)) for pair in pairs]) for side in (0, 1))
        cuts, start = [], 0
        for own, _ in pairs:
            cuts.append(Cut(classes=tuple(range(start, start + len(own.class_names))), name=own.name))
            start += len(own.class_names)
        return build_stream(config, request, train, test, cuts)


def split_names(joined: str) -> list[str]:
    """Take the names of data sets apart, some of which have hyphens themselves.

    Args:
        joined: names joined by hyphens.

    Returns:
        The names.

    Example:
        >>> split_names("mnist-emnist-letters-usps")
        ['mnist', 'emnist-letters', 'usps']
    """
    words, names = joined.split("-"), []
    while words:
        for length in range(len(words), 0, -1):
            if "-".join(words[:length]) in sources.rows:
                break
        else:
            sources.find(words[0])
        names.append("-".join(words[:length]))
        words = words[length:]
    return names
