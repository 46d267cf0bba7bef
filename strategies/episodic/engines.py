"""Which engine carries out an inner loop, and how many tasks it holds in memory at once.

The choice follows `tests/benchmarks/meta_step.py`, not the clock: the same run takes the same engine everywhere. Networks whose adapted
layers are all linear are factored on a CPU as long as support images times steps stay below the widest layer; everything else is batched.
"""

from __future__ import annotations

from typing import Literal

import torch

from scenarios.errors import UserError
from strategies.episodic import batched, factored, loop
from strategies.episodic.inner import InnerLoop, Task
from strategies.episodic.network import Params

EngineName = Literal["auto", "loop", "batched", "factored"]

GRAPH_FACTOR = 5
"""Bytes that a second-order step keeps, as a multiple of its activations (measured on Conv4)."""


def choose(inner: InnerLoop, asked: EngineName, support: int, device: torch.device) -> Literal["loop", "batched", "factored"]:
    """Choose the engine.

    Args:
        inner: the inner loop.
        asked: what the user asked for.
        support: support images of an episode.
        device: where it computes.

    Returns:
        The engine's name.

    Raises:
        UserError: the factored engine was asked for what it cannot serve.
    """
    possible = factored.serves(inner)
    if asked == "factored" and not possible:
        raise UserError("strategy.engine=factored serves maml and l2f on --network mlp, and anil; choose batched or loop")
    if asked != "auto":
        return asked
    widest = max(inner.theta[name].shape[0] for name in inner.adapted)
    if possible and (inner.head_only or (device.type == "cpu" and support * len(inner.rates) <= 2 * widest)):
        return "factored"
    return "batched"


def run(name: str, inner: InnerLoop, tasks: Task) -> Params:
    """Adapt to a meta-batch.

    Args:
        name: the engine.
        inner: the inner loop.
        tasks: the episodes, stacked.

    Returns:
        What `InnerLoop.run` gives, stacked.
    """
    return {"loop": loop.run, "batched": batched.run, "factored": factored.run}[name](inner, tasks)


def tasks_at_once(inner: InnerLoop, name: str, tasks: Task, limit_gb: float) -> int:
    """How many tasks fit into memory together.

    Args:
        inner: the inner loop.
        name: the engine.
        tasks: the episodes, stacked.
        limit_gb: the memory allowed.

    Returns:
        At least 1; always 1 for the loop.
    """
    if name == "loop":
        return 1
    floats = 0

    def count(index: int, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        nonlocal floats
        floats += 3 * x.numel()
        return x

    with torch.no_grad():
        features = inner.net.features(inner.theta, tasks["query_x"][0, :1], count)
    images = len(inner.rates) * tasks["support_x"].shape[1] + len(inner.answers) * tasks["query_x"].shape[1]
    floats = max(floats, features.numel()) * images
    factor = 1 if inner.first_order else GRAPH_FACTOR
    weights = 0 if name == "factored" else len(inner.rates) * sum(inner.theta[n].numel() for n in inner.adapted)
    each = features.element_size() * factor * (floats + weights)
    return max(1, int(limit_gb * 1e9 / each))
