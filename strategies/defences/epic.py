"""`epic`: examples that stand alone in gradient space are left out.

Y. Yang, T. Y. Liu, B. Mirzasoleiman, *Not All Poisons are Created Equal: Robust Training against Data Poisoning* (ICML 2022), known to us
from abstract and repository page; this is our reference design of it. In each class, medoids are chosen greedily in the space of last-
layer gradients (facility location), every example joins its nearest medoid, and medoids that stay alone are dropped; this is repeated as
a copy of the network warms up.

The gradient of example i by the last layer is the outer product of a_i = softmax - one-hot and its features b_i (and 1), so distances
need no gradient: <G_i, G_j> = <a_i, a_j> (<b_i, b_j> + 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scenarios.experience import Experience
from scenarios.options import option
from strategies.answering import Answering
from strategies.defences.filtering import FeatureFilter, outputs_and_features, warmed

PORTION = 1000
"""Examples of one class among which medoids are chosen together."""


@dataclass(frozen=True, kw_only=True)
class EpicConfig:
    """Options of `epic`.

    Attributes:
        share: medoids among the examples of a class.
        rounds: how often the isolated are dropped, a warm-up pass before each.
    """

    share: float = option(0.2, low=0.01, high=1)
    rounds: int = option(2, low=1)


class Epic(FeatureFilter):
    """Drops what is isolated."""

    Config = EpicConfig

    def detect(self, experience: Experience) -> Tensor | None:
        """In which round an example was found alone.

        Args:
            experience: what is about to be learned.

        Returns:
            [n], from 0 (never) to `rounds` (in the first).
        """
        task, examples = experience.index, experience.train
        outputs = self.setup.scenario.in_play(task)
        scores = torch.zeros(len(examples), device=examples.rows.device)
        model: Answering | None = None
        for number in range(self.config.rounds):
            left = torch.nonzero(scores == 0).flatten()
            model = warmed(self.strategy, examples.select(left), task, 1, model)
            logits, features = outputs_and_features(model, experience, outputs)
            error = logits.softmax(1) - torch.nn.functional.one_hot(examples.targets - outputs.start, len(outputs))
            generator = self.setup.randomness.generator("defence", "portions", task, number)
            for target in examples.targets.unique().tolist():
                of_class = left[examples.targets[left] == target]
                order = torch.randperm(len(of_class), generator=generator).to(of_class.device)
                for part in of_class[order].split(PORTION):
                    alone = isolated(error[part], features[part], self.config.share)
                    scores[part[alone]] = float(self.config.rounds - number)
        return scores

    def filter(self, experience: Experience, scores: Tensor | None) -> Tensor | None:
        """Drop what was found alone.

        Args:
            experience: what is about to be learned.
            scores: what `detect` gave.

        Returns:
            Positions that are kept.
        """
        assert scores is not None
        return torch.nonzero(scores == 0).flatten()


def isolated(error: Tensor, features: Tensor, share: float) -> Tensor:
    """Medoids that nobody else joins.

    Args:
        error: [n, K], softmax minus one-hot.
        features: [n, F].
        share: of the examples that become medoids.

    Returns:
        bool [n].
    """
    count = len(error)
    kernel = (error @ error.T) * (features @ features.T + 1)
    own = kernel.diagonal()
    distance = (own[:, None] + own[None] - 2 * kernel).clamp_min(0).sqrt()
    nearness = distance.max() - distance
    covered = torch.zeros(count, device=error.device)
    medoids: list[int] = []
    for _ in range(max(1, round(share * count))):
        gain = (nearness - covered[:, None]).clamp_min(0).sum(0)
        gain[medoids] = -1
        best = int(gain.argmax())
        medoids.append(best)
        covered = torch.maximum(covered, nearness[:, best])
    joined = torch.tensor(medoids, device=error.device)[distance[:, medoids].argmin(1)]
    sizes = torch.bincount(joined, minlength=count)
    alone = torch.zeros(count, dtype=torch.bool, device=error.device)
    alone[medoids] = sizes[medoids] <= 1
    return alone
