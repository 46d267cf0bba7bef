"""Optimisers and step-size schedules, made from an update's description or from `train.*`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import torch
from torch.nn import Parameter

from runs import fused
from runs.stopping import MISSHAPEN
from scenarios.errors import UserError, nearest, shown
from strategies.optimizers import kinds
from strategies.phase import Optimizer

FUSED = ("sgd", "adam", "adamw")
"""The kinds that have one kernel for all parameters on every device."""


def check(spec: Optimizer) -> None:
    """See whether an optimiser can be made as it is described.

    Args:
        spec: its description.

    Raises:
        UserError: there is no such class, or it has no such option, or refuses a value.
    """
    known = kinds()
    if spec.kind not in known:
        raise UserError(f"unknown optimizer {shown(spec.kind)}{nearest(spec.kind, known)}")
    taken = inspect.signature(known[spec.kind]).parameters
    for name in spec.options:
        if name not in taken or name in ("params", "lr", "momentum", "weight_decay"):
            raise UserError(f"train.optimizer_options.{name} is no option of {spec.kind}{nearest(name, set(taken) - {'params', 'lr'})}")
    try:
        make(spec, [Parameter(torch.zeros(1, 1))])
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"train.optimizer={spec.kind} refuses its options: {error}") from error


def make(spec: Optimizer, parameters: Iterable[Parameter] | Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
    """Make an optimiser.

    Args:
        spec: its description.
        parameters: parameters, or parameter groups with settings of their own.

    Returns:
        The optimiser; each group's `initial_lr` is where its schedule starts.
    """
    kind = kinds()[spec.kind]
    taken = inspect.signature(kind).parameters
    given: dict[str, Any] = {"lr": spec.learning_rate, "weight_decay": spec.weight_decay, "momentum": spec.momentum, "betas": spec.betas}
    # Fused: one kernel instead of many; on a CPU Adam steps five times as fast, SGD twice.
    given["fused"] = spec.kind in FUSED
    options = {**{name: value for name, value in given.items() if name in taken}, **spec.options}
    made = eager(kind)  # type: ignore[arg-type]
    quick = spec.kind == "sgd" and options["fused"] and fused.AVAILABLE
    optimizer = fused.FusedSGD(list(parameters), **options) if quick else made(list(parameters), **options)
    if spec.kind == "sgd":
        _begin_momentum(optimizer)
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
    plain = torch.no_grad()(step)
    # Torch would wrap it once more, in a label for its profiler.
    plain.hooked = True
    return type(kind.__name__, (kind,), {"step": plain, "__module__": kind.__module__})


def _begin_momentum(optimizer: torch.optim.Optimizer) -> None:
    # The fused kernel takes no mixture of parameters with momentum and without, as where a block of the head joins later. Starting all
    # at 0 is the same as starting from the first gradient, since momentum is not dampened.
    for group in optimizer.param_groups:
        for parameter in group["params"] if group["momentum"] else ():
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def restore(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Take up an optimiser's saved state.

    Args:
        optimizer: newly made.
        state: what its `state_dict` gave.

    Raises:
        UserError: the state is of other parameters, or not whole.
    """
    try:
        optimizer.load_state_dict(state)
        whole = all(
            not isinstance(value, torch.Tensor) or value.ndim == 0 or value.shape == parameter.shape
            for parameter, values in optimizer.state.items()
            for value in values.values()
        )
    except MISSHAPEN:
        whole = False
    if not whole:
        raise UserError("the checkpoint's optimiser state does not fit this configuration; start again in another --out")


def set_rate(optimizer: torch.optim.Optimizer, spec: Optimizer, step: int, total: int) -> None:
    """Set the step sizes for one step of a phase.

    Args:
        optimizer: the optimiser.
        spec: its description.
        step: the step, from 0.
        total: steps in the phase.
    """
    share = spec.schedule.share(step, total)
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * share


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
