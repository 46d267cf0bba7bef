"""A-GEM: a step may not raise the loss on the memory, to first order.

Arslan Chaudhry, Marc'Aurelio Ranzato, Marcus Rohrbach, Mohamed Elhoseiny. *Efficient lifelong learning with A-GEM.* ICLR 2019, arXiv
1812.00420. With g the gradient of the new batch's loss and m that of a batch drawn from the memory (equation 11),

    g <- g - (<g, m> / |m|^2) m   where <g, m> < 0,

over all parameters that either loss reaches. The memory is filled when an experience has been learned, so that m is of earlier ones alone.
Both losses have passes of their own: half the cost of two backward passes through one batch of both.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scenarios.experience import Batch
from strategies.memory.rehearsal import Rehearsal, divided
from strategies.phase import Step, Update
from strategies.projection import project


class Agem(Rehearsal):
    """Fine-tuning whose gradient is projected away from what the memory forbids."""

    def update(self) -> Update:
        """What a step does.

        Returns:
            The update.
        """
        return Update(loss=self.loss, parameters=self.network.parameters, after_backward=self._project)

    def loss(self, batch: Batch) -> Step:
        """Cross-entropy of the new examples; the gradient of the remembered ones' is noted on the way.

        Args:
            batch: new examples and, once there are any, remembered ones.

        Returns:
            The step.
        """
        self._noted: list[tuple[torch.nn.Parameter, Tensor]] = []
        if batch.origin is None:
            return super().loss(batch)
        new, old = divided(batch, self.setup.scenario.setting)
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        found = torch.autograd.grad(super().loss(old).loss, trained, allow_unused=True)
        self._noted = [(parameter, gradient) for parameter, gradient in zip(trained, found) if gradient is not None]
        return super().loss(new)

    def _project(self) -> None:
        if not self._noted:
            return
        own = [torch.zeros_like(parameter) if parameter.grad is None else parameter.grad for parameter, _ in self._noted]
        for (parameter, _), gradient in zip(self._noted, project(own, [gradient for _, gradient in self._noted])):
            parameter.grad = gradient
