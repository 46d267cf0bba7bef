"""Trials carried out: together where their networks allow it, else by the engine, one after another or in worker processes.

Fully connected networks without batch norm of one shape are stacked: a step of all trials is a handful of batched products. Where the
first trials' weights would no longer fit into the processor's cache, the stack is cut into several.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from metrics.accuracy import correct
from runs.engine import DivergenceError, Engine, InterruptedRunError, Position
from runs.showing.progress import Progress
from scenarios.random import Randomness
from strategies.networks.network import Network
from strategies.networks.unit import Unit
from strategies.phase import TrainConfig
from strategies.probes.trial import Retraining, Trial

STACK_BYTES = 12 * 2**20
"""The most bytes of parameters that are trained in one stack."""
TEST_BATCH = 1000


class Watch(Progress):
    """Stops an inner engine when the outer one is to stop."""

    def __init__(self, stopping: Callable[[], bool]) -> None:
        super().__init__()
        self.stopping = stopping
        self.engine: Engine | None = None

    def due(self) -> bool:
        """Look whether to stop.

        Returns:
            As without it.
        """
        assert self.engine is not None
        self.engine.stopping = self.stopping()
        return super().due()


def no_checkpoint(position: Position, *, boundary: bool) -> None:
    """Take no checkpoint.

    Args:
        position: where one could be taken.
        boundary: whether a phase has just ended.
    """


def carry_out(trials: Sequence[Trial], *, batched: bool = True, workers: int = 1, stopping: Callable[[], bool] = lambda: False) -> None:
    """Train and test the networks of trials, in place.

    Args:
        trials: what is carried out.
        batched: together, where that is possible.
        workers: processes for those that cannot be carried out together.
        stopping: says whether to stop.
    """
    alone = list(trials)
    if batched:
        alone = [trial for trial in trials if not stackable(trial.network)]
        groups: dict[Any, list[Trial]] = defaultdict(list)
        for trial in trials:
            if stackable(trial.network):
                groups[_shape(trial)].append(trial)
        for group in groups.values():
            each = sum(parameter.nbytes for parameter in group[0].parameters())
            size = max(1, STACK_BYTES // each)
            for start in range(0, len(group), size):
                _together(group[start : start + size], stopping)
    if workers > 1 and len(alone) > 1:
        _in_processes(alone, workers, stopping)
    else:
        for trial in alone:
            one(trial, stopping)


def stackable(network: Network) -> bool:
    """Whether networks like this one can be trained in a stack: linear layers and ReLU in a row, without state besides parameters.

    Args:
        network: the network.

    Returns:
        True or false.
    """
    backbone = network.backbone
    layers = [layer.layer if isinstance(layer, Unit) and layer.norm is None else layer for layer in backbone.children()]
    plain = all(type(block) is nn.Linear for block in network.head.blocks)
    return plain and isinstance(backbone, nn.Sequential) and all(isinstance(layer, (nn.Linear, nn.ReLU, nn.Flatten)) for layer in layers)


def one(trial: Trial, stopping: Callable[[], bool] = lambda: False) -> None:
    """Carry out one trial by the engine.

    Args:
        trial: is changed.
        stopping: says whether to stop.
    """
    watch = Watch(stopping)
    learner: Any = Retraining(trial, _accuracy)
    device = next(trial.network.parameters()).device
    engine = Engine(learner, TrainConfig(), Randomness(0), device, watch, no_checkpoint)
    watch.engine = engine
    try:
        engine.learn(SimpleNamespace(index=0), Position())
    except DivergenceError:
        # A thief whose rate is too high: what he is left with is tested all the same, as in a stack.
        trial.accuracies += [_accuracy(trial)] * (len(trial.looks) - len(trial.accuracies))


def _in_processes(trials: list[Trial], workers: int, stopping: Callable[[], bool]) -> None:
    # Tensors travel through shared memory; what a worker trained comes back as a state.
    threads = max(1, torch.get_num_threads() // workers)
    with ProcessPoolExecutor(workers, torch.multiprocessing.get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
        pending = [pool.submit(_remote, trial) for trial in trials]
        for trial, done in zip(trials, pending):
            if stopping():
                pool.shutdown(cancel_futures=True)
                raise InterruptedRunError
            state, trial.accuracies = done.result()
            trial.network.load_state_dict(state)


def _remote(trial: Trial) -> tuple[dict[str, Tensor], list[float]]:
    one(trial)
    return trial.network.state_dict(), trial.accuracies


def _accuracy(trial: Trial) -> float:
    trial.network.eval()
    right = torch.zeros((), dtype=torch.int64)
    with torch.inference_mode():
        for start in range(0, len(trial.test), TEST_BATCH):
            batch = trial.test.batch(slice(start, start + TEST_BATCH))
            right = right + correct(trial.network(batch.x), batch.y - trial.first, range(trial.classes)).cpu()
    return float(right) / len(trial.test)


def _shape(trial: Trial) -> tuple[Any, ...]:
    shapes = tuple((name, tuple(parameter.shape)) for name, parameter in trial.network.named_parameters())
    told = (trial.classes, trial.first, trial.looks, trial.trained, trial.momentum, trial.weight_decay)
    lengths = tuple(steps for steps, _ in trial.rates)
    objects = (id(trial.examples), id(trial.test), id(trial.teacher))
    return shapes, tuple(trial.order.shape), told, lengths, objects


def _together(trials: list[Trial], stopping: Callable[[], bool]) -> None:
    first = trials[0]
    first.network.train()
    names = [name for name, _ in first.network.named_parameters()]
    # Weights lie as [in, out], so that the products' gradients come out in the layout that the fused step reads.
    stacked = {name: torch.stack([trial.network.get_parameter(name).detach().t() for trial in trials]).contiguous() for name in names}
    moved = [name for name in names if first.trained == "all" or name.startswith("head.")]
    for name in moved:
        stacked[name].requires_grad_()
    velocity = {name: torch.zeros_like(stacked[name]) for name in moved}
    for trial in trials:
        trial.accuracies.clear()
    orders = torch.stack([trial.order for trial in trials]).to(first.examples.rows.device)
    for step in range(orders.shape[1] + 1):
        if step in first.looks:
            for trial, accuracy in zip(trials, _accuracies(trials, stacked)):
                trial.accuracies.append(accuracy)
        if step == orders.shape[1]:
            break
        if stopping():
            raise InterruptedRunError
        rates = [trial.rate_after(step) for trial in trials]
        if step and rates != [trial.rate_after(step - 1) for trial in trials]:
            # As the engine does, which makes a new optimiser for a new rate.
            velocity = {name: torch.zeros_like(stacked[name]) for name in moved}
        _step(trials, stacked, moved, velocity, orders[:, step], rates)
    with torch.no_grad():
        for index, trial in enumerate(trials):
            for name in moved:
                trial.network.get_parameter(name).copy_(stacked[name][index].t())


def _step(
    trials: list[Trial], stacked: dict[str, Tensor], moved: list[str], velocity: dict[str, Tensor], order: Tensor, rates: list[float]
) -> None:
    first = trials[0]
    batch = first.examples.batch(order.flatten())
    shape = order.shape
    x = batch.x.view(*shape, *batch.x.shape[1:])
    taught = None if first.teacher is None else first.teacher(batch.x).view(*shape, -1)
    logits = _forward(first, stacked, x)
    loss = first.loss(logits, (batch.y - first.first).view(shape), taught).sum()
    gradients = torch.autograd.grad(loss, [stacked[name] for name in moved])
    for each, rate in enumerate(rates):
        # One kernel for all of a trial's parameters, one pass over them; rates differ by trial.
        torch._fused_sgd_(
            [stacked[name].detach()[each] for name in moved],
            [gradient[each] for gradient in gradients],
            [velocity[name][each] for name in moved],
            weight_decay=first.weight_decay,
            momentum=first.momentum,
            lr=rate,
            dampening=0.0,
            nesterov=False,
            maximize=False,
            is_first_step=False,
        )


def _forward(trial: Trial, stacked: dict[str, Tensor], x: Tensor) -> Tensor:
    # [T, B, ...], or [B, ...] for all alike; to [T, B, outputs].
    count = len(next(iter(stacked.values())))
    flowing = x.flatten(2) if x.dim() == 5 else x.flatten(1).expand(count, -1, -1)
    with torch.set_grad_enabled(torch.is_grad_enabled() and trial.trained == "all"):
        for name, layer in trial.network.backbone.named_children():
            if isinstance(layer, Unit):
                flowing = _linear(flowing, stacked, f"backbone.{name}.layer")
            elif isinstance(layer, nn.ReLU):
                flowing = flowing.relu()
    blocks = [_linear(flowing, stacked, f"head.blocks.{index}") for index in range(len(trial.network.head.blocks))]
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, -1)


def _linear(x: Tensor, stacked: dict[str, Tensor], name: str) -> Tensor:
    return torch.baddbmm(stacked[f"{name}.bias"][:, None], x, stacked[f"{name}.weight"])


def _accuracies(trials: list[Trial], stacked: dict[str, Tensor]) -> list[float]:
    first = trials[0]
    right = torch.zeros(len(trials), dtype=torch.int64)
    with torch.no_grad():
        for start in range(0, len(first.test), TEST_BATCH):
            batch = first.test.batch(slice(start, start + TEST_BATCH))
            answers = _forward(first, stacked, batch.x)[..., : first.classes].argmax(-1)
            right += (answers == batch.y - first.first).sum(1).cpu()
    return (right.double() / len(first.test)).tolist()
