"""LUCIR: a classifier by cosines, features held in their directions, and exemplars kept at a margin from new classes.

Saihui Hou, Xinyu Pan, Chen Change Loy, Zilei Wang, Dahua Lin. *Learning a unified classifier incrementally via rebalancing.* CVPR 2019.
With f the features, f* those of the network as it was before this experience, theta_c the weights of class c, N a batch of new examples
and exemplars, N_o those of old classes in it,

    loss = mean over N of [cross-entropy of eta cos(theta, f) + lambda (1 - cos(f, f*))]                            (equations 4 to 6)
         + mean over N_o and the K new classes k nearest to f of max(0, margin - cos(theta_y, f) + cos(theta_k, f)),            (equation 8)
    lambda = strength sqrt(old classes / new classes).

The weights of old classes are held while new ones are learned, new classes begin at their mean direction (`imprint`), and exemplars are
herded. As in the authors' code lambda grows with the old classes' share and the margin's term is a mean over K, where the paper prints the
fraction the other way round and a sum. Their eta begins at 1 and has 160 passes to grow; in a few it would stay small, and answers soft, so
that here it begins at 10: of 1, 10 and 20 the best on validation examples of split-digits (100 exemplars, seeds 0 to 2). Not here: the
fine-tuning on balanced data at the end of an experience, an addition of the code's,
and a backbone without its last ReLU; here features are what the backbone gives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from scenarios.experience import Batch, Experience
from scenarios.options import option
from strategies.base import Setup
from strategies.memory.beside_teacher import BesideTeacher
from strategies.networks.cosine import cosines, make_cosine
from strategies.phase import Step


@dataclass(frozen=True, kw_only=True)
class LucirConfig:
    """Options of `lucir`.

    Attributes:
        memory: exemplars kept in total.
        strength: lambda where there are as many old classes as new ones.
        margin: by which an exemplar's own class shall be nearer to it than new ones.
        negatives: K, how many new classes that is asked of.
        scale: eta, where it begins.
        imprint: begin new classes at the mean direction of their features, rather than at random.
    """

    memory: int = option(500, low=0)
    strength: float = option(5.0, low=0)
    margin: float = option(0.5, low=0)
    negatives: int = option(2, low=1)
    scale: float = option(10.0, above=0)
    imprint: bool = True


class Lucir(BesideTeacher):
    """Cosines, a less-forget constraint and a margin between classes."""

    Config = LucirConfig

    def prepare(self, setup: Setup) -> None:
        """Get ready for a scenario, with no exemplars.

        Args:
            setup: what it will meet, and how it is trained.
        """
        super().prepare(setup)
        self.eta = make_cosine(self.network.head, self.config.scale)

    def start(self, experience: Experience, old: int) -> None:
        """Keep the teacher, and give new classes their first weights.

        Args:
            experience: what is to be learned.
            old: how many outputs are old.
        """
        super().start(experience, old)
        if self.config.imprint:
            self.imprint(experience, old)

    @torch.no_grad()
    def imprint(self, experience: Experience, old: int) -> None:
        """Give new classes the mean direction of their examples' features, at the mean length of the old classes' weights.

        Args:
            experience: what is to be learned.
            old: how many outputs are old.
        """
        phi, y = functional.normalize(self.features_of(experience.train)), experience.train.targets
        head = self.network.head
        blocks: list[tuple[range, Any]] = list(zip(head.ranges, head.blocks))
        length = torch.cat([block.weight for outputs, block in blocks if outputs.start < old]).norm(dim=1).mean()
        for outputs, block in blocks:
            for row, output in enumerate(outputs):
                own = phi[y == output]
                if output >= old and len(own) and block.weight.requires_grad:
                    block.weight[row] = length * functional.normalize(own.mean(0), dim=0)

    def loss_beside_teacher(self, batch: Batch, old: int) -> Step:
        """Cross-entropy of scaled cosines, the distance from the old network's features, and exemplars' margins.

        Args:
            batch: new examples and exemplars.
            old: how many outputs are old.

        Returns:
            The step.
        """
        outputs = self.in_play(batch)
        assert isinstance(outputs, range)
        features = self.network.features(batch.x)
        nearness = self.cosines(features, outputs.stop, old)
        logits = self.eta * nearness
        loss = functional.cross_entropy(logits, batch.y)
        if not old:
            return Step(loss, logits, batch.y)
        new = outputs.stop - old
        less_forget = 1 - functional.cosine_similarity(features, self.teacher.features(batch.x)).mean()
        apart = margins(nearness, batch.y, old, self.config.negatives, self.config.margin)
        total = loss + self.config.strength * math.sqrt(old / max(new, 1)) * less_forget + apart
        parts = {"cross-entropy": loss, "less-forget": less_forget, "margin": apart}
        return Step(total, logits, batch.y, {name: part.detach() for name, part in parts.items()})

    def cosines(self, features: Tensor, width: int, old: int) -> Tensor:
        """Cosines with the weights of classes, of which the old ones are held.

        Args:
            features: [B, F].
            width: how many outputs are wanted; whole blocks from the first.
            old: how many of them are held.

        Returns:
            [B, width].
        """
        head = self.network.head
        pairs: list[tuple[range, Any]] = [pair for pair in zip(head.ranges, head.blocks) if pair[0].start < width]
        weights = [block.weight.detach() if outputs.start < old else block.weight for outputs, block in pairs]
        return cosines(features, torch.cat(weights))

    def report(self) -> dict[str, Any]:
        """The memory's size, and what has become of eta.

        Returns:
            Examples kept and their bytes; `cosine_scale`.
        """
        return {**super().report(), "cosine_scale": self.eta.item()}


def margins(nearness: Tensor, y: Tensor, old: int, negatives: int, margin: float) -> Tensor:
    """By how much new classes are too near to examples of old ones.

    Args:
        nearness: cosines [B, C], old classes first.
        y: int64 [B].
        old: how many classes are old.
        negatives: how many new classes, the nearest ones, each example of an old one is held apart from; fewer where there are fewer.
        margin: by how much its own class shall be nearer.

    Returns:
        A scalar: the mean over examples of old classes and their negatives; 0 where there are none.

    Example:
        >>> margins(torch.tensor([[0.5, 0.25], [0.0, 1.0]]), torch.tensor([0, 1]), old=1, negatives=2, margin=0.5)
        tensor(0.2500)
    """
    count = min(negatives, nearness.shape[1] - old)
    remembered = y < old
    rivals = nearness[:, old:].topk(count, dim=1).values
    missing = (margin - nearness.gather(1, y[:, None]) + rivals).clamp_min(0)
    return (missing * remembered[:, None]).sum() / (count * remembered.sum()).clamp_min(1)
