"""The reference engine: one task after another, differentiated by autograd.

It needs the least memory, and is what the others are compared with.
"""

from __future__ import annotations

import torch

from strategies.meta.episodic.inner import InnerLoop, Objective, Task
from strategies.meta.episodic.network import Params


def run(inner: InnerLoop, tasks: Task) -> Params:
    """Adapt to each episode of a meta-batch.

    Args:
        inner: the inner loop.
        tasks: the episodes, stacked.

    Returns:
        What `InnerLoop.run` gives, stacked.
    """

    def gradient(objective: Objective, params: Params, constant: bool = False) -> Params:
        first_order = inner.first_order or constant
        with torch.enable_grad():
            # Nodes of their own, so that what an objective holds already (a state that depends on params) counts as constant here.
            at = {n: v.detach().requires_grad_() if first_order or not v.requires_grad else v.view_as(v) for n, v in params.items()}
            grads = torch.autograd.grad(objective(at), list(at.values()), create_graph=not first_order)
        return dict(zip(params, grads))

    outcomes = [inner.run({name: value[e] for name, value in tasks.items()}, gradient, native=True) for e in range(len(tasks["targets"]))]
    return {name: torch.stack([outcome[name] for outcome in outcomes]) for name in outcomes[0]}
