"""Whether a penalty and the task's loss are of one order at all: a penalty that is nothing beside the loss, or everything, is told.

Every few steps of an experience the penalty is set against the task's loss of the batch, both as they enter the total, and the norm of its
gradient against the task's. If it stays above a thousand times the loss nothing new is learned, or steps are too long for so stiff a
penalty. If it stays below a thousandth, it is too weak to act, unless it is so strong that nothing moves that it holds: then its gradient
is as large as the task's, and nothing is told. Where training begins the penalty is 0; those steps are not looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

EVERY = 10
"""Steps from one look to the next."""
LITTLE, MUCH = 1e-3, 1e3
"""Shares of penalty to loss outside of which a penalty is told."""
TINY = 1e-12
PUSH = 0.1
"""Share of the penalty's gradient to the task's from which on a penalty acts."""


def norm(gradients: Sequence[Tensor]) -> Tensor:
    """The norm of gradients taken as one vector.

    Args:
        gradients: at least one.

    Returns:
        A scalar.
    """
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(gradients))))


class Balance:
    """The least and the greatest share of penalty to loss in each experience, and the greatest of their gradients."""

    def __init__(self) -> None:
        self.steps = 0
        self.range: Tensor | None = None
        self.history: list[dict[str, Any]] = []

    def due(self) -> bool:
        """Whether it is time for a look; called once a step.

        Returns:
            True for every tenth.
        """
        self.steps += 1
        return self.steps % EVERY == 0

    @torch.no_grad()
    def look(self, penalty: Tensor, loss: Tensor, push: Tensor) -> None:
        """Set the penalty against the loss.

        Args:
            penalty: a scalar.
            loss: a scalar.
            push: the norm of the penalty's gradient by that of the task's.
        """
        share = penalty.double() / loss.double().clamp(min=TINY)
        seen = torch.stack([-share, share, push.double()])
        self.range = seen if self.range is None else torch.maximum(self.range, seen)

    def close(self, experience: int) -> None:
        """The experience is over.

        Args:
            experience: which.
        """
        if self.range is not None:
            least, greatest, push = self.range.tolist()
            self.history.append({"experience": experience, "least": -least, "greatest": greatest, "greatest_of_gradients": push})
        self.steps, self.range = 0, None

    def remark(self, experience: int, stronger: str, weaker: str) -> str | None:
        """What is to be told of an experience.

        Args:
            experience: which.
            stronger: what to do where the penalty hardly acts.
            weaker: what to do where nothing else does.

        Returns:
            A line, or None where penalty and loss were of one order, or were not looked at.
        """
        row = next((row for row in self.history if row["experience"] == experience), None)
        if row and row["greatest"] < LITTLE and row["greatest_of_gradients"] < PUSH:
            return f"the penalty hardly acts: it stayed below a thousandth of the task's loss (at most {row['greatest']:.1e}); {stronger}"
        if row and row["least"] > MUCH:
            return f"the penalty is all that acts: it stayed above 1000 times the task's loss (at least {row['least']:.1e}); {weaker}"
        return None

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to go on.

        Returns:
            Plain values and a tensor.
        """
        return {"steps": self.steps, "range": self.range, "history": [dict(row) for row in self.history]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
        """
        self.steps, self.range, self.history = state["steps"], state["range"], [dict(row) for row in state["history"]]
