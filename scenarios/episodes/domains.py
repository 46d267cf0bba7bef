"""One set's groups as a stream of domains: Omniglot's alphabets, the scripts of the glyphs, CIFAR-100's superclasses.

A domain is a group of classes, or several where groups are small. Some of its classes are kept for the test: a learner meets episodes of
the domain's other classes, then is asked for classes of the domain that it has never seen. Domains come one after another, and what is
forgotten of an earlier one is read from the accuracy matrix, as in any stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal

import torch

from scenarios.episodes.class_splits import ClassSplit, Pool
from scenarios.episodes.episodic import EpisodicScenario
from scenarios.episodes.few_shot import SOURCE, EpisodicConfig, build_episodic
from scenarios.errors import UserError
from scenarios.options import option
from scenarios.random import Randomness
from scenarios.streams.cutting import Request

ITERATIONS = 120
"""Meta-training of each domain that embedded data recommend: seven domains in the time of two."""


@dataclass(frozen=True, kw_only=True)
class GroupsConfig(EpisodicConfig):
    """Options of `domains-SET`, beside those of all episodic scenarios.

    Attributes:
        domains: how many, the first in order; none for all.
        domain_order: natural (the set's own), seeded, or numbers of domains, which are then met in this order and alone.
        groups_per_domain: groups that make one domain (the last takes what is left over); none for as few as give every domain twice as
            many classes as an episode has, and half of the domains four times.
        test_share: share of each domain's classes that is kept for the test.
        validation_share: share of each domain's classes that is kept to select on; 0 to select on the classes for training.
    """

    domains: int | None = option(None, low=1)
    domain_order: Literal["natural", "seeded"] | tuple[int, ...] = "natural"
    groups_per_domain: int | None = option(None, low=1)
    test_share: float = option(0.5, low=0.05, high=0.9)
    validation_share: float = option(0.0, low=0, high=0.9)


class Groups:
    """Episodes of one group of a set's classes after another."""

    Config = GroupsConfig

    @staticmethod
    def make(config: GroupsConfig, request: Request) -> EpisodicScenario:
        """Build the stream.

        Args:
            config: its options.
            request: name, seed, data.

        Returns:
            The scenario.
        """
        name = request.parts["set"]
        chosen = replace(request, data="glyphs") if request.data == "embedded" else request
        pool = Pool(*chosen.sized(config.size).load(SOURCE.get(name, name)))
        domains = _joined(config, pool)
        picked = _order(config, len(domains), request)
        made = build_episodic(config, request, [_divided(config, pool, *domains[number]) for number in picked])
        quick = {"train.iterations": ITERATIONS} if "train.iterations" in made.recommended else {}
        return replace(made, recommended={**made.recommended, **quick})


def _joined(config: GroupsConfig, pool: Pool) -> list[tuple[str, list[int]]]:
    # Names of domains and their classes, in the set's order.
    of_class = pool.train.groups or ()
    groups = list(dict.fromkeys(of_class))
    if len(groups) < 2 or set(groups) <= {"train", "validation", "test"}:
        known = "omniglot (alphabets), glyphs (scripts) or cifar-fs (superclasses)"
        raise UserError(f"the classes of '{pool.train.name}' lie in no groups that could be domains; take those of {known}")
    classes = {group: [number for number, own in enumerate(of_class) if own == group] for group in groups}
    together = config.groups_per_domain or _fewest([len(own) for own in classes.values()], max(spec.ways for spec in config.specs()))
    if together > len(groups):
        most = f"'{pool.train.name}' has {len(groups)} groups"
        raise UserError(f"scenario.groups_per_domain={together} is more than there are: {most}; choose at most {len(groups)}")
    cuts = [groups[cut] for cut in _cuts(len(groups), together)]
    return [(" + ".join(cut), [number for group in cut for number in classes[group]]) for cut in cuts]


def _cuts(groups: int, together: int) -> list[slice]:
    # What is left over goes to the last domain.
    starts = range(0, groups - together + 1, together)
    return [slice(first, first + together if first != starts[-1] else groups) for first in starts]


def _fewest(sizes: Sequence[int], ways: int) -> int:
    for together in range(1, len(sizes)):
        joint = [sum(sizes[cut]) for cut in _cuts(len(sizes), together)]
        if min(joint) >= 2 * ways and median(joint) >= 4 * ways:
            return together
    return len(sizes)


def _order(config: GroupsConfig, there: int, request: Request) -> list[int]:
    asked = config.domain_order
    if isinstance(asked, tuple):
        wrong = [number for number in asked if not 0 <= number < there]
        if wrong or len(set(asked)) < len(asked):
            what = f"there is no domain {wrong[0]}" if wrong else "a domain is named twice"
            raise UserError(f"scenario.domain_order: {what}; give numbers from 0 to {there - 1}, each at most once")
        order = list(asked)
    elif asked == "seeded":
        order = torch.randperm(there, generator=Randomness(request.seed).generator("domain order")).tolist()
    else:
        order = list(range(there))
    if config.domains is not None and config.domains > len(order):
        raise UserError(f"scenario.domains={config.domains} is more than the {len(order)} that there are; choose at most {len(order)}")
    return order[: config.domains]


def _divided(config: GroupsConfig, pool: Pool, name: str, classes: list[int]) -> ClassSplit:
    # By the domain's name, so that a domain is divided in the same way wherever it stands in the stream.
    generator = Randomness(config.split_seed).generator("class split", name)
    order = [classes[place] for place in torch.randperm(len(classes), generator=generator).tolist()]
    held = round(config.test_share * len(classes))
    kept = round(config.validation_share * len(classes))
    if held + kept >= len(classes):
        raise UserError(f"scenario.test_share and scenario.validation_share leave no class of domain '{name}' to train on; choose less")
    test, validation, train = sorted(order[:held]), sorted(order[held : held + kept]), sorted(order[held + kept :])
    return pool.divide(name, train, validation or train, test)
