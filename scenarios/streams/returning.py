"""Streams in which classes come back: new instances of all classes, and class-incremental streams with repetition.

New instances: the first of CORe50's three scenarios (Lomonaco & Maltoni 2017, arXiv:1705.03550). Repetition: Hemati et al. 2023, *Class-
incremental learning with repetition* (CoLLAs, arXiv:2301.11396), whose two generators are here: `slots`, in which every class comes as
often and no example twice; and `sampling`, in which a class is first met at a time of its own, then comes back by chance, and examples may
as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from scenarios.errors import UserError
from scenarios.experience import Scenario, Setting
from scenarios.images import ImageSet
from scenarios.options import option
from scenarios.random import Randomness
from scenarios.streams.cutting import Cut, StreamConfig, build_stream, class_rows, stream_randomness
from scenarios.streams.request import Request
from scenarios.streams.selecting import shared_out


@dataclass(frozen=True, kw_only=True)
class InstancesConfig(StreamConfig):
    """Options of streams of new instances.

    Attributes:
        tasks: number of experiences; none for 5, or a set's own recording sessions (CORe50's 8).
    """

    setting: Setting = "domain"
    tasks: int | None = option(None, low=1)


@dataclass(frozen=True, kw_only=True)
class RepetitionConfig(StreamConfig):
    """Options of class-incremental streams with repetition.

    Attributes:
        tasks: number of experiences.
        generator: every class in as many experiences, each example once (slots); or first met and repeated by chance (sampling).
        slots: of slots: classes of each experience; none for a fifth of them.
        experience_size: of sampling: examples of each experience; none for the set divided by the number of experiences.
        first_probability: of sampling: of the geometric distribution over the experiences in which a class is first met.
        repeat_probability: of sampling: that a class met before is in an experience.
    """

    setting: Setting = "class"
    tasks: int = option(20, low=2)
    generator: Literal["slots", "sampling"] = "slots"
    slots: int | None = option(None, low=1)
    experience_size: int | None = option(None, low=1)
    first_probability: float | None = option(None, above=0, high=1)
    repeat_probability: float | None = option(None, low=0, high=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.setting == "task":
            raise UserError("classes come back in other company, so that there is no task to be labelled; choose --setting class or domain")
        sampling = ("experience_size", "first_probability", "repeat_probability")
        for name in sampling if self.generator == "slots" else ("slots",):
            if getattr(self, name) is not None:
                other = "sampling" if self.generator == "slots" else "slots"
                raise UserError(f"scenario.{name} is of scenario.generator={other}; leave it out, or choose that generator")
        if self.generator == "sampling" and self.validation_share:
            raise UserError("scenario.generator=sampling draws examples again, also held-out ones; leave scenario.validation_share out")


class Instances:
    """All classes in every experience, each example in one; of a set that was recorded in sessions, one session an experience."""

    Config = InstancesConfig

    @staticmethod
    def make(config: InstancesConfig, request: Request) -> Scenario:
        """Build the stream.

        Test examples are divided as those for training: the average accuracy is that on the whole test set. Of recording sessions, each
        experience is tested on the whole of it, as published.

        Args:
            config: its options.
            request: name, seed, data.

        Returns:
            The scenario.

        Raises:
            UserError: a class has fewer examples than there are experiences.
        """
        train, test = request.sized(config.size).load(request.parts["set"])
        randomness = stream_randomness(config, request)
        classes = tuple(range(len(train.class_names)))
        if train.sections and config.tasks in (None, len(train.sections)):
            sessions = torch.arange(len(train)).split(list(train.sections))
            everything = torch.arange(len(test))
            cuts = [Cut(classes, f"session {i}", train=rows, test=everything) for i, rows in enumerate(sessions)]
            return build_stream(config, request, train, test, cuts)
        tasks = config.tasks or 5
        for images, kind in ((train, "training"), (test, "test")):
            least = min(classes, key=lambda c: int((images.labels == c).sum()))
            there = int((images.labels == least).sum())
            if there < tasks:
                line = f"class '{images.class_names[least]}' of '{images.name}' has {there} {kind} examples for {tasks} experiences"
                raise UserError(f"{line}; choose at most {there} scenario.tasks")
        parts = [
            shared_out(class_rows(images), tasks, randomness, "instances", side) for images, side in ((train, "train"), (test, "test"))
        ]
        cuts = [Cut(classes, f"instances {i}", train=learned, test=tested) for i, (learned, tested) in enumerate(zip(*parts))]
        return build_stream(config, request, train, test, cuts)


class Repetition:
    """Classes come, and come back."""

    Config = RepetitionConfig

    @staticmethod
    def make(config: RepetitionConfig, request: Request) -> Scenario:
        """Build the stream. An experience is tested on all test examples of its classes.

        Args:
            config: its options.
            request: name, seed, data.

        Returns:
            The scenario.
        """
        train, test = request.sized(config.size).load(request.parts["set"])
        randomness = stream_randomness(config, request)
        generate = by_slots if config.generator == "slots" else by_sampling
        present, rows = generate(config, train, randomness)
        outputs: dict[int, int] = {}
        cuts = []
        for i, (classes, learned) in enumerate(zip(present, rows)):
            for c in classes:
                outputs.setdefault(c, len(outputs))
            targets = tuple(outputs[c] for c in classes)
            cuts.append(Cut(classes, f"experience {i}", train=learned, targets=targets, seen=len(outputs)))
        return build_stream(config, request, train, test, cuts)


Drawn = tuple[list[tuple[int, ...]], list[Tensor]]
"""The classes and the training rows of each experience."""


def by_slots(config: RepetitionConfig, train: ImageSet, randomness: Randomness) -> Drawn:
    """Fill slots: every class has as many (but for one), its examples are shared out among them, and none comes twice.

    Args:
        config: number of experiences, and of slots in each.
        train: the training examples.
        randomness: of the stream.

    Returns:
        The classes and the training rows of each experience.

    Raises:
        UserError: there are too few slots for all classes, more slots than classes, or more slots for a class than it has examples.
    """
    total, tasks = len(train.class_names), config.tasks
    slots = config.slots or max(1, total // 5)
    if slots > total:
        raise UserError(f"scenario.slots={slots} is more than the {total} classes of '{train.name}'; choose at most {total}")
    if slots * tasks < total:
        least = -(-total // tasks)
        raise UserError(f"{tasks} experiences of {slots} slots have no room for {total} classes; choose at least {least} scenario.slots")
    generator = randomness.generator("slots")
    more, times = slots * tasks % total, slots * tasks // total
    left = torch.full((total,), times)
    left[torch.randperm(total, generator=generator)[:more]] += 1
    where = class_rows(train)
    short = [c for c in range(total) if len(where[c]) < left[c]]
    if short:
        line = f"class '{train.class_names[short[0]]}' has {len(where[short[0]])} examples for {int(left[short[0]])} slots"
        raise UserError(f"{line}; choose fewer scenario.tasks or scenario.slots")
    pieces = [iter(rows[torch.randperm(len(rows), generator=generator)].tensor_split(int(n))) for rows, n in zip(where, left)]
    present = []
    for i in range(tasks):
        # A class that needs all slots that are left is in; the others by chance, in proportion to what they still need.
        keys = torch.rand(total, generator=generator, dtype=torch.float64).log() / left
        keys = torch.where(left == 0, -torch.inf, torch.where(left == tasks - i, torch.inf, keys))
        chosen = keys.argsort(descending=True)[:slots]
        left[chosen] -= 1
        present.append(tuple(sorted(chosen.tolist())))
    return present, [torch.cat([next(pieces[c]) for c in classes]) for classes in present]


def by_sampling(config: RepetitionConfig, train: ImageSet, randomness: Randomness) -> Drawn:
    """Draw when each class is first met, where it comes back, and the examples of each experience, with replacement.

    Args:
        config: number of experiences, their size, and the probabilities.
        train: the training examples.
        randomness: of the stream.

    Returns:
        The classes and the training rows of each experience.

    Raises:
        UserError: an experience has more classes than examples.
    """
    total, tasks = len(train.class_names), config.tasks
    size = config.experience_size or max(1, len(train) // tasks)
    first = 0.2 if config.first_probability is None else config.first_probability
    again = 0.2 if config.repeat_probability is None else config.repeat_probability
    generator = randomness.generator("sampling")
    weights = torch.tensor([first * (1 - first) ** i for i in range(tasks)], dtype=torch.float64)
    begins = torch.multinomial(weights, total, replacement=True, generator=generator)
    begins[int(torch.randint(total, (), generator=generator))] = 0  # something is there to begin with
    comes = torch.rand(tasks, total, generator=generator) < again
    where, present, rows = class_rows(train), [], []
    for i in range(tasks):
        chosen = torch.nonzero((begins == i) | ((begins < i) & comes[i])).flatten()
        if not len(chosen):
            met = torch.nonzero(begins < i).flatten()
            chosen = met[torch.randint(len(met), (1,), generator=generator)]
        if size < len(chosen):
            raise UserError(f"experience {i} has {len(chosen)} classes, and scenario.experience_size={size}; choose at least that")
        present.append(tuple(chosen.tolist()))
        shares = [size // len(chosen) + (k < size % len(chosen)) for k in range(len(chosen))]
        drawn = [where[c][torch.randint(len(where[c]), (share,), generator=generator)] for c, share in zip(present[-1], shares)]
        rows.append(torch.cat(drawn))
    return present, rows
