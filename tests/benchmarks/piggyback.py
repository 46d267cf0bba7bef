"""Many small retrainings: together as one stack, against one after another by the engine; MLP on a CPU.

    python -m tests.benchmarks.piggyback [--scenario transfer-split-digits] [--hidden 256,256] [--per-class 20] [--threads 1] [--rounds 3]

Twelve trials (3 subsets, 4 rates), 200 steps of 32 images, tests of at most 300 images after 100 and 200 steps. Both forms are timed in
turn, in one process; the medians of the rounds are printed, in seconds of the processor and of the clock, and how many floating-point
operations a second that is if each did what the engine does, beside `torch.mm` on the same layers. `--record` adds the measurement to
`piggyback.jsonl` and writes the table in `docs/disposal.md`; `--table` writes that alone.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

import scenarios
from runs.probing import trials
from scenarios.transfer import subsets
from strategies.networks import build, networks
from strategies.probes import piggybackers
from strategies.probes.trial import Trial

RATES = (0.1, 0.03, 0.01, 0.001)
RECORDS = Path(__file__).with_name("piggyback.jsonl")
PAGE = Path(__file__).parents[2] / "docs" / "disposal.md"
BEGIN, END = "<!-- piggybackers: made by tests/benchmarks/piggyback.py -->", "<!-- end of piggybackers -->"


def make(name: str, hidden: tuple[int, ...], steps: int, count: int, per_class: int) -> list[Trial]:
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
        order = subsets.orders(subsets.per_class(source.train, per_class, generator), 32, steps, generator)
        fresh = piggybackers.with_fresh_head(network, len(source.outputs), generator)
        for rate in RATES:
            told = {"examples": source.train, "order": order, "test": test, "first": 0, "looks": (steps // 2, steps)}
            made.append(Trial(network=copy.deepcopy(fresh), classes=len(source.outputs), rates=((steps, rate),), **told))
    return made


def operations(trial: Trial) -> int:
    """Floating-point operations of a trial's products as the engine makes them: forward, and backward by weights and inputs."""
    sizes = [parameter.numel() for parameter in trial.network.parameters() if parameter.dim() == 2]
    trained = trial.order.numel() * (3 * sum(sizes) - sizes[0])
    return 2 * (trained + len(trial.looks) * len(trial.test) * sum(sizes))


def products(hidden: tuple[int, ...]) -> float:
    """Operations a second of `torch.mm` at 32 images and the first two widths, its weights in the cache."""
    x, weight, out = torch.randn(32, hidden[0]), torch.randn(hidden[0], hidden[-1]), torch.empty(32, hidden[-1])
    best = float("inf")
    for _ in range(20):
        clock = time.perf_counter()
        for _ in range(50):
            torch.mm(x, weight, out=out)
        best = min(best, (time.perf_counter() - clock) / 50)
    return 2 * x.numel() * weight.shape[1] / best


def table() -> str:
    """The records as a table."""
    head = ["set", "widths", "per class", "threads", "one by one", "together", "ratio", "by the clock", "GFLOP/s", "together", "`torch.mm`"]
    rows = [head, ["---"] * len(head)]
    for line in RECORDS.read_text(encoding="utf-8").splitlines():
        one: dict[str, Any] = json.loads(line)
        alone, stacked = one["processor"]
        rows.append([one["scenario"].removeprefix("transfer-split-"), one["hidden"], str(one["per_class"]), str(one["threads"])])
        rows[-1] += [f"{alone:.2f} s", f"{stacked:.2f} s", f"{alone / stacked:.1f}", f"{one['clock'][0] / one['clock'][1]:.1f}"]
        rows[-1] += [f"{one['operations'] / seconds / 1e9:.0f}" for seconds in (alone, stacked)] + [f"{one['mm'] / 1e9:.0f}"]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def page(text: str) -> str:
    """A page with the table in its place."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--scenario", default="transfer-split-digits")
    parser.add_argument("--hidden", default="256,256")
    parser.add_argument("--per-class", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    if asked.table:
        PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
        return
    torch.set_num_threads(asked.threads)
    hidden = tuple(map(int, asked.hidden.split(",")))
    spent: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    trials.carry_out(make(asked.scenario, hidden, 20, 1, asked.per_class))
    for _ in range(asked.rounds):
        for batched, found in spent.items():
            todo = make(asked.scenario, hidden, 200, 3, asked.per_class)
            clocks = time.process_time(), time.perf_counter()
            trials.carry_out(todo, batched=batched)
            found.append((time.process_time() - clocks[0], time.perf_counter() - clocks[1]))
    work, mm = sum(map(operations, todo)) / 1e9, products(hidden)
    (alone, alone_wall), (stacked, stacked_wall) = (tuple(map(median, zip(*found))) for found in spent.values())
    print(f"{asked.scenario} {asked.hidden}, {asked.per_class} per class, {asked.threads} threads, {work:.0f} billion operations")
    print(f"processor: {alone:.2f} s one by one, {stacked:.2f} s together, ratio {alone / stacked:.1f}")
    print(f"clock:     {alone_wall:.2f} s one by one, {stacked_wall:.2f} s together, ratio {alone_wall / stacked_wall:.1f}")
    print(f"GFLOP/s:   {work / alone:.0f} one by one, {work / stacked:.0f} together, {mm / 1e9:.0f} torch.mm")
    if asked.record:
        told = {"scenario": asked.scenario, "hidden": asked.hidden, "per_class": asked.per_class, "threads": asked.threads}
        told |= {"processor": [alone, stacked], "clock": [alone_wall, stacked_wall], "operations": work * 1e9, "mm": mm}
        told |= {"rounds": asked.rounds, "machine": platform.machine(), "torch": torch.__version__}
        with RECORDS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(told) + "\n")
        PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
