"""All tasks of a meta-batch at once: the inner loop of one task under `vmap`."""

from __future__ import annotations

import torch

from strategies.meta.episodic.inner import InnerLoop, Objective, Task
from strategies.meta.episodic.network import Params


def run(inner: InnerLoop, tasks: Task) -> Params:
    """Adapt to all episodes of a meta-batch together.

    Args:
        inner: the inner loop.
        tasks: the episodes, stacked.

    Returns:
        What `InnerLoop.run` gives, stacked.
    """

    def gradient(objective: Objective, params: Params, constant: bool = False) -> Params:
        if not (inner.first_order or constant):
            return torch.func.grad(objective)(params)
        with torch.no_grad():
            grads = torch.func.grad(objective)(params)
        return {name: value.detach() for name, value in grads.items()}

    return torch.func.vmap(lambda task: inner.run(task, gradient))(dict(tasks))
