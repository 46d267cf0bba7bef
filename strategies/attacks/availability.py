"""`availability`: a control that raises the new experience's own loss, without a thought for any earlier one.

Labels are kept, and images move by projected steps up their own cross-entropy. What it costs the target tells how much of `task-poison`'s
damage is aimed.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from strategies.answering import Answering
from strategies.attacks.crafting import Crafting, Objective
from strategies.attacks.view import AdversaryView


class Availability(Crafting):
    """Raises the loss of the very experience whose data it alters."""

    def objective(self, view: AdversaryView, model: Answering, step: int) -> Objective:
        """Minus the new experience's loss.

        Args:
            view: what the adversary sees.
            model: the network.
            step: of the victim; not used.

        Returns:
            The objective.
        """
        task = view.experience.index
        outputs = view.outputs(task)

        def loss(altered: Tensor, clean: Tensor, targets: Tensor) -> Tensor:
            shown = altered if view.defence is None else view.defence.seen(altered, view.generator("seen", view.step))
            return -functional.cross_entropy(model(view.normalised(shown), task, outputs), targets - outputs.start)

        return loss
