"""Baseline and Baseline++: pre-training on all base classes at once, and at test a new head on the frozen features.

Wei-Yu Chen, Yen-Cheng Liu, Zsolt Kira, Yu-Chiang Frank Wang, Jia-Bin Huang. *A closer look at few-shot classification.* ICLR 2019, arXiv
1904.04232. In training the network learns the base classes by cross-entropy (section 3.2); in an episode its backbone h is held, and a new
head is trained on the support set alone, by steps of SGD on small batches (100 steps of 4 images, as the paper says; the authors' code
makes 100 passes). The heads are

    baseline     w_c h(x) + b_c
    baseline++   scale g_c cos(w_c, h(x))                                                                             (section 3.3)

with scale = 2 for up to 200 classes and 10 for more. g_c is in the authors' code alone: it begins at the length of w_c and is learned, for
without it no answer could be sure. Their test-time SGD has rate 0.01, momentum and dampening 0.9 and weight decay 0.001. Every episode's
head begins at the same random weights; the labels of its classes are random anyhow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from scenarios.episodes.base_classes import BaseClasses
from scenarios.episodes.episodes import EpisodeBatch
from scenarios.experience import Batch
from scenarios.options import option
from strategies.meta.episodic.normalise import ByBatch
from strategies.meta.episodic.passes import BnMode
from strategies.meta.learner import BATCHES_A_PASS, EpisodicConfig
from strategies.meta.prototypes import EmbeddingLearner
from strategies.networks.network import OUT_OF_PLAY
from strategies.phase import Step

MOMENTUM, DAMPENING = 0.9, 0.9
"""Of the SGD that trains an episode's head."""
FEW = 200
"""Classes up to which baseline++ has the smaller scale."""


@dataclass(frozen=True, kw_only=True)
class BaselineConfig(EpisodicConfig):
    """Options of `baseline`.

    Attributes:
        bn_mode: what batch norms normalise by in episodes: running (moving averages of pre-training), transductive (support and queries
            each by its own batch), support (both by the support set's statistics) or per-example (each query with the support set
            alone). In pre-training it is the batch.
        batch_size: images a step of pre-training.
        test_steps: steps that an episode's head is trained for.
        test_batch: support images a step; all where there are no more.
        test_rate: the step size.
        test_weight_decay: L2 penalty on the head.
    """

    bn_mode: BnMode = "running"
    batch_size: int = option(64, low=2)
    test_steps: int = option(100, low=1)
    test_batch: int = option(4, low=1)
    test_rate: float = option(0.01, above=0)
    test_weight_decay: float = option(0.001, low=0)


@dataclass(frozen=True, kw_only=True)
class BaselinePlusPlusConfig(BaselineConfig):
    """Options of `baseline++`.

    Attributes:
        scale: what cosines are multiplied by; none for 2 with up to 200 classes, else 10.
    """

    scale: float | None = option(None, above=0)


class LinearHead(nn.Module):
    """Linear answers; any leading dimensions of weights and features go together.

    Args:
        features: F.
        classes: N.
    """

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        drawn = nn.Linear(features, classes)
        self.weight, self.other = drawn.weight, drawn.bias

    def answer(self, weight: Tensor, other: Tensor, x: Tensor) -> Tensor:
        """Answer with given parameters.

        Args:
            weight: [..., N, F].
            other: [..., N], biases.
            x: [..., B, F].

        Returns:
            [..., B, N].
        """
        return x @ weight.transpose(-1, -2) + other.unsqueeze(-2)

    def forward(self, x: Tensor) -> Tensor:
        """Answer.

        Args:
            x: [B, F].

        Returns:
            [B, N].
        """
        return self.answer(self.weight, self.other, x)


class CosineHead(LinearHead):
    """Scaled cosines, each class's with a factor of its own.

    Args:
        features: F.
        classes: N.
        scale: of all of them.
    """

    def __init__(self, features: int, classes: int, scale: float) -> None:
        super().__init__(features, classes)
        self.scale = scale
        self.other = nn.Parameter(self.weight.detach().norm(dim=1))

    def answer(self, weight: Tensor, other: Tensor, x: Tensor) -> Tensor:
        """Answer with given parameters.

        Args:
            weight: [..., N, F].
            other: [..., N], the classes' factors.
            x: [..., B, F].

        Returns:
            [..., B, N].
        """
        nearness = functional.normalize(x, dim=-1) @ functional.normalize(weight, dim=-1).transpose(-1, -2)
        return self.scale * other.unsqueeze(-2) * nearness


class Baseline(EmbeddingLearner):
    """A network of the base classes, and a new linear head for every episode.

    Args:
        config: the options.
    """

    Config = BaselineConfig  # type: ignore[assignment]
    config: BaselineConfig  # type: ignore[assignment]
    training = "pre-train"
    unread: ClassVar[Mapping[str, str]] = {"batch_size": "pre-training has batches of its own; set strategy.batch_size instead"}

    def make_head(self, classes: int) -> LinearHead:
        """Make a head at random weights.

        Args:
            classes: N.

        Returns:
            The head.
        """
        return LinearHead(self.network.num_features, classes)

    def build_parts(self) -> nn.ModuleDict:
        """A head for the base classes of each domain, and where every episode's head begins.

        Returns:
            `base`, heads in the order of the domains; `novel`.
        """
        domains: Any = self.setup.scenario.experiences
        base = nn.ModuleList(self.make_head(len(domain.train.table)) for domain in domains)
        novel = self.make_head(self.setup.scenario.num_outputs).requires_grad_(False)
        return nn.ModuleDict({"base": base, "novel": novel})

    def source(self, domains: Sequence[Any]) -> BaseClasses:
        """What a step learns from.

        Args:
            domains: that are learned, one or all so far.

        Returns:
            Passes over images of their base classes, as many steps a pass as there are meta-batches for others.
        """
        return BaseClasses(tuple(domain.train for domain in domains), self.config.batch_size, BATCHES_A_PASS)

    def loss_on(self, domains: Sequence[Any]) -> Callable[[Batch], Step]:
        """The loss that a step descends on.

        Args:
            domains: that are learned.

        Returns:
            From a batch of images to the step.
        """
        return partial(self.base_loss, domains=tuple(domain.index for domain in domains))

    def base_loss(self, batch: Batch, domains: tuple[int, ...]) -> Step:
        """Cross-entropy over the base classes of the domains that are learned; moves the norms' averages.

        Args:
            batch: images, their labels counted over these domains.
            domains: their numbers.

        Returns:
            The step.
        """
        normalise = ByBatch(self.config.bn_eps)
        features = self.net.features(self.theta, batch.x, normalise)
        self.net.move_averages(normalise.recorded)
        heads: Any = self.parts["base"]
        logits = torch.cat([heads[domain](features) for domain in domains], 1)
        return Step(functional.cross_entropy(logits, batch.y), logits.detach(), batch.y)

    @torch.no_grad()
    def episode_logits(self, batch: EpisodeBatch, steps: bool = False) -> Tensor:
        """Answer episodes. Query labels are not looked at.

        Args:
            batch: the episodes.
            steps: also answer after every step of their heads, from none.

        Returns:
            [E, Q, N]; with `steps`, [T + 1, E, Q, N].
        """
        support, query, _ = self.embed(batch, training=False)
        absent = None if batch.support_mask is None else ~batch.present()[:, None]
        novel: Any = self.parts["novel"]

        def answer(head: list[Tensor], x: Tensor) -> Tensor:
            logits = novel.answer(*head, x)
            return logits if absent is None else logits.masked_fill(absent, OUT_OF_PLAY)

        head = [each[: batch.ways].expand(len(support), *each[: batch.ways].shape) for each in (novel.weight, novel.other)]
        velocity: list[Tensor] = []
        answers = [answer(head, query)] if steps else []
        for chosen in self.minibatches(support.shape[1]):
            x, y = support[:, chosen], batch.support_y[:, chosen]
            found = gradients(answer, head, x, y)
            found = [each + self.config.test_weight_decay * old for each, old in zip(found, head)]
            # As torch's SGD, whose first velocity is the gradient itself.
            velocity = [MOMENTUM * old + (1 - DAMPENING) * new for old, new in zip(velocity, found)] if velocity else found
            head = [old - self.config.test_rate * each for old, each in zip(head, velocity)]
            answers += [answer(head, query)] if steps else []
        return torch.stack(answers) if steps else answer(head, query)

    def minibatches(self, size: int) -> Tensor:
        """Which support images each step of an episode's head takes.

        Args:
            size: S.

        Returns:
            int64 [T, B], without repetition in a step; the same for all episodes.
        """
        generator = self.setup.randomness.generator("head batches")
        order = torch.rand(self.config.test_steps, size, generator=generator).argsort(1)
        return order[:, : self.config.test_batch].to(self.setup.device)

    @property
    def inner_steps(self) -> int:
        """Steps in which it adapts to an episode."""
        return self.config.test_steps

    def report(self) -> dict[str, Any]:
        """The protocol that every table needs.

        Returns:
            The batch-norm mode, its eps, the images a step, the steps at test, and the number of base classes.
        """
        domains: Any = self.setup.scenario.experiences
        config = self.config
        own = {"batch_size": config.batch_size, "test_steps": config.test_steps}
        base = sum(len(domain.train.table) for domain in domains)
        return {"bn_mode": config.bn_mode, "bn_eps": config.bn_eps, **own, "base_classes": base}


class BaselinePlusPlus(Baseline):
    """The same with heads of cosines."""

    Config = BaselinePlusPlusConfig
    config: BaselinePlusPlusConfig

    def make_head(self, classes: int) -> LinearHead:
        """Make a head at random weights.

        Args:
            classes: N.

        Returns:
            The head.
        """
        scale = self.config.scale or (2.0 if classes <= FEW else 10.0)
        return CosineHead(self.network.num_features, classes, scale)


def gradients(answer: Callable[[list[Tensor], Tensor], Tensor], head: Sequence[Tensor], x: Tensor, y: Tensor) -> list[Tensor]:
    """The gradient of each episode's mean cross-entropy by its own head.

    Args:
        answer: from a head and features to logits.
        head: parameters, [E, ...].
        x: [E, B, F].
        y: int64 [E, B]; negative for padding.

    Returns:
        One gradient for each parameter, without graph.
    """
    with torch.enable_grad():
        own = [each.detach().requires_grad_() for each in head]
        logits = answer(own, x.detach())
        losses = functional.cross_entropy(logits.transpose(1, 2), y, reduction="none")
        loss = (losses.sum(1) / (y >= 0).sum(1).clamp_min(1)).sum()
    return list(torch.autograd.grad(loss, own))
