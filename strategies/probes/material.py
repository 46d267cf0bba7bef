"""What can be learned of an experience as plain classification, whatever the scenario.

Of a stream that is the experience itself: its own classes, training and test images. A domain of episodes is tested on classes that no
learner was trained on; so what is asked for are the classes that it meta-trained on, half of the images of each to learn from and the other
half to be tested on. Classes of different domains have different numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from scenarios.episodes.episodes import EpisodeStream
from scenarios.experience import Examples
from scenarios.random import Randomness


@dataclass(frozen=True, eq=False)
class Material:
    """Labelled images of one experience.

    Attributes:
        index: of the experience.
        name: of the experience.
        outputs: what the targets count.
        train: to learn from.
        test: to be tested on.
    """

    index: int
    name: str
    outputs: range
    train: Examples
    test: Examples


def materials(scenario: Any, randomness: Randomness, side: str = "test") -> dict[int, Material]:
    """Gather what can be learned of every experience but those that are only disposed of, which teach nothing.

    Args:
        scenario: a stream, or a stream of domains.
        randomness: of the run, which divides the images of a domain's classes.
        side: test or validation, for streams; images of a domain's training classes are no part of its test.

    Returns:
        By index, in order.
    """
    found: dict[int, Material] = {}
    start = 0
    for experience in scenario.experiences:
        if isinstance(experience.train, EpisodeStream):
            train, test = _halves(experience.train, experience.index, start, randomness.generator("probe images", experience.index))
            outputs = range(start, start + len(experience.train.table))
            start = outputs.stop
        elif experience.role == "dispose":
            continue
        else:
            train, test, outputs = experience.train, getattr(experience, side), experience.outputs
        found[experience.index] = Material(experience.index, experience.name, outputs, train, test)
    return found


def _halves(stream: EpisodeStream, task: int, start: int, generator: torch.Generator) -> tuple[Examples, Examples]:
    table = stream.table
    rows: tuple[list[torch.Tensor], ...] = ([], [])
    for first, count in zip(table.starts.tolist(), table.labelled.tolist()):
        own = torch.from_numpy(table.rows[first : first + count])[torch.randperm(count, generator=generator)]
        rows[0].append(own[: (count + 1) // 2])
        rows[1].append(own[(count + 1) // 2 :])
    made = []
    for side in rows:
        targets = torch.cat([torch.full_like(own, start + number) for number, own in enumerate(side)])
        device = stream.storage.device
        chosen = torch.cat(side).to(device)
        made.append(Examples(stream.storage, chosen, targets.to(device), torch.full_like(chosen, task), task))
    return made[0], made[1]
