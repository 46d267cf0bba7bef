"""How long `task-poison` takes to alter 10,000 MNIST images for an MLP 784-400-400-10 in 20 steps.

    python -m tests.benchmarks.crafting [threads]

On one thread of the machine of the records, busy with other work: 22.0 s of processor time (seed 0).
"""

from __future__ import annotations

import sys
import time

import torch

from runs.contest import Contest
from runs.plan import make_plan
from runs.showing.progress import Progress


def main(threads: int) -> None:
    """Craft once and print seconds.

    Args:
        threads: of torch.
    """
    torch.set_num_threads(threads)
    asked = {
        "scenario": {"name": "permuted-mnist", "tasks": 2, "train_examples": 10000},
        "strategy": {"name": "naive"},
        "network": {"name": "mlp", "hidden": "400,400"},
        "attack": {"name": "task-poison"},
    }
    plan = make_plan(asked, Progress())
    contest = Contest(plan.strategy, plan.scenario, plan.randomness, plan.attack, None, None, {"attack": "task-poison"})
    wall, processor = time.perf_counter(), time.process_time()
    contest.arrive(plan.scenario.experiences[1], fresh=True)
    print(f"{time.perf_counter() - wall:.1f} s, {time.process_time() - processor:.1f} s of processor time, {threads} threads")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
