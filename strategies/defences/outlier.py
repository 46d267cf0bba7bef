"""`outlier`: examples that lie among others' in feature space, or along the direction of greatest spread, are left out.

knn: N. Peri et al., *Deep k-NN Defense against Clean-label Data Poisoning Attacks* (ECCV workshops 2020): an example goes when most of
its k nearest neighbours have another label. spectral: B. Tran, J. Li, A. Madry, *Spectral Signatures in Backdoor Attacks* (NeurIPS 2018):
in each class, the squared part of the centred features along their first singular direction; the share of largest goes. Features are
those of a copy of the network, warmed up on what arrives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from scenarios.experience import Experience
from scenarios.options import option
from strategies.defences.filtering import FeatureFilter, WarmupConfig, outputs_and_features, warmed, without_lowest
from strategies.unread import refuse_unread


@dataclass(frozen=True, kw_only=True)
class OutlierConfig(WarmupConfig):
    """Options of `outlier`.

    Attributes:
        kind: knn or spectral.
        neighbours: k.
        share: of examples that spectral drops.
    """

    kind: Literal["knn", "spectral"] = "knn"
    neighbours: int = option(20, low=1)
    share: float = option(0.15, low=0, high=0.99)

    def __post_init__(self) -> None:
        readers = {"neighbours": (self.kind == "knn", "kind=knn"), "share": (self.kind == "spectral", "kind=spectral")}
        refuse_unread(self, "defence", readers)


class Outlier(FeatureFilter):
    """Drops what lies elsewhere than its label says."""

    Config = OutlierConfig

    def detect(self, experience: Experience) -> Tensor | None:
        """How strange each example's features are.

        Args:
            experience: what is about to be learned.

        Returns:
            [n]: the share of neighbours with another label, or the squared part along the class's first direction.
        """
        task = experience.index
        model = warmed(self.strategy, experience.train, task, self.config.warmup)
        _, features = outputs_and_features(model, experience, self.setup.scenario.in_play(task))
        targets = experience.train.targets
        return strangers(features, targets, self.config.neighbours) if self.config.kind == "knn" else spread(features, targets)

    def filter(self, experience: Experience, scores: Tensor | None) -> Tensor | None:
        """Drop the strangest.

        Args:
            experience: what is about to be learned.
            scores: what `detect` gave.

        Returns:
            Positions that are kept.
        """
        assert scores is not None
        if self.config.kind == "spectral":
            return without_lowest(scores, self.config.share)
        return torch.nonzero(scores <= 0.5).flatten()


def strangers(features: Tensor, targets: Tensor, neighbours: int) -> Tensor:
    """The share of each example's nearest neighbours that have another label.

    Args:
        features: [n, F].
        targets: int64 [n].
        neighbours: k.

    Returns:
        [n].
    """
    k = min(neighbours, len(features) - 1)
    found = []
    for start in range(0, len(features), 1000):
        distance = torch.cdist(features[start : start + 1000], features)
        rows = torch.arange(len(distance), device=features.device)
        distance[rows, start + rows] = torch.inf
        nearest = distance.topk(k, largest=False).indices
        found.append((targets[nearest] != targets[start : start + 1000, None]).double().mean(1))
    return torch.cat(found)


def spread(features: Tensor, targets: Tensor) -> Tensor:
    """The squared part of each example's centred features along their class's first singular direction.

    Args:
        features: [n, F].
        targets: int64 [n].

    Returns:
        [n].
    """
    scores = features.new_zeros(len(features))
    for target in targets.unique().tolist():
        of_class = torch.nonzero(targets == target).flatten()
        centred = features[of_class] - features[of_class].mean(0)
        first = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -1]
        scores[of_class] = (centred @ first).square()
    return scores
