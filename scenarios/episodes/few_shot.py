"""The episodic scenarios: Omniglot, CIFAR-FS, FC100, mini- and tiered-ImageNet, CUB, the embedded sets, and streams of such domains.

Protocols: Omniglot as in Finn et al. 2017 (characters at random: 1,100 train, 100 validation, 423 test; quarter turns are classes of their
own) or by alphabets (Lake et al. 2015: background and evaluation); the others by their published class lists. `--data` replaces the images
and keeps the proportions of the split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

import torch

from scenarios.episodes.class_splits import ClassPart, ClassSplit, Pool, listed, seeded
from scenarios.episodes.class_table import class_table
from scenarios.episodes.episodes import EpisodeSpec, EpisodeStream
from scenarios.episodes.episodic import EpisodicExperience, EpisodicScenario
from scenarios.errors import UserError
from scenarios.images import ImageSet
from scenarios.options import option
from scenarios.random import Randomness
from scenarios.recommended import for_episodes
from scenarios.sources.registry import sources
from scenarios.splits import class_list
from scenarios.storage import Storage, View
from scenarios.streams.request import Request, image_size
from scenarios.streams.shaping import Normalise, normalisation

OMNIGLOT_TEST, OMNIGLOT_VALIDATION, OMNIGLOT_VALIDATION_ALPHABETS = 423, 100, 5
_MEASURED = 20_000  # images that mean and variance are taken over


@dataclass(frozen=True, kw_only=True)
class EpisodicConfig(EpisodeSpec):
    """Options of all episodic scenarios: the composition of training episodes, and what is different in validation and testing.

    Attributes:
        test_ways: classes of an episode in validation and testing; none for `ways`.
        test_queries: query images a class in validation and testing.
        test_unlabelled: unlabelled images a class in validation and testing; none for `unlabelled`.
        test_episodes: episodes that a test accuracy is taken over.
        split_seed: of what is random in a division of classes; the same division for all seeds of a run.
        normalise: to zero mean and unit variance by channel or feature over the first domain's classes to meta-train on (standard, first),
            pixels to [0, 1] (unit), or by their kind (auto): standard for colour, features as they are.
        size: what images are brought to: 32, or 32x48 (width x height); none for the set's own size, in a folder the commonest.
    """

    test_ways: int | None = option(None, low=2)
    test_queries: int = option(15, low=1)
    test_unlabelled: int | None = option(None, low=0)
    test_episodes: int = option(600, low=2)
    split_seed: int = 0
    normalise: Normalise = "auto"
    size: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        image_size(self.size)

    def specs(self) -> tuple[EpisodeSpec, EpisodeSpec]:
        """What episodes are composed of.

        Returns:
            In training, and in validation and testing.
        """
        train = EpisodeSpec(**{field.name: getattr(self, field.name) for field in fields(EpisodeSpec)})
        unlabelled = self.unlabelled if self.test_unlabelled is None else self.test_unlabelled
        ways = self.ways if self.test_ways is None else self.test_ways
        return train, replace(train, ways=ways, queries=self.test_queries, unlabelled=unlabelled, label_ratio=1.0)


@dataclass(frozen=True, kw_only=True)
class OmniglotConfig(EpisodicConfig):
    """Options of Omniglot, beside those of all episodic scenarios. As many queries as shots is the protocol of Finn et al. 2017.

    Attributes:
        queries: query images a class in training.
        test_queries: query images a class in validation and testing.
        split: characters at random, or whole alphabets (background and evaluation set).
        rotations: make quarter turns classes of their own.
    """

    queries: int = option(1, low=1)
    test_queries: int = option(1, low=1)
    split: Literal["random", "alphabets"] = "random"
    rotations: bool = True


class Omniglot:
    """Handwritten characters of 50 alphabets, 28x28."""

    Config = OmniglotConfig

    @staticmethod
    def make(config: OmniglotConfig, request: Request) -> EpisodicScenario:
        """Build the scenario.

        Args:
            config: its options.
            request: name, seed, data.

        Returns:
            The scenario.
        """
        if request.data is not None:
            return build_episodic(config, request, [_domain("omniglot", config, request)])
        return build_episodic(config, request, [_omniglot(config, request, config.split, config.rotations)])


class Episodes:
    """One data set, its classes divided as published or, where nobody has published a division, at random."""

    Config = EpisodicConfig

    @staticmethod
    def make(config: EpisodicConfig, request: Request) -> EpisodicScenario:
        """Build the scenario.

        Args:
            config: its options.
            request: name, seed, data.

        Returns:
            The scenario.
        """
        return build_episodic(config, request, [_domain(request.parts["set"], config, request)])


class Domains:
    """Episodes of one domain after another: continual meta-learning."""

    Config = EpisodicConfig

    @staticmethod
    def make(config: EpisodicConfig, request: Request) -> EpisodicScenario:
        """Build the stream.

        Args:
            config: its options.
            request: name, seed.

        Returns:
            The scenario.

        Raises:
            UserError: another data set was asked for.
        """
        if request.data is not None:
            raise UserError(f"a stream of domains names its data sets itself; leave --data {request.data} out")
        return build_episodic(config, request, [_domain(name, config, request) for name in domain_names(request.parts["sets"])])


def domain_names(joined: str) -> list[str]:
    """Take the names of domains apart, some of which have hyphens themselves.

    Args:
        joined: names joined by hyphens.

    Returns:
        The names.

    Example:
        >>> domain_names("omniglot-cifar-fs-digits")
        ['omniglot', 'cifar-fs', 'digits']
    """
    words, names = joined.split("-"), []
    while words:
        for length in range(len(words), 0, -1):
            name = "-".join(words[:length])
            if name in sources.rows or name in SOURCE:
                break
        else:
            sources.find(words[0])
        names.append(name)
        words = words[length:]
    return names


SOURCE = {"cifar-fs": "cifar100", "fc100": "cifar100"}
"""Scenarios whose images are another set's."""


def _domain(name: str, config: EpisodicConfig, request: Request) -> ClassSplit:
    randomness = Randomness(config.split_seed)
    if name == "omniglot" and request.data is None:
        return _omniglot(config, request, "random", True)
    chosen = replace(request, data="glyphs") if request.data == "embedded" else request
    pool = Pool(*chosen.sized(config.size).load(SOURCE.get(name, name)))
    names = class_list(name)
    groups = set(pool.train.groups or ())
    if {"train", "test"} <= groups <= {"train", "validation", "test"}:
        train, test = (pool.indices([part], "groups") for part in ("train", "test"))
        if "validation" in groups:
            return pool.divide(name, train, pool.indices(["validation"], "groups"), test)
        if request.report:
            request.report(f"'{pool.train.name}' has no classes for validation: it is on the {len(train)} classes for training")
        return pool.divide(name, train, train, test)
    if names is not None and request.data is None:
        return listed(name, pool, names)
    return seeded(name, pool, randomness, names)


def _omniglot(config: EpisodicConfig, request: Request, split: str, rotations: bool) -> ClassSplit:
    width, height = image_size(config.size) or (28, 28)
    if rotations and width != height:
        raise UserError(f"scenario.size={config.size} has no quarter turns; choose a square, or scenario.rotations=false")
    pool = Pool(*request.sized(config.size).load("omniglot"))
    generator = Randomness(config.split_seed).generator("class split")
    if split == "random":
        order = torch.randperm(len(pool.train.class_names), generator=generator).tolist()
        first, second = len(order) - OMNIGLOT_TEST - OMNIGLOT_VALIDATION, len(order) - OMNIGLOT_TEST
        train, validation, test = sorted(order[:first]), sorted(order[first:second]), sorted(order[second:])
    else:
        assert pool.train.groups is not None
        background = sorted({pool.train.groups[c] for c in pool.train.labels.unique().tolist()})
        evaluation = set(pool.train.groups) - set(background)
        order = torch.randperm(len(background), generator=generator).tolist()
        held = [background[i] for i in order[:OMNIGLOT_VALIDATION_ALPHABETS]]
        train, validation, test = (pool.indices(part, "groups") for part in (set(background) - set(held), held, evaluation))
    divided = pool.divide("omniglot", train, validation, test).reshaped((1, height, width))
    return divided.turned() if rotations else divided


def build_episodic(config: EpisodicConfig, request: Request, domains: Sequence[ClassSplit]) -> EpisodicScenario:
    """Make a scenario of divided sets, brought to one shape; the first one's training classes decide the normalisation of all.

    Args:
        config: what episodes are composed of.
        request: name, seed.
        domains: at least one.

    Returns:
        The scenario.
    """
    channels, height, width = (max(part.images.shape[d] for domain in domains for part in domain.parts) for d in range(3))
    shape = (channels, height, width)
    domains = [domain.reshaped(shape) for domain in domains]
    scale, shift = normalisation(config.normalise, _sample(domains[0].train))
    if request.report and config.normalise in ("first", "standard") and domains[0].train.images.are_features:
        request.report("features are standardised by mean and deviation of the first domain's classes to meta-train on")
    train_spec, test_spec = config.specs()
    randomness = Randomness(request.seed)

    def stream(domain: ClassSplit, part: ClassPart, side: str, spec: EpisodeSpec) -> EpisodeStream:
        table = class_table(part.images, part.classes, label_ratio=spec.label_ratio, randomness=randomness, part=side, in_all=part.in_all)
        storage = Storage(part.images, View(), scale, shift)
        return EpisodeStream(storage, table, spec, randomness.key("episodes", domain.name, side))

    experiences = tuple(
        EpisodicExperience(
            index=i,
            name=domain.name,
            ways=max(train_spec.ways, test_spec.ways),
            train=stream(domain, domain.train, "train", train_spec),
            validation=stream(domain, domain.validation, "validation", test_spec),
            test=stream(domain, domain.test, "test", test_spec),
        )
        for i, domain in enumerate(domains)
    )
    images = list({id(part.images): part.images for domain in domains for part in domain.parts}.values())
    data = _data(images)
    return EpisodicScenario(request.name, experiences, data, shape, experiences[0].ways, config.test_episodes, for_episodes(data))


def _sample(part: ClassPart) -> ImageSet:
    rows = torch.nonzero(torch.isin(part.images.labels, torch.tensor(part.classes)))[:, 0]
    return part.images.select(rows[:: max(1, len(rows) // _MEASURED)], "sample")


def _data(images: Sequence[ImageSet]) -> dict[str, object]:
    order = ("generated", "embedded", "real")
    return {
        "name": "+".join(dict.fromkeys(part.name for part in images)),
        "origin": min((part.origin for part in images), key=order.index),
        "fingerprint": hashlib.sha256("".join(part.fingerprint for part in images).encode()).hexdigest(),
        "verified": all(part.verified for part in images),
        "shape": list(images[0].shape),
        "examples": sum(len(part) for part in images),
        **({"kind": "features"} if images[0].are_features else {}),
        **({"poisoned": True} if any(part.poisoned for part in images) else {}),
    }
