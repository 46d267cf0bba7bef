"""Weights that bring a penalty and a task's loss to one scale while both change.

With EMA(x) a running mean, sg a stop of the gradient, q the penalty, L the task's loss, L_base the loss that the earlier tasks ended with:

    log      alpha_t = 1 / sg(EMA(L) + c),  alpha_s = 1 / sg(EMA(L_base + q) + c): the descent of a sum of logarithms
    none     1 and 1
    ratio    alpha_t = 1,  alpha_s = EMA(L) / (EMA(q) + c), at most 1 / c

They match values of losses, not curvatures. (Lee et al., CVPR 2020, name adaptive scales; these formulas are inferred.)
"""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor

Scale = Literal["log", "none", "ratio"]

KEPT = 0.9
SMALL = 1e-3


class AdaptiveScale:
    """The running means of one training phase.

    Args:
        kind: which weights.
        base: the loss that the earlier tasks ended with; a scalar.
    """

    def __init__(self, kind: Scale, base: Tensor | None = None) -> None:
        self.kind = kind
        self.base = base
        self.task_mean: Tensor | None = None
        self.penalty_mean: Tensor | None = None

    def task(self, loss: Tensor) -> float | Tensor:
        """The weight of the task's loss.

        Args:
            loss: of the batch, without graph.

        Returns:
            alpha_t.
        """
        if self.kind == "none":
            return 1.0
        self.task_mean = loss if self.task_mean is None else self.task_mean.lerp(loss, 1 - KEPT)
        return 1 / (self.task_mean + SMALL) if self.kind == "log" else 1.0

    def penalty(self, value: Tensor) -> float | Tensor:
        """The weight of the penalty; `task` has been called with this step's loss.

        Args:
            value: of the penalty, without graph.

        Returns:
            alpha_s.
        """
        if self.kind == "none":
            return 1.0
        known = value + self.base if self.kind == "log" and self.base is not None else value
        self.penalty_mean = known if self.penalty_mean is None else self.penalty_mean.lerp(known, 1 - KEPT)
        if self.kind == "log":
            return 1 / (self.penalty_mean + SMALL)
        assert self.task_mean is not None
        return (self.task_mean / (self.penalty_mean + SMALL)).clamp(max=1 / SMALL)

    def state_dict(self) -> dict[str, Any]:
        """The running means.

        Returns:
            Scalars, or None where there is none yet.
        """
        return {"base": self.base, "task_mean": self.task_mean, "penalty_mean": self.penalty_mean}

    def load_state_dict(self, state: dict[str, Any], device: Any) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
            device: where the scalars are put.
        """
        for name, value in state.items():
            setattr(self, name, None if value is None else value.to(device))
