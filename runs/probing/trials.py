"""Trials carried out: together where their networks allow it, else by the engine, one after another or in worker processes.

Fully connected networks without batch norm of one shape are stacked (`runs.probing.stack`), and so are heads on whatever trunk that is not
trained. Where a stack would outgrow the processor's cache, it is cut into several.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from metrics.accuracy import correct
from runs.engine import DivergenceError, Engine, InterruptedRunError, Position
from runs.probing.stack import Stack, stackable, trained_bytes
from runs.showing.progress import Progress
from scenarios.random import Randomness
from strategies.phase import TrainConfig
from strategies.probes.trial import Retraining, Trial

STACK_BYTES = 3 * 2**19
"""The most bytes of parameters that are trained in one stack on a processor: with gradients and momentum about its cache."""
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
        alone = [trial for trial in trials if not stackable(trial)]
        groups: dict[Any, list[Trial]] = defaultdict(list)
        for trial in trials:
            if stackable(trial):
                groups[_shape(trial)].append(trial)
        for group in groups.values():
            cut = next(group[0].network.parameters()).device.type == "cpu"
            size = max(1, STACK_BYTES // trained_bytes(group[0])) if cut else len(group)
            for start in range(0, len(group), size):
                Stack(group[start : start + size]).carry_out(stopping)
    if workers > 1 and len(alone) > 1:
        _in_processes(alone, workers, stopping)
    else:
        for trial in alone:
            one(trial, stopping)


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
