"""How well a learner that names the task itself does: index accuracy, accuracy with the right index, accuracy end to end, for each task.

Where a wrong index leads to a wrong answer, accuracy with the right index Q, index accuracy R and end-to-end accuracy E obey

    max(0, Q + R - 1) <= E <= min(Q, R);

where tasks share their outputs (setting `domain`), a wrong index can still lead to the right answer, and only the lower bound holds.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from scenarios.experience import Scenario


class Routed(Protocol):
    """A learner that names the task itself."""

    def index(self, x: Tensor) -> Tensor:
        """Name the task of each image.

        Args:
            x: float [B, C, H, W], normalised.

        Returns:
            int64 [B].
        """

    def logits(self, x: Tensor, task: int | None = None) -> Tensor:
        """Answer, given the task or not.

        Args:
            x: float [B, C, H, W], normalised.
            task: the task; None to have it named.

        Returns:
            [B, K].
        """


def diagnose_routing(strategy: Routed, scenario: Scenario, batch_size: int = 1000) -> dict[str, Any]:
    """Test a learner that has learned a whole stream.

    Args:
        strategy: the learner.
        scenario: the stream.
        batch_size: images in one pass.

    Returns:
        `index_accuracy`, `oracle_accuracy` and `end_to_end_accuracy` (without the task label) for each experience; `mean_...` of each;
        `confusion`, which task (column) was named how often for images of which (row); `bounds_hold`, whether the bounds above do.
    """
    tasks = len(scenario)
    confusion, right = torch.zeros(tasks, tasks, dtype=torch.int64), torch.zeros(2, tasks, dtype=torch.int64)
    with torch.inference_mode():
        for experience in scenario.experiences:
            for start in range(0, len(experience.test), batch_size):
                batch = experience.test.batch(slice(start, start + batch_size))
                confusion[experience.index] += torch.bincount(strategy.index(batch.x), minlength=tasks).cpu()
                for row, task in enumerate((experience.index, None)):
                    right[row, experience.index] += (strategy.logits(batch.x, task).argmax(1) == batch.y).sum().cpu()
    total = confusion.sum(1)
    named, oracle, end = confusion.diagonal(), right[0], right[1]
    holds = oracle + named - total <= end
    if scenario.setting != "domain":
        holds &= end <= torch.minimum(oracle, named)
    shares = {"index_accuracy": named / total, "oracle_accuracy": oracle / total, "end_to_end_accuracy": end / total}
    return {
        **{name: share.tolist() for name, share in shares.items()},
        **{f"mean_{name}": float(share.mean()) for name, share in shares.items()},
        "confusion": confusion.tolist(),
        "bounds_hold": bool(holds.all()),
    }
