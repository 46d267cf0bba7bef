"""Streams by superclass, and few-shot class-incremental streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from scenarios.errors import UserError
from scenarios.experience import Scenario, Setting
from scenarios.options import option
from scenarios.streams.cutting import Cut, StreamConfig, build_stream, class_rows, stream_randomness
from scenarios.streams.orders import Order, class_order
from scenarios.streams.request import Request

FSCIL = {"cifar100": (60, 5), "cub200": (100, 10)}
"""Base classes and ways of Tao et al. 2020; the shots are 5."""


@dataclass(frozen=True, kw_only=True)
class SuperclassConfig(StreamConfig):
    """Options of streams by superclass.

    Attributes:
        tasks: number of experiences, each with one class of every superclass; none for as many as there are.
        class_order: which class of a superclass comes first: natural, or seeded for each superclass.
    """

    setting: Setting = "domain"
    tasks: int | None = option(None, low=1)
    class_order: Literal["natural", "seeded"] = "natural"


@dataclass(frozen=True, kw_only=True)
class FscilConfig(StreamConfig):
    """Options of few-shot class-incremental streams.

    Attributes:
        base_classes: classes of the base session, with all their examples; none for the published number, else half of all.
        ways: classes of each later session; none for the published number, else the greatest up to 5 that divides the rest.
        shots: training examples of each of these classes.
        class_order: natural, seeded, numpy (NumPy's permutation of the seed), pycil (that of seed 1993), or a list of all classes.
    """

    setting: Setting = "class"
    base_classes: int | None = option(None, low=1)
    ways: int | None = option(None, low=1)
    shots: int = option(5, low=1)
    class_order: Order | tuple[int, ...] = "natural"


class Superclass:
    """The superclasses are to be told apart; each experience brings one class of every one."""

    Config = SuperclassConfig

    @staticmethod
    def make(config: SuperclassConfig, request: Request) -> Scenario:
        """Build the stream.

        Args:
            config: its options.
            request: name, seed, data.

        Returns:
            The scenario.

        Raises:
            UserError: the set has no superclasses, or too few classes in one.
        """
        train, test = request.sized(config.size).load(request.parts["set"])
        groups = sorted(set(train.groups or ()))
        if len(groups) < 2:
            raise UserError(f"'{train.name}' has no superclasses; choose cifar100, or --data generated")
        members = [[c for c, group in enumerate(train.groups or ()) if group == own] for own in groups]
        least = min(map(len, members))
        if (config.tasks or 1) > least:
            raise UserError(f"scenario.tasks={config.tasks} is more than the {least} classes of a superclass; choose at most {least}")
        if config.class_order == "seeded":
            randomness = stream_randomness(config, request)
            orders = [torch.randperm(len(own), generator=randomness.generator("class order", k)) for k, own in enumerate(members)]
            members = [[own[place] for place in order.tolist()] for own, order in zip(members, orders)]
        cuts = [Cut(tuple(own[i] for own in members), f"subclasses {i}", tuple(groups)) for i in range(config.tasks or least)]
        return build_stream(config, request, train, test, cuts)


class FewShotIncremental:
    """A base session, then sessions of new classes with few examples each (Tao et al. 2020, arXiv:2004.10956)."""

    Config = FscilConfig

    @staticmethod
    def make(config: FscilConfig, request: Request) -> Scenario:
        """Build the stream.

        Args:
            config: its options.
            request: name, seed, data.

        Returns:
            The scenario.

        Raises:
            UserError: the classes cannot be cut so, or one has too few examples.
        """
        own = request.parts["set"]
        train, test = request.sized(config.size).load(own)
        total = len(train.class_names)
        base, ways = _sessions(config, FSCIL.get(own, (0, 0)), total)
        randomness, where = stream_randomness(config, request), class_rows(train)
        order = class_order(config.class_order, total, randomness)
        cuts = [Cut(tuple(order[:base]), f"base of {base} classes")]
        for start in range(base, total, ways):
            classes, rows = order[start : start + ways], []
            for c in classes:
                if config.shots > len(where[c]):
                    short = f"class '{train.class_names[c]}' has {len(where[c])} training examples"
                    raise UserError(f"scenario.shots={config.shots}, and {short}; choose at most that")
                drawn = torch.randperm(len(where[c]), generator=randomness.generator("shots", c))[: config.shots]
                rows.append(where[c][drawn.sort().values])
            cuts.append(Cut(tuple(classes), f"session {len(cuts)}", train=torch.cat(rows)))
        return build_stream(config, request, train, test, cuts)


def _sessions(config: FscilConfig, published: tuple[int, int], total: int) -> tuple[int, int]:
    base = config.base_classes or (published[0] if published[0] < total else 0) or total // 2
    rest = total - base
    if base < 1 or rest < 1:
        raise UserError(f"scenario.base_classes={base} of {total} classes leaves none for later sessions; choose at most {total - 1}")
    usual = published[1] if published[1] and rest % published[1] == 0 else max(n for n in range(1, min(5, rest) + 1) if rest % n == 0)
    ways = config.ways or usual
    if rest % ways:
        possible = ", ".join(str(n) for n in range(1, rest + 1) if rest % n == 0)
        raise UserError(f"the {rest} classes after the base cannot be cut into sessions of {ways}; choose scenario.ways from {possible}")
    return base, ways
