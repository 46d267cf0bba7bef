"""What a step of a method with a memory takes, against what its arithmetic alone takes.

    python -m tests.benchmarks.rehearsal_step [--network mlp] [--batch 64] [--memory 500] [--rounds 12]

Measured (mlp 256,256 on 28x28, batches of 64, memory 500, medians of 7 rounds of one run on a busy 2-core machine; torch 2.14):

    naive 1.95 ms (1.01 times its arithmetic), replay 3.14 (1.07), icarl 2.86 (1.04), er-ace 3.59 (1.20), der++ 5.40 (1.29), der 4.02 (1.32)

The arithmetic is: gather and normalise a batch of as many images as the method puts through the network, pass forward, cross-entropy, pass
back, optimiser's step; for icarl also the old network's pass forward. Both take turns, 10 steps each a round; medians of the rounds, of
processor time, one thread.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import count

import torch
from torch.nn import functional

from runs import optimizers
from scenarios.experience import Batch
from strategies.base import Strategy
from strategies.phase import Optimizer, TrainConfig
from tests.strategies.driver import make_setup, prepared, run_experience, tiny_scenario

STEPS = 10
FORWARD = {"naive": 1, "replay": 2, "er-ace": 2, "der": 2, "der++": 3, "icarl": 1}
"""How many batches go through the network in a step."""


def stepper(strategy: Strategy) -> Callable[[], None]:
    """Steps of the second experience, as the engine makes them.

    Args:
        strategy: the learner, which has learned the first.

    Returns:
        A function that makes one step.
    """
    setup = strategy.setup
    phase = strategy.phases(setup.scenario.experiences[1])[0]
    if phase.begin:
        phase.begin()
    update = phase.updates[0]
    optimizer = optimizers.make(Optimizer.of(setup.train), update.parameters())
    strategy.train_mode()

    def batches() -> Iterator[Batch]:
        for number in count():
            yield from phase.batches.epoch(lambda purpose, number=number: setup.randomness.generator(purpose, number))

    source = batches()

    def step() -> None:
        result = update.loss(next(source))
        optimizer.zero_grad(set_to_none=True)
        result.loss.backward()
        optimizer.step()
        if update.after_step:
            update.after_step()

    return step


def bare(strategy: Strategy, size: int, teacher: bool) -> Callable[[], None]:
    """Steps of a network on images that are gathered as they come.

    Args:
        strategy: whose network it is.
        size: images a step.
        teacher: whether another network answers as well.

    Returns:
        A function that makes one step.
    """
    setup = strategy.setup
    network, old = setup.build_network(), setup.build_network().eval().requires_grad_(False)
    optimizer = optimizers.make(Optimizer.of(setup.train), network.parameters())
    examples = setup.scenario.experiences[1].train
    order = torch.randperm(len(examples)).repeat(-(-size * 64 // len(examples)))
    place = 0
    outputs = setup.scenario.in_play(1)

    def step() -> None:
        nonlocal place
        batch = examples.batch(order[place : place + size])
        place = (place + size) % (len(order) - size)
        logits = network.head.narrow(network.features(batch.x), outputs)
        loss = functional.cross_entropy(logits, batch.y)
        if teacher:
            with torch.no_grad():
                old(batch.x)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser()
    for name, default in (("network", "mlp"), ("batch", 64), ("memory", 500), ("rounds", 12), ("hidden", "256,256")):
        parser.add_argument(f"--{name}", type=type(default), default=default)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    shape = (3, 32, 32) if asked.network == "conv" else (1, 28, 28)
    train = TrainConfig(epochs=1, batch_size=asked.batch, optimizer="sgd", learning_rate=0.01)
    options = {} if asked.network == "conv" else {"hidden": tuple(map(int, asked.hidden.split(",")))}
    setup = make_setup(tiny_scenario("class", experiences=3, shape=shape, train=600, test=2), asked.network, train, options=options)
    for name, forward in FORWARD.items():
        strategy = prepared(name, setup, **({} if name == "naive" else {"memory": asked.memory}))
        run_experience(strategy, setup.scenario.experiences[0])
        steps = {"method": stepper(strategy), "bare": bare(strategy, forward * asked.batch, name == "icarl")}
        taken: dict[str, list[float]] = {which: [] for which in steps}
        for _ in range(asked.rounds):
            for which, step in steps.items():
                begin = time.process_time()
                for _ in range(STEPS):
                    step()
                taken[which].append((time.process_time() - begin) / STEPS * 1000)
        method, floor = (statistics.median(taken[which][1:]) for which in ("method", "bare"))
        print(f"{name:8} {method:8.2f} ms   arithmetic {floor:8.2f} ms   {method / floor:5.2f}", flush=True)


if __name__ == "__main__":
    main()
