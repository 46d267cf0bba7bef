"""Learning from several experiences at once: what `joint` and `replay` share.

A mixed batch's examples have different outputs in play. In setting `task` each looks at its own experience's outputs, in setting `class`
all look at everything met so far, in setting `domain` at the one head. Outputs of experiences not met yet are not computed.
"""

from __future__ import annotations

from torch.nn import functional

from scenarios.experience import Batch, Examples
from strategies.base import Strategy
from strategies.networks.network import OUT_OF_PLAY
from strategies.phase import Step


class Mixed(Strategy):
    """A strategy whose batches mix experiences."""

    met: range
    """The outputs of all experiences in the data that is being learned."""

    def meet(self, examples: Examples) -> None:
        """Note which outputs the data that is being learned can have.

        Args:
            examples: the data.
        """
        experiences = self.setup.scenario.experiences
        self.met = range(max(experiences[index].outputs.stop for index in examples.tasks.unique().tolist()))

    def loss(self, batch: Batch) -> Step:
        """Cross-entropy, each example over its own outputs in play.

        Args:
            batch: examples of one experience or of several.

        Returns:
            The step.
        """
        if batch.task is not None:
            return super().loss(batch)
        logits = self.network(batch.x, self.met)
        if self.setup.scenario.setting == "task":
            logits = logits.masked_fill(~self.task_mask[batch.tasks], OUT_OF_PLAY)
        return Step(functional.cross_entropy(logits, batch.y), logits, batch.y)
