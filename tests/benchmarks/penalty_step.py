"""What a penalty costs: a training step of each against naive's, in one run, after 10 experiences or as many as are asked for.

    python -m tests.benchmarks.penalty_step [--network mlp] [--hidden 400,400] [--batch 128] [--strategies si,alasso] [--experiences 10] ...

A step is: make the batch, forward, backward, penalty, optimiser, and what the penalty looks at afterwards. The strategies take turns, 10
steps each a round; medians and best of the rounds, of processor time where there is one thread, so that a busy machine counts less. The
last column is the memory that the penalty's state takes, in bytes for each parameter.

Measured (times naive, medians of 12 to 25 rounds, of 4 for conv; one core of a 2-core Xeon at 2.5 GHz; torch 2.15, whose Adam is fused;
ranges are over several runs of the benchmark):

    network          batch   naive      si           alasso       ewc          online-ewc   mas
    conv (32x32)     64      66.63 ms   1.07         1.11         1.10         1.20         1.07
    mlp 256,256      256     7.89 ms    1.17-1.23    1.21-1.33    0.98-1.19    1.03         1.12
    mlp 400,400      128     7.40 ms    1.30-1.45    1.45-1.57    1.18-1.20    1.17         1.15
    the same, 2 threads      6.11 ms    1.29         1.40

    --scenario permuted-mnist --hidden 100,100 --norm batch --strategies kfac,xkfac --experiences 1:  kfac 1.8-1.9, xkfac 1.95-2.03
    xkfac after five experiences 2.4-2.6, after ten 2.9-3.6 with a list of them (the default), 1.85-1.94 with `accumulate=running`;
    with whole input factors (`input_tolerance=0`) 2.9 after one experience and 8.2 after five

What a penalty adds is memory traffic for each parameter, whatever the batch: 14 reads and writes for si, 20 for alasso, 7 for the others,
beside the 7 of Adam itself, at nearly 0.2 ms each for half a million parameters that no longer lie in the cache. So the ratio falls as the
batch grows. Of a layer-wide step of 7.4 ms, forward and backward pass take 5.8 and Adam 1.4 under every strategy; si adds 2.6 and alasso
3.6. Tried without gain: vectors taken through the cache in pieces of 16 to 65 thousand numbers (si 1.45-1.54 instead of 1.41-1.45), a
leaky rectifier instead of alasso's absolute value, huge pages.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import scenarios
from runs import optimizers
from scenarios.experience import Experience
from strategies.base import Setup, Strategy
from strategies.phase import Optimizer, TrainConfig
from tests.strategies.driver import make_setup, prepared, tiny_scenario

STEPS = 10


def stepper(strategy: Strategy, experience: Experience, train: TrainConfig) -> Callable[[], None]:
    """Training steps of an experience, as the engine makes them.

    Args:
        strategy: the learner.
        experience: what is learned.
        train: how.

    Returns:
        A function that makes one step.
    """
    update = next(phase for phase in strategy.phases(experience) if phase.updates).updates[0]
    optimizer = optimizers.make(Optimizer.of(train), update.parameters())
    strategy.train_mode()

    def step() -> None:
        batch = experience.train.batch(torch.randint(len(experience.train), (train.batch_size,)))
        result = update.loss(batch)
        optimizer.zero_grad(set_to_none=True)
        result.loss.backward()
        if update.after_backward:
            update.after_backward()
        optimizer.step()
        if update.after_step:
            update.after_step()

    return step


def experienced(name: str, setup: Setup) -> Callable[[], None]:
    """A learner that has seen all experiences but one, three steps each.

    Args:
        name: the strategy's.
        setup: what it is prepared with.

    Returns:
        A function that makes one step of the last.
    """
    options: dict[str, Any] = {"factor_batches": 30} if name in ("kfac", "xkfac") else {} if name == "naive" else {"strength": 1e-3}
    strategy = prepared(name, setup, **options)
    for experience in setup.scenario.experiences[:-1]:
        phases = strategy.phases(experience)
        for phase in phases:
            if phase.begin:
                phase.begin()
            if phase.observe:
                for batch in phase.batches.epoch(lambda purpose: torch.Generator().manual_seed(0)):
                    phase.observe(batch)
            elif phase.updates:
                step = stepper(strategy, experience, setup.train)
                for _ in range(3):
                    step()
            if phase.end:
                phase.end()
    for phase in strategy.phases(setup.scenario.experiences[-1])[:1]:
        if phase.begin:
            phase.begin()
    step = stepper(strategy, setup.scenario.experiences[-1], setup.train)
    step.strategy = strategy  # type: ignore[attr-defined]
    return step


def size(state: Any) -> int:
    """Bytes of all tensors in a state.

    Args:
        state: nested.

    Returns:
        Their sum.
    """
    if isinstance(state, Tensor):
        return state.numel() * state.element_size()
    if isinstance(state, (dict, list, tuple)):
        return sum(map(size, state.values() if isinstance(state, dict) else state))
    return 0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--network", default="mlp", choices=("mlp", "conv"))
    parser.add_argument("--hidden", default="400,400")
    parser.add_argument("--norm", default="none", choices=("none", "batch"))
    parser.add_argument("--strategies", default="si,alasso,ewc,online-ewc,mas")
    parser.add_argument("--experiences", type=int, default=10, help="seen before")
    parser.add_argument("--scenario", help="real data, for instance permuted-mnist; by default noise around prototypes")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--optimizer", default="adam")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=40)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    hidden = tuple(map(int, asked.hidden.split(",")))
    train = TrainConfig(batch_size=asked.batch, optimizer=asked.optimizer, learning_rate=1e-3)
    shape, options = ((1, 28, 28), {"hidden": hidden, "norm": asked.norm}) if asked.network == "mlp" else ((3, 32, 32), {})
    made = scenarios.make(asked.scenario, tasks=asked.experiences + 1) if asked.scenario else None
    scenario = made or tiny_scenario("domain", asked.experiences + 1, classes=10, shape=shape, train=40, test=1)
    setup = make_setup(scenario, asked.network, train=train, options=options)
    names = ["naive", *asked.strategies.split(",")]
    steps = {name: experienced(name, setup) for name in names}
    clock = time.process_time if asked.threads == 1 else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(asked.rounds + 2):
        for name, step in steps.items():
            start = clock()
            for _ in range(STEPS):
                step()
            if number >= 2:
                seconds[name].append((clock() - start) / STEPS)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    best = {name: min(values) for name, values in seconds.items()}
    name = f"mlp {asked.hidden}" if asked.network == "mlp" else "conv"
    print(f"{name}, batch {asked.batch}, {asked.optimizer}, {asked.threads} thread(s), torch {torch.__version__}")
    for name, median in medians.items():
        strategy = steps[name].strategy  # type: ignore[attr-defined]
        parameters = sum(parameter.numel() for parameter in strategy.network.parameters())
        penalty = getattr(strategy, "penalty", None)
        memory = f"{size(penalty.state_dict()) / parameters:5.1f} bytes" if penalty else ""
        print(f"{name:12}{median * 1e3:8.2f} ms {median / medians['naive']:6.2f}   best {best[name] / best['naive']:6.2f} {memory}")


if __name__ == "__main__":
    main()
