"""How long a run takes as a command beside what it must: fresh processes in turn, one table.

    python tests/benchmarks/start_up.py [--rounds 5]

Rows: the interpreter, `import torch`, and a run of split-digits as a command; of the run also what it says of itself (start, training,
testing) and what is left (plots and exit). Wanted: the run at most 1.6 times `import torch` plus its training and testing. Processor
seconds are those that a busy machine hardly changes; wall seconds are what a person waits on an idle one.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
OPTIONS = ["--scenario", "split-digits", "--strategy", "naive", "--set", "train.epochs=20", "--quiet"]


def timed(command: list[str]) -> tuple[float, float]:
    """Wall and processor seconds of a process."""
    before, clock = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(rounds: int) -> tuple[dict[str, tuple[float, float]], dict[str, float]]:
    """Medians of wall and processor seconds by process, and of what a run says of itself."""
    found: dict[str, list[tuple[float, float]]] = {"python": [], "import torch": [], "run": []}
    inside: dict[str, list[float]] = {"start_seconds": [], "train_seconds": [], "evaluate_seconds": [], "cpu_seconds": []}
    for _ in range(rounds):
        found["python"].append(timed([sys.executable, "-c", "pass"]))
        found["import torch"].append(timed([sys.executable, "-c", "import torch"]))
        with tempfile.TemporaryDirectory() as folder:
            found["run"].append(timed([sys.executable, "-m", "runs.cli", *OPTIONS, "--out", f"{folder}/run"]))
            summary = json.loads((Path(folder) / "run" / "summary.json").read_text())
        for name, values in inside.items():
            values.append(summary[name])
    middle = {}
    for name, values in found.items():
        middle[name] = (statistics.median(wall for wall, _ in values), statistics.median(processor for _, processor in values))
    return middle, {name: statistics.median(values) for name, values in inside.items()}


def ratios(middle: dict[str, tuple[float, float]], parts: dict[str, float]) -> tuple[float, float]:
    """What a run takes beside its work, in `import torch`: by the wall clock and by the processor's."""
    wall = middle["run"][0] - parts["train_seconds"] - parts["evaluate_seconds"]
    return wall / middle["import torch"][0], (middle["run"][1] - parts["cpu_seconds"]) / middle["import torch"][1]


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    middle, parts = measure(rounds)
    print(f"{'':<34}{'wall s':>8}{'cpu s':>8}   median of {rounds}")
    for name, (wall, processor) in middle.items():
        print(f"{name:<34}{wall:>8.2f}{processor:>8.2f}")
    for name, value in parts.items():
        print(f"  {name:<32}{value:>8.2f}")
    wall, processor = ratios(middle, parts)
    print(f"(run - its work) / import torch: {wall:.2f} by the wall clock, {processor:.2f} in processor seconds (wanted: at most 1.6)")


if __name__ == "__main__":
    main()
