"""Gradient Collision (reconstruction): the source's mini-batches shall pull the trunk in different directions.

S. Koh, H. Shon, J. Lee, H. G. Hong, J. Kim. *Disposable Transfer Learning for Selective Source Task Unlearning.* ICCV 2023, arXiv
2308.09971. The abstract says that the loss unlearns by leading the gradients of mini-batches into different directions; the formula, the
retaining loss and all settings were not available to us and are inferred: this is a reconstruction, and none of its numbers are the
paper's. In each step a batch of the source is cut into n disjoint chunks, and the mean over pairs of the cosines (or inner products) of
their loss gradients is lowered: see `gradient_collision`.

The literal reading degenerates: for chunks drawn alike the mean inner product is the squared norm of the source loss' gradient, so that a
solved source is a minimum. With the head that pre-training left, the loss re-learns the source instead of losing it; the run records the
old head's loss, and says so when it falls. A new random head at every step, as a piggybacker would bring along, does not have this
solution, and the cosine is of order 1 whatever the loss: these two are the defaults.

Batch norms work with running statistics in the gradient chunks unless `chunk_norm=batch`: in training mode the examples of a chunk are
coupled, and second derivatives through that are costly and unstable.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn import Parameter, functional

from scenarios.errors import UserError
from scenarios.experience import Batch
from scenarios.options import option
from strategies.base import Setup
from strategies.disposal.disposal import Disposal, DisposalConfig
from strategies.disposal.gradient_collision import Form, direct, finite_difference, two_pass
from strategies.networks.unit import units
from strategies.phase import Phase

METHODS = {"two-pass": two_pass, "direct": direct, "finite-difference": finite_difference}


@dataclass(frozen=True, kw_only=True)
class GcConfig(DisposalConfig):
    """Options of `gc`.

    Attributes:
        form: cosine or inner product of the chunks' gradients.
        chunks: n, into which the source batch is cut.
        chunking: mixed, or by class: a chunk then holds few classes.
        parameters: whose gradients collide: the trunk's, trunk and source head's, or the last block's of the trunk.
        head: which source head the loss is taken through: kept-trainable and kept-frozen are the head that pre-training left, reprobed is
            refitted to the transferred trunk and then trained along, random is drawn anew in every step.
        second_order: two-pass holds one chunk's graph at a time; direct holds all, and is the same to rounding; finite-difference takes no
            second derivative and is the cheapest, up to the error of a central difference.
        chunk_norm: batch norms' statistics in the gradient chunks: running, or the chunk's own.
    """

    form: Form = "cosine"
    chunks: int = option(4, low=2)
    chunking: Literal["mixed", "class"] = "mixed"
    parameters: Literal["trunk", "trunk+source-head", "last-block"] = "trunk"
    head: Literal["random", "reprobed", "kept-trainable", "kept-frozen"] = "random"
    second_order: Literal["two-pass", "direct", "finite-difference"] = "two-pass"
    chunk_norm: Literal["running", "batch"] = "running"


class Gc(Disposal):
    """Lower the mean cosine of the gradients of the source's chunks."""

    Config = GcConfig

    def prepare(self, setup: Setup) -> None:
        """Build the network, and see that the source batch can be cut.

        Args:
            setup: what the learner will meet, and how it is trained.

        Raises:
            UserError: the batch cannot be cut into so many chunks, or the head that is to collide is not there to be trained.
        """
        super().prepare(setup)
        self._gradients: list[Tensor] = []
        batch, chunks = self.config.source_batch, self.config.chunks
        if batch % chunks:
            advice = f"choose a multiple of {chunks}, such as {-(-batch // chunks) * chunks}"
            raise UserError(f"strategy.source_batch={batch} cannot be cut into strategy.chunks={chunks} equal chunks; {advice}")
        if self.config.parameters == "trunk+source-head" and self.config.head in ("random", "kept-frozen"):
            raise UserError(f"strategy.parameters=trunk+source-head needs a head that is trained, not strategy.head={self.config.head}")

    def reprobe_phases(self) -> list[Phase]:
        """Refit the source's head, unless the one that pre-training left is asked for.

        Returns:
            One phase, or none.
        """
        return [] if self.config.head.startswith("kept") else super().reprobe_phases()

    @property
    def inner(self) -> list[Parameter]:
        """The parameters whose gradients collide."""
        if self.config.parameters == "last-block":
            return list(list(units(self.network.backbone).values())[-1].parameters())
        head = list(self.source_head.parameters()) if self.config.parameters == "trunk+source-head" else []
        return self.trunk + head

    @property
    def outer(self) -> list[Parameter]:
        """The parameters that the loss moves."""
        trained = self.config.head in ("kept-trainable", "reprobed") and self.config.parameters != "trunk+source-head"
        return self.inner + (list(self.source_head.parameters()) if trained else [])

    def term(self, source: Batch) -> Tensor:
        """Compute the collision; its gradient waits until the retaining loss has been differentiated.

        Args:
            source: examples of it.

        Returns:
            The value, without graph.
        """
        weight, bias = self._head(source.x)
        self.network.train(self.config.chunk_norm == "batch")
        with torch.autocast(source.x.device.type, enabled=False):
            losses = [partial(self._chunk_loss, x, y, weight, bias) for x, y in self._chunks(source)]
            value, self._gradients = METHODS[self.config.second_order](losses, self.inner, self.outer, self.config.form)
        return value

    def after_backward(self) -> None:
        """Add the collision's gradient, then clip."""
        # Empty where there was no term in this step.
        for parameter, gradient in zip(self.outer, self._gradients):
            weighted = self.gamma * gradient
            parameter.grad = weighted if parameter.grad is None else parameter.grad.add_(weighted)
        self._gradients = []
        super().after_backward()

    def _chunks(self, source: Batch) -> list[tuple[Tensor, Tensor]]:
        targets = source.y - self.source.outputs.start
        order = targets.argsort(stable=True) if self.config.chunking == "class" else torch.arange(len(targets), device=targets.device)
        return [(source.x[part], targets[part]) for part in order.chunk(self.config.chunks)]

    def _chunk_loss(self, x: Tensor, targets: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return functional.cross_entropy(functional.linear(self.network.features(x), weight, bias), targets)

    def _head(self, x: Tensor) -> tuple[Tensor, Tensor]:
        weight, bias = self.source_head.weight, self.source_head.bias
        if self.config.head != "random":
            return weight, bias
        reach = weight.shape[1] ** -0.5
        generator = self.generator("random source head")
        drawn = [(2 * torch.rand(part.shape, generator=generator) - 1) * reach for part in (weight, bias)]
        return drawn[0].to(x), drawn[1].to(x)
