"""Episodic scenarios: an ordered stream of domains, each with episodes to meta-train on, to select on and to test on.

Few-shot learning's usual protocol is a stream of one domain. Several, one after another, make continual meta-learning: what a meta-learner
has forgotten of an earlier domain is read from the same accuracy matrix as any other learner's forgetting.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch

from scenarios.episodes.episodes import EpisodeStream
from scenarios.experience import shape_in_words
from scenarios.images import ImageSet
from scenarios.streams.shaping import reshape

SIDES = {"train": "train on", "validation": "select on", "test": "test on"}
"""What the parts of a domain are for."""


@dataclass(frozen=True, eq=False)
class EpisodicExperience:
    """One domain.

    Attributes:
        index: its place in the stream, from 0.
        name: what it is called in tables and plots.
        ways: the width of the head.
        train: episodes of the classes to meta-train on.
        validation: episodes of the classes to select on.
        test: episodes of the classes to test on.
    """

    index: int
    name: str
    ways: int
    train: EpisodeStream
    validation: EpisodeStream
    test: EpisodeStream

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(getattr(self, side).table)} to {what}" for side, what in SIDES.items())
        return f"Domain {self.index} ({self.name}): classes {counts}"

    def to(self, device: torch.device, channels_last: bool = False) -> EpisodicExperience:
        """The same domain, making its batches elsewhere.

        Args:
            device: where.
            channels_last: whether images are laid out channels last.

        Returns:
            The domain there.
        """
        streams = [stream.to(device, channels_last) for stream in (self.train, self.validation, self.test)]
        return replace(self, train=streams[0], validation=streams[1], test=streams[2])


@dataclass(frozen=True, eq=False)
class EpisodicScenario:
    """A stream of domains. It has one head of `ways` outputs.

    Attributes:
        name: what the user typed.
        experiences: the domains.
        data: `name`, `origin`, `fingerprint` and `verified` of the data.
        input_shape: shape of one image, (C, H, W).
        ways: the width of the head.
        test_episodes: how many episodes of each domain an accuracy is taken over.
        recommended: options of a run (path to value) that suit this scenario where the user says nothing.
        setting: `episodic`.
    """

    name: str
    experiences: tuple[EpisodicExperience, ...]
    data: dict[str, Any]
    input_shape: tuple[int, int, int]
    ways: int
    test_episodes: int = 600
    recommended: dict[str, Any] = field(default_factory=dict)
    setting: Literal["episodic"] = "episodic"

    def __len__(self) -> int:
        return len(self.experiences)

    def __repr__(self) -> str:
        spec = self.experiences[0].train.spec
        head = (
            f"Scenario {self.name}: {self.ways}-way {spec.shots}-shot episodes with {spec.queries} queries a class "
            f"of {self.data['name']} ({self.data['origin']} data), {shape_in_words(self.data, self.input_shape)}"
        )
        return "\n".join([head, *(f"  {experience}" for experience in self.experiences)])

    @property
    def blocks(self) -> tuple[range, ...]:
        """The blocks of the head: one for all domains."""
        return (range(self.ways),)

    @property
    def num_outputs(self) -> int:
        """Width of the head."""
        return self.ways

    def to(self, device: torch.device, channels_last: bool = False) -> EpisodicScenario:
        """The same scenario, making its batches on a device.

        Args:
            device: where.
            channels_last: whether batches are laid out channels last.

        Returns:
            The scenario there.
        """
        return replace(self, experiences=tuple(experience.to(device, channels_last) for experience in self.experiences))


def adapt_to(test: EpisodicScenario, train: EpisodicScenario) -> EpisodicScenario:
    """Make a scenario fit for testing what was trained on another: cross-domain few-shot learning.

    Its images get the shape and the normalisation of the training images, its test episodes the composition of the training scenario's
    test episodes, and its batches are made on the same device.

    Args:
        test: the scenario whose classes are to be tested on.
        train: the scenario that was trained on.

    Returns:
        The test scenario, adapted.
    """
    model = train.experiences[0]
    reshaped: dict[int, ImageSet] = {}

    def adapted(stream: EpisodeStream) -> EpisodeStream:
        images = stream.storage.images
        if id(images) not in reshaped:
            reshaped[id(images)] = reshape(images, train.input_shape)
        return replace(stream, storage=replace(model.test.storage, images=reshaped[id(images)]))

    experiences = tuple(
        replace(
            experience,
            ways=model.ways,
            train=adapted(experience.train),
            validation=adapted(experience.validation),
            test=replace(adapted(experience.test), spec=model.test.spec),
        )
        for experience in test.experiences
    )
    return replace(
        test, experiences=experiences, input_shape=train.input_shape, ways=train.ways, test_episodes=train.test_episodes, recommended={}
    )
