"""What is remembered of a stream: rows of its storage, chosen when an experience is over, by one of five policies.

    reservoir   every example met so far is in the memory with the same probability (Vitter 1985, algorithm R)
    balanced    class-balancing reservoir: a reservoir in each class, places taken from the largest one (Chrysakis & Moens, *Online
                continual learning from imbalanced data*, ICML 2020, algorithm 1)
    greedy      as many of each class, first come first served (Prabhu, Torr & Dokania, *GDumb*, ECCV 2020, algorithm 1)
    herding     of each class the examples whose mean feature is nearest to the class's (Welling 2009; Rebuffi et al., *iCaRL*, CVPR 2017,
                arXiv 1611.07725, algorithm 4), as many of each class
    loss-aware  a reservoir whose places are cleared of what is known best (after Buzzega et al., *Rethinking experience replay*, ICPR 2020,
                arXiv 2010.05595): who has to leave is drawn with weights p(y | x) of the network as it is; the weights are ours

A class is an output of an experience, so that in setting `domain`, where all share their outputs, experiences are balanced too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from scenarios.experience import Examples, Scenario, concatenate
from strategies.base import Setup

Policy = Literal["reservoir", "balanced", "greedy", "herding", "loss-aware"]


@dataclass(frozen=True, eq=False)
class Known:
    """What a policy may ask the learner.

    Attributes:
        features: of examples, [n, F].
        losses: of examples, their cross-entropies [n].
    """

    features: Callable[[Examples], Tensor]
    losses: Callable[[Examples], Tensor]


class Buffer:
    """A memory of bounded size that is filled experience by experience.

    Args:
        size: examples kept in total.
        policy: which ones.
        setup: of the learner.

    Attributes:
        memory: the remembered examples.
        met: how many examples the stream has had.
    """

    def __init__(self, size: int, policy: Policy, setup: Setup) -> None:
        self.size, self.policy = size, policy
        self._setup = setup
        self.met = 0
        self.classes = ClassReservoir(size, len(setup.scenario) * setup.scenario.num_outputs)
        self.remember(torch.zeros(0, dtype=torch.int64), setup.scenario.experiences[0].train)

    def take_up(self, new: Examples, generator: torch.Generator, known: Known) -> None:
        """Let an experience's examples in.

        Args:
            new: the examples.
            generator: what is drawn comes from it.
            known: answers what the policy asks.
        """
        both = concatenate([self.memory, new])
        old, count = len(self.memory), len(new)
        positions = torch.arange(min(self.size, old))
        if self.policy in ("reservoir", "loss-aware"):
            kept = reservoir(self.numbers, self.met, count, self.size, generator)
            entering = kept >= self.met
            if self.policy == "reservoir":
                positions = torch.where(entering, kept - self.met + old, torch.arange(len(kept)))
            else:
                pool = torch.cat([torch.arange(old), kept[entering].sort().values - self.met + old])
                chances = torch.exp(-known.losses(both.select(pool.to(both.rows.device)))).cpu()
                positions = pool[stay(chances, self.size, generator)]
                kept = torch.cat([self.numbers, torch.arange(self.met, self.met + count)])[positions]
        else:
            labels = class_numbers(both, self._setup.scenario)
            if self.policy == "balanced":
                positions = self.classes.take_up(labels[old:].tolist(), generator, after=old)
            elif self.policy == "greedy":
                positions = greedy(labels.tolist(), old, self.size, generator)
            else:
                positions = self._herded(both, labels, known)
            kept = positions
        self.met += count
        self.remember(kept, both.select(positions.to(both.rows.device)))

    def _herded(self, both: Examples, labels: Tensor, known: Known) -> Tensor:
        old = len(self.memory)
        newest = set(labels[old:].tolist())
        # In the order in which they were met: those in memory first.
        classes = list(dict.fromkeys(labels.tolist()))
        positions = []
        for number, label in enumerate(classes):
            quota = self.size // len(classes) + (number < self.size % len(classes))
            own = torch.nonzero(labels == label).flatten()
            if label in newest and quota:
                own = own[herd(known.features(both.select(own.to(both.rows.device))), quota)]
            positions.append(own[:quota])
        return torch.cat(positions)

    def remember(self, numbers: Tensor, examples: Examples) -> None:
        """Keep examples.

        Args:
            numbers: int64 [n], their numbers in the stream.
            examples: a selection whose first n they are.
        """
        self.numbers = numbers
        self.memory = replace(examples.select(torch.arange(len(numbers), device=examples.rows.device)), task=None)

    def state_dict(self) -> dict[str, Any]:
        """What is remembered.

        Returns:
            Nested dictionaries of tensors and plain values.
        """
        memory = {"rows": self.memory.rows, "targets": self.memory.targets, "tasks": self.memory.tasks}
        return {"memory": memory, "numbers": self.numbers, "met": self.met, "classes": self.classes.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved memory.

        Args:
            state: what `state_dict` gave.
        """
        storage = self._setup.scenario.experiences[0].train.storage
        rows, targets, tasks = (state["memory"][name].to(self._setup.device) for name in ("rows", "targets", "tasks"))
        self.met, self.numbers = state["met"], state["numbers"].cpu()
        self.memory = Examples(storage, rows, targets, tasks)
        self.classes.load_state_dict(state["classes"])

    def report(self) -> dict[str, int]:
        """The memory's size.

        Returns:
            Examples kept, and the bytes that their images take.
        """
        return size_of(len(self.memory), self._setup)


def class_numbers(examples: Examples, scenario: Scenario) -> Tensor:
    """The classes of examples.

    Args:
        examples: the examples.
        scenario: that they are of.

    Returns:
        int64 [n] on the CPU: outputs; in setting `domain`, where experiences share them, counted over all experiences.
    """
    shared = scenario.setting == "domain"
    return (examples.tasks * scenario.num_outputs + examples.targets if shared else examples.targets).cpu()


def size_of(examples: int, setup: Setup) -> dict[str, int]:
    """What remembered examples take.

    Args:
        examples: how many there are.
        setup: of the learner.

    Returns:
        Examples, and the bytes of their images.
    """
    return {"examples": examples, "bytes": examples * setup.scenario.experiences[0].train.storage.images.bytes_each}


def reservoir(kept: Tensor, met: int, new: int, size: int, generator: torch.Generator) -> Tensor:
    """Let a stream's next examples into a reservoir (Vitter's algorithm R, for all of them at once).

    Example t of the stream (from 0) takes a place drawn from 0..t, if the reservoir has that place; of several that want one place, the
    last has it.

    Args:
        kept: int64 [n], the numbers (in the stream) of the examples in the reservoir.
        met: how many examples the stream has had.
        new: how many come now; their numbers are met, ..., met + new - 1.
        size: places in the reservoir.
        generator: where the places come from.

    Returns:
        int64 [min(size, met + new)], the numbers of the examples that are in it now.

    Example:
        >>> reservoir(torch.tensor([], dtype=torch.int64), 0, 3, 5, torch.Generator())
        tensor([0, 1, 2])
    """
    numbers = torch.arange(met, met + new)
    places = (torch.rand(new, generator=generator, dtype=torch.float64) * (numbers + 1)).long()
    places = torch.where(numbers < size, numbers, places)
    wanted = places < size
    result = torch.full((min(size, met + new),), -1, dtype=torch.int64)
    result[: len(kept)] = kept
    return result.scatter_reduce_(0, places[wanted], numbers[wanted], "amax")


def herd(features: Tensor, count: int) -> Tensor:
    """Choose examples whose mean feature stays nearest to that of all, one after another (iCaRL, algorithm 4).

    The k-th is argmin over x of |mu - (phi(x) + sum of those chosen) / k|, with phi the features at length 1 and mu their mean.

    Args:
        features: [n, F].
        count: how many are wanted.

    Returns:
        int64 [min(n, count)] on the CPU, in the order of choice.

    Example:
        >>> herd(torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0], [3.0, 2.0]]), 2)
        tensor([2, 3])
    """
    phi = torch.nn.functional.normalize(features.double(), dim=1)
    mean, total = phi.mean(0), torch.zeros_like(phi[0])
    squares = phi.square().sum(1)
    chosen: list[int] = []
    for number in range(1, min(len(phi), count) + 1):
        # |k mu - s - phi|^2 without what does not depend on phi
        distance = squares - 2 * (phi @ (number * mean - total))
        distance[chosen] = torch.inf
        chosen.append(int(distance.argmin()))
        total = total + phi[chosen[-1]]
    return torch.tensor(chosen, dtype=torch.int64)


def greedy(labels: Sequence[int], old: int, size: int, generator: torch.Generator) -> Tensor:
    """Keep as many of each class, first come first served (GDumb, algorithm 1).

    An example is let in where its class has fewer than size / classes met; where the memory is full, a random one of the largest class
    makes room.

    Args:
        labels: classes of those in memory and of those that come.
        old: how many are in memory.
        size: how many may stay.
        generator: where choices come from.

    Returns:
        int64 [n], positions of those kept.
    """
    members: dict[int, list[int]] = {}
    drawn = torch.rand(len(labels), generator=generator, dtype=torch.float64).tolist()
    count = 0
    for number, label in enumerate(labels):
        own = members.setdefault(label, [])
        if number >= old and len(own) >= size / len(members):
            continue
        if count == size:
            largest = max(members.values(), key=len)
            largest.pop(int(drawn[number] * len(largest)))
            count -= 1
        own.append(number)
        count += 1
    return torch.tensor(sorted(number for own in members.values() for number in own), dtype=torch.int64)


def stay(chances: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Draw who stays where there are too many, each leaving in proportion to a weight (one after another, without return).

    Args:
        chances: [n], the weights with which they leave.
        size: how many may stay.
        generator: where the choice comes from.

    Returns:
        int64 [min(n, size)], in order.
    """
    drawn = torch.rand(len(chances), generator=generator, dtype=torch.float64).clamp_min(1e-300)
    # The least of exponential waiting times at these rates leaves first.
    waiting = -drawn.log() / chances.double().clamp_min(1e-300)
    return waiting.argsort(descending=True)[:size].sort().values


class ClassReservoir:
    """The class-balancing reservoir's bookkeeping (Chrysakis & Moens 2020, algorithm 1): who is in which place, by class.

    Until the memory is full, all are let in. Then an example of a class that never was among the largest takes the place of a random one of
    those that are; one of a class c that once was takes the place of a random one of c with probability m_c / n_c, of m_c in
    memory and n_c met.

    Args:
        size: places.
        num_classes: classes that there can be.
    """

    def __init__(self, size: int, num_classes: int) -> None:
        self.size = size
        self.met = torch.zeros(num_classes, dtype=torch.int64)
        self.full = torch.zeros(num_classes, dtype=torch.bool)
        self.places = torch.zeros(0, dtype=torch.int64)

    def take_up(self, labels: Sequence[int], generator: torch.Generator, after: int) -> Tensor:
        """Let examples in.

        Args:
            labels: their classes.
            generator: where choices come from.
            after: how many are in memory; the new ones count from here.

        Returns:
            int64, for each place who has it: one that was in memory (below `after`), or a new one.
        """
        members: dict[int, list[int]] = {}
        held = self.places.tolist()
        for place, label in enumerate(held):
            members.setdefault(label, []).append(place)
        owners, met, full = list(range(len(held))), self.met.tolist(), self.full.tolist()
        drawn = torch.rand(len(labels), 2, generator=generator, dtype=torch.float64).tolist()
        for number, (label, (enter, whom)) in enumerate(zip(labels, drawn)):
            met[label] += 1
            own = members.setdefault(label, [])
            if len(held) < self.size:
                own.append(len(held))
                held.append(label)
                owners.append(after + number)
                continue
            if not self.size:
                continue
            most = max(map(len, members.values()))
            largest = [each for each, places in members.items() if len(places) == most]
            for each in largest:
                full[each] = True
            if full[label]:
                if enter * met[label] < len(own):
                    owners[own[int(whom * len(own))]] = after + number
                continue
            which, rest = divmod(int(whom * most * len(largest)), most)
            place = members[largest[which]].pop(rest)
            own.append(place)
            held[place], owners[place] = label, after + number
        self.met, self.full, self.places = torch.tensor(met), torch.tensor(full), torch.tensor(held, dtype=torch.int64)
        return torch.tensor(owners, dtype=torch.int64)

    def state_dict(self) -> dict[str, Tensor]:
        """The bookkeeping.

        Returns:
            Tensors by name.
        """
        return {"met": self.met, "full": self.full, "places": self.places}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take up saved bookkeeping.

        Args:
            state: what `state_dict` gave.
        """
        self.met, self.full, self.places = (state[name].cpu() for name in ("met", "full", "places"))
