"""Optimisers and step-size schedules, made from an update's description or from `train.*`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import torch
from torch.nn import Parameter

from strategies.phase import Optimizer, TrainConfig


def describe(train: TrainConfig) -> Optimizer:
    """The run's own optimiser.

    Args:
        train: how networks are trained.

    Returns:
        Its description.
    """
    return Optimizer(
        kind=train.optimizer,
        learning_rate=train.learning_rate,
        momentum=train.momentum,
        weight_decay=train.weight_decay,
        schedule=train.schedule,
    )


def make(spec: Optimizer, parameters: Iterable[Parameter] | Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
    """Make an optimiser.

    Args:
        spec: its description.
        parameters: parameters, or parameter groups with settings of their own.

    Returns:
        The optimiser; each group's `initial_lr` is where its schedule starts.
    """
    # Fused: one kernel instead of many; on a CPU Adam steps five times as fast, SGD twice.
    given: list[Any] = list(parameters)
    rate, decay = spec.learning_rate, spec.weight_decay
    optimizer: torch.optim.Optimizer
    if spec.kind == "sgd":
        optimizer = eager(torch.optim.SGD)(given, lr=rate, momentum=spec.momentum, weight_decay=decay, fused=True)
        _begin_momentum(optimizer)
    elif spec.kind == "adam":
        optimizer = eager(torch.optim.Adam)(given, lr=rate, betas=spec.betas, weight_decay=decay, fused=True)
    else:
        optimizer = eager(torch.optim.AdamW)(given, lr=rate, betas=spec.betas, weight_decay=decay, fused=True)
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
    return optimizer


@cache
def eager(kind: type[torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
    """The same optimiser without the import of torch's compiler, which its first step would bring (2 seconds).

    Torch's optimisers wrap `step` in breaks for the compiler's graphs, and the bookkeeping methods in a switch that turns the compiler off;
    both import the compiler when they are first called, though nothing is compiled here. Where torch is made otherwise than this knows,
    the class is given back as it is: slower to start, and the same numbers.

    Args:
        kind: a class of torch.optim.

    Returns:
        A class that makes the same steps.
    """
    step = inspect.unwrap(kind.step)
    if step is kind.step or next(iter(inspect.signature(step).parameters), "") != "self":
        return kind
    for method in vars(torch.optim.Optimizer).values():
        wrapped = getattr(method, "__wrapped__", None)
        if wrapped is not None and getattr(method, "__module__", "") == wrapped.__module__ and not hasattr(wrapped, "__dynamo_disable"):
            wrapped.__dynamo_disable = wrapped
    return type(kind.__name__, (kind,), {"step": torch.no_grad()(step), "__module__": kind.__module__})


def _begin_momentum(optimizer: torch.optim.Optimizer) -> None:
    # The fused kernel takes no mixture of parameters with momentum and without, as where a block of the head joins later. Starting all
    # at 0 is the same as starting from the first gradient, since momentum is not dampened.
    for group in optimizer.param_groups:
        for parameter in group["params"] if group["momentum"] else ():
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def set_rate(optimizer: torch.optim.Optimizer, spec: Optimizer, step: int, total: int) -> None:
    """Set the step sizes for one step of a phase.

    Args:
        optimizer: the optimiser.
        spec: its description.
        step: the step, from 0.
        total: steps in the phase.
    """
    factor = 1.0 if spec.schedule == "constant" else 0.5 * (1 + math.cos(math.pi * step / total))
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor


def check_layouts(optimizer: torch.optim.Optimizer) -> None:
    """Make sure that gradients lie in memory as their parameters do: fused kernels read both in one order and ask no questions.

    Args:
        optimizer: with the gradients of a step.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                assert _layout(parameter) == _layout(parameter.grad), "a gradient is laid out otherwise than its parameter"


def _layout(tensor: torch.Tensor) -> list[int]:
    return [stride for stride, size in zip(tensor.stride(), tensor.shape) if size > 1]
