"""Which engine carries out an inner loop, and how many tasks it holds in memory at once.

The choice follows `tests/benchmarks/meta_step.py`, not the clock: the same run takes the same engine everywhere. Networks whose adapted
layers are all linear are factored on a CPU as long as support images times steps stay below twice the widest layer, and so is the head of
any network. Everything else is batched on an accelerator. On a CPU convolutions are batched where a task has few images (1.6 times as fast
as the loop at 10 images a task); where it has many, the loop is quicker (by 1.6 at 25 + 75 images), for a task then fits the cache and its
convolutions are not grouped by task.
"""

from __future__ import annotations

from typing import Literal

import torch

from scenarios.errors import UserError
from strategies.meta.episodic import batched, factored, loop
from strategies.meta.episodic.inner import InnerLoop, Task
from strategies.meta.episodic.network import Params

EngineName = Literal["auto", "loop", "batched", "factored"]

BATCHED_IMAGES = 40
"""Images of a task, counted as often as they pass through the network, up to which convolutions are batched on a CPU."""

GRAPH_FACTOR = 5
"""Bytes that a second-order step keeps, as a multiple of its activations (measured on Conv4)."""


def choose(inner: InnerLoop, asked: EngineName, support: int, query: int, device: torch.device) -> Literal["loop", "batched", "factored"]:
    """Choose the engine.

    Args:
        inner: the inner loop.
        asked: what the user asked for.
        support: support images of an episode.
        query: query images of an episode.
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
    few = (support + inner.support.query_passes * query) * len(inner.rates) + query <= BATCHED_IMAGES
    return "batched" if few or device.type != "cpu" else "loop"


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
    support, query = tasks["support_x"].shape[1], tasks["query_x"].shape[1]
    images = len(inner.rates) * (support + inner.support.query_passes * query) + len(inner.answers) * query
    floats = max(floats, features.numel()) * images
    factor = 1 if inner.first_order else GRAPH_FACTOR
    weights = 0 if name == "factored" else len(inner.rates) * sum(inner.theta[n].numel() for n in inner.adapted)
    each = features.element_size() * factor * (floats + weights)
    return max(1, int(limit_gb * 1e9 / each))
