"""Does the time of a task grow with the tasks before it? 100 permutations, naive; also how long it takes to build the stream.

    python tests/benchmarks/long_stream.py [--data mnist|digits] [--tasks 100]

Prints seconds to build the stream (images decoded before), and seconds of training a task and of testing on all tasks so far kept apart:
training in the first and the last tenth of the stream.
"""

from __future__ import annotations

import argparse
import time

import torch

from runs.engine import Position
from runs.plan import make_plan
from runs.run import Run
from runs.showing.progress import Progress


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--tasks", type=int, default=100)
    arguments = parser.parse_args()
    request = {
        "scenario": {"name": f"permuted-{arguments.data}", "tasks": arguments.tasks},
        "strategy": {"name": "naive"},
        "network": {"name": "mlp", "hidden": "256"},
        "train": {"iterations": 100, "batch_size": 64},
    }
    make_plan({**request, "scenario": {**request["scenario"], "tasks": 1}}, Progress())
    start = time.perf_counter()
    plan = make_plan(request, Progress())
    threads = torch.get_num_threads()
    print(f"torch {torch.__version__}, {threads} threads; built {arguments.tasks} tasks in {time.perf_counter() - start:.2f} s")
    run = Run(plan, None, Progress())
    seconds = []
    for experience in plan.scenario.experiences:
        start = time.perf_counter()
        run.engine.learn(experience, Position(experience.index))
        seconds.append(time.perf_counter() - start)
    tenth = max(1, arguments.tasks // 10)
    first, last = sorted(seconds[:tenth])[tenth // 2], sorted(seconds[-tenth:])[tenth // 2]
    print(f"training a task, 100 steps: median {first:.3f} s in the first tenth, {last:.3f} s in the last; ratio {last / first:.2f}")


if __name__ == "__main__":
    main()
