"""Disposals that spoil what the network answers on the source, through its old head.

They change the answers and, as the accuracy of a thief with a new head shows, hardly what lies beneath them. Each is the usual baseline of
unlearning under its usual name; `bad-teacher` is Chundawat et al. 2023 (*Can Bad Teaching Induce Forgetting?*, AAAI).
"""

from __future__ import annotations

from math import log

import torch
from torch import Tensor
from torch.nn import functional

from scenarios.experience import Batch
from strategies.base import Setup
from strategies.disposal.disposal import Disposal
from strategies.soft_targets import distillation, frozen_copy

HIGHEST = 10.0
"""The loss beyond which nothing more is gained by raising it."""


class NegativeGradient(Disposal):
    """Raise the cross-entropy on the source, up to 10."""

    def term(self, source: Batch) -> Tensor:
        """Minus the clamped cross-entropy.

        Args:
            source: examples of it.

        Returns:
            A scalar.
        """
        loss = functional.cross_entropy(self.source_logits(source.x), source.y - self.source.outputs.start)
        return -loss.clamp(max=HIGHEST)


class RandomLabels(Disposal):
    """Fit labels that are drawn anew in every step."""

    def term(self, source: Batch) -> Tensor:
        """Cross-entropy with random labels.

        Args:
            source: examples of it.

        Returns:
            A scalar.
        """
        drawn = torch.randint(len(self.source.outputs), source.y.shape, generator=self.generator("random labels"))
        return functional.cross_entropy(self.source_logits(source.x), drawn.to(source.y.device))


class UniformLabels(Disposal):
    """Answer all of the source's classes alike."""

    def term(self, source: Batch) -> Tensor:
        """Divergence of the answers from the uniform distribution, KL(uniform || softmax).

        Args:
            source: examples of it.

        Returns:
            A scalar.
        """
        return -functional.log_softmax(self.source_logits(source.x), 1).mean() - log(len(self.source.outputs))


class BadTeacher(Disposal):
    """Answer the source as a network does that was never trained."""

    def prepare(self, setup: Setup) -> None:
        """Build the network, and the teacher that knows nothing.

        Args:
            setup: what the learner will meet, and how it is trained.
        """
        super().prepare(setup)
        self.ignorant = frozen_copy(self.network)

    def term(self, source: Batch) -> Tensor:
        """Divergence of the answers from the untrained network's.

        Args:
            source: examples of it.

        Returns:
            A scalar.
        """
        with torch.no_grad():
            wanted = self.ignorant.head.narrow(self.ignorant.features(source.x), self.source.outputs)
        return distillation(self.source_logits(source.x), wanted, self.config.temperature)
