"""What a network's features are worth on classes that it has never seen: few-shot accuracy of frozen features.

Episodes of another scenario's test classes, brought to the network's image shape and normalisation, are answered by prototypes of the
network's features (Snell et al. 2017), which train nothing; or also by a linear head that is adapted to the support set in k steps. A
learner of a stream and a learner of episodes are asked the very same episodes; the latter by the features of its meta-learned weights,
before any adaptation of its own (Raghu et al., ICLR 2020, ask MAML so). Floor: the same network's initial weights, on the same episodes.

Batch norms normalise by their moving averages. Where those were never moved (learners of episodes that normalise by the batch have none),
they are measured once on the images of the probe's classes; no label is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy
import torch

import scenarios
from scenarios.episodes.episodic import EpisodicScenario
from scenarios.episodes.few_shot import EpisodicConfig
from scenarios.errors import UserError
from scenarios.experience import Examples
from scenarios.options import option
from scenarios.storage import View
from scenarios.streams.shaping import reshape
from strategies.networks.network import Network
from strategies.probes import looking
from strategies.probes.heads import Episodes, adapted_accuracies, prototype_accuracies
from strategies.probes.probe import Measurement, Probe, ProbeSetup
from strategies.probes.released import give_statistics

MEASURED = 1000
"""Images that batch norms without moving averages are given the statistics of."""


@dataclass(frozen=True, kw_only=True)
class FewShotConfig:
    """Options of `few-shot`.

    Attributes:
        scenario: whose test classes the episodes are of: a scenario of episodes of one domain.
        ways: classes of an episode.
        shots: support images a class.
        queries: query images a class.
        episodes: how many.
        steps: of gradient descent by which a linear head is adapted as well; 0 for prototypes alone.
        rate: step size of that head, for features of mean length 1.
    """

    scenario: str = "glyphs"
    ways: int = option(5, low=2)
    shots: int = option(5, low=1)
    queries: int = option(15, low=1)
    episodes: int = option(600, low=2)
    steps: int = option(0, low=0)
    rate: float = option(1.0, low=0)


class FewShot(Probe):
    """Few-shot accuracy of frozen features."""

    Config = FewShotConfig
    anchors: ClassVar[tuple[str, ...]] = ("floor",)

    def prepare(self, setup: ProbeSetup) -> None:
        """Draw the episodes.

        Args:
            setup: the scenario, and the run's randomness.

        Raises:
            UserError: the probe's scenario has no such episodes, or the learner meets its test classes.
        """
        super().prepare(setup)
        config = self.config
        stream = self._scenario().experiences[0].test
        met = setup.scenario.experiences
        for each in met:
            name = each.train.storage.images.name
            classes = each.classes if isinstance(each.train, Examples) else each.train.table.names
            seen = set(stream.table.names) & set(classes) if name == stream.storage.images.name else ()
            if seen:
                what = f"class '{min(seen)}' of '{name}' is learned in this run, and the few-shot probe asks for classes never seen"
                raise UserError(f"{what}; choose another probe.scenario")
        drawn = stream.draw(0, config.episodes)
        rows, places = numpy.unique(numpy.concatenate([drawn.support.ravel(), drawn.query.ravel()]), return_inverse=True)
        like = met[0].train.storage
        pictures = reshape(stream.storage.images.select(torch.from_numpy(rows), "few-shot probe"), setup.scenario.input_shape)
        storage = replace(like, images=pictures, view=View(), overlay=None)
        numbers = torch.arange(len(rows), device=like.device)
        self.images = Examples(storage, numbers, pictures.labels.to(like.device), torch.zeros_like(numbers), 0)
        split = drawn.support.size
        parts = [places.ravel()[:split].reshape(drawn.support.shape), places.ravel()[split:].reshape(drawn.query.shape)]
        support, query, support_y, query_y = (torch.from_numpy(part).to(like.device) for part in (*parts, drawn.support_y, drawn.query_y))
        self.episodes = Episodes(support, query, support_y, query_y, config.ways)
        self.data = stream.storage.images.fingerprint

    def _scenario(self) -> EpisodicScenario:
        config = self.config
        component, _ = scenarios.registry.load(config.scenario)
        if not issubclass(component.Config, EpisodicConfig):
            raise UserError(f"probe.scenario={config.scenario} has no episodes; choose a scenario of episodes, for instance glyphs")
        composed = {"ways": config.ways, "shots": config.shots, "queries": config.queries, "test_queries": config.queries}
        seed = self.setup.randomness.key("few-shot")
        try:
            made: Any = scenarios.make(config.scenario, seed=seed, data_root=self.setup.data_root, **composed)
        except UserError as error:
            told = str(error).replace("scenario.test_queries", "probe.queries").replace("scenario.", "probe.")
            raise UserError(f"probe.scenario={config.scenario}: {told}") from error
        if len(made) > 1:
            raise UserError(f"probe.scenario={config.scenario} is a stream of {len(made)} domains; choose one of them")
        return made

    def pieces(self) -> list[str]:
        """One piece for each kind of head.

        Returns:
            `prototypes`, and `adapted-head` where it takes steps.
        """
        return ["prototypes", *(["adapted-head"] if self.config.steps else [])]

    def facts(self) -> dict[str, Any]:
        """What the episodes are of.

        Returns:
            Plain values.
        """
        return {**vars(self.config), "fingerprint": self.data}

    def measure(self, piece: str, network: Network) -> Measurement:
        """Answer all episodes.

        Args:
            piece: by which head.
            network: whose features; its batch norms may be given statistics.

        Yields:
            No trials: features are computed once for all episodes.

        Returns:
            `accuracies`, one an episode.
        """
        yield []
        give_statistics(network, looking.spread(self.images, MEASURED).batch(slice(None)).x)
        features = looking.features(network, self.images)
        with torch.no_grad():
            if piece == "prototypes":
                found = prototype_accuracies(features, self.episodes)
            else:
                found = adapted_accuracies(features, self.episodes, steps=self.config.steps, rate=self.config.rate)
        return {"accuracies": found.tolist()}
