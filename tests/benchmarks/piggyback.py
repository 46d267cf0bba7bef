"""Many small retrainings: together as one stack, against one after another by the engine; MLP on a CPU, processor time of one thread.

    python -m tests.benchmarks.piggyback [--scenario transfer-split-digits] [--hidden 64,64] [--steps 200] [--subsets 3]

Twelve trials (3 subsets of 20 per class, 4 rates), batches of 32, two tests of 180 to 300 images each.

Measured (one thread of a 2-core Xeon at 2.5 GHz that had other work to do; torch 2.15; the second of two rounds):

    scenario                 hidden      one by one   together   ratio
    transfer-split-digits    64,64       1.52 s       0.28 s     5.4
    transfer-split-digits    256,256     2.33 s       1.21 s     1.9
    transfer-split-mnist     256,256     3.91 s       2.59 s     1.5

What stacking saves is the time between operations, about 0.5 ms a step and trial. A step of 784-256-256 on 32 images is 38 million
multiply-adds and 1.1 MB of parameters, gradients and momentum each: the products themselves are most of its time, and no stack makes them
fewer. So the ratio falls as the network grows.
"""

from __future__ import annotations

import argparse
import copy
import time

import torch

import scenarios
from runs.probing import trials
from scenarios.transfer import subsets
from strategies.networks import build, networks
from strategies.probes import piggybackers
from strategies.probes.trial import Trial

RATES = (0.1, 0.03, 0.01, 0.001)


def make(name: str, hidden: tuple[int, ...], steps: int, count: int) -> list[Trial]:
    """Trials of one network."""
    stream = scenarios.make(name)
    source = stream.experiences[0]
    component, _ = networks.load("mlp")
    network = build("mlp", component.Config(hidden=hidden), stream.input_shape, [source.outputs], 0)
    generator = torch.Generator().manual_seed(0)
    shown = min(300, len(source.test))
    test = source.test.select(torch.randperm(len(source.test), generator=generator)[:shown])
    made = []
    for _ in range(count):
        order = subsets.orders(subsets.per_class(source.train, 20, generator), 32, steps, generator)
        fresh = piggybackers.with_fresh_head(network, len(source.outputs), generator)
        for rate in RATES:
            told = {"examples": source.train, "order": order, "test": test, "first": 0, "looks": (steps // 2, steps)}
            made.append(Trial(network=copy.deepcopy(fresh), classes=len(source.outputs), rates=((steps, rate),), **told))
    return made


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--scenario", default="transfer-split-digits")
    parser.add_argument("--hidden", default="64,64")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--subsets", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    hidden = tuple(map(int, asked.hidden.split(",")))
    for _ in range(2):
        spent = []
        for batched in (False, True):
            todo = make(asked.scenario, hidden, asked.steps, asked.subsets)
            clock = time.process_time()
            trials.carry_out(todo, batched=batched)
            spent.append(time.process_time() - clock)
        print(f"{len(todo)} trials: {spent[0]:.2f} s one by one, {spent[1]:.2f} s together, ratio {spent[0] / spent[1]:.1f}")


if __name__ == "__main__":
    main()
