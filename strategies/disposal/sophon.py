"""After SOPHON (reconstruction): make the trunk a bad place to start fine-tuning from.

J. Deng et al. *SOPHON: Non-Fine-Tunable Learning to Restrain Task Transferability for Pre-trained Models.* IEEE S&P 2024. In each step a
thief is simulated: a new random head, and a few steps of gradient descent on source batches. Where he arrives, his answers on another
source batch shall be uniform (the paper's KL variant of its fine-tuning suppression). By default the gradient at the place of arrival is
applied to the place of departure (first order); otherwise it is taken through the simulated steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from scenarios.errors import UserError
from scenarios.experience import Batch
from scenarios.options import option
from strategies.base import Setup
from strategies.disposal.disposal import Disposal, DisposalConfig


@dataclass(frozen=True, kw_only=True)
class SophonConfig(DisposalConfig):
    """Options of `sophon`.

    Attributes:
        inner_steps: of the simulated fine-tuning.
        inner_rate: its step size.
        first_order: apply the gradient at the place of arrival, instead of going back through the simulated steps.
    """

    inner_steps: int = option(3, low=1)
    inner_rate: float = option(0.1, low=0)
    first_order: bool = True


class Sophon(Disposal):
    """Spoil what simulated fine-tuning arrives at."""

    Config = SophonConfig

    def prepare(self, setup: Setup) -> None:
        """Build the network, and see that the source batch is enough for the simulation.

        Args:
            setup: what the learner will meet, and how it is trained.

        Raises:
            UserError: the batch cannot be cut into one part for each simulated step and one to judge by.
        """
        super().prepare(setup)
        parts = self.config.inner_steps + 1
        if self.config.source_batch < parts:
            raise UserError(f"strategy.source_batch={self.config.source_batch} is too small for {parts} parts; choose at least {parts}")

    def term(self, source: Batch) -> Tensor:
        """KL(uniform || answers) after simulated fine-tuning, on examples that it did not see.

        Args:
            source: examples of it.

        Returns:
            A scalar.
        """
        targets = source.y - self.source.outputs.start
        pieces = list(zip(source.x.tensor_split(self.config.inner_steps + 1), targets.tensor_split(self.config.inner_steps + 1)))
        trunk: dict[str, Tensor] = dict(self.network.backbone.named_parameters())
        reach = self.network.num_features**-0.5
        shape = (len(self.source.outputs), self.network.num_features)
        drawn = (2 * torch.rand(shape, generator=self.generator("simulated head")) - 1) * reach
        weight = drawn.to(source.x).requires_grad_()
        for x, y in pieces[:-1]:
            loss = functional.cross_entropy(self._answers(x, trunk, weight), y)
            known = [weight, *trunk.values()]
            gradients = torch.autograd.grad(loss, known, create_graph=not self.config.first_order)
            weight, *moved = (value - self.config.inner_rate * gradient for value, gradient in zip(known, gradients))
            trunk = dict(zip(trunk, moved))
        answers = functional.log_softmax(self._answers(pieces[-1][0], trunk, weight), 1)
        return -answers.mean() - log(len(self.source.outputs))

    def _answers(self, x: Tensor, trunk: dict[str, Tensor], weight: Tensor) -> Tensor:
        return functional.linear(functional_call(self.network.backbone, trunk, (x,)), weight)
