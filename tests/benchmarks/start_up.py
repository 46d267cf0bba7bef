"""How long a run takes as a command beside what it must: fresh processes in turn, one table.

    python tests/benchmarks/start_up.py [--rounds 5]

Rows: the interpreter, `import torch`, and a run of split-digits as a command; of the run also what it says of itself (start, training,
testing) and what is left (plots and exit). Wanted: the run at most 1.6 times `import torch` plus its training and testing, on an idle
machine. Processor seconds are those that a busy machine hardly changes; wall seconds are what a person waits.
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


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    found: dict[str, list[tuple[float, float]]] = {"python": [], "import torch": [], "run": []}
    inside: dict[str, list[float]] = {"start_seconds": [], "train_seconds": [], "evaluate_seconds": []}
    for _ in range(rounds):
        found["python"].append(timed([sys.executable, "-c", "pass"]))
        found["import torch"].append(timed([sys.executable, "-c", "import torch"]))
        with tempfile.TemporaryDirectory() as folder:
            found["run"].append(timed([sys.executable, "-m", "runs.cli", *OPTIONS, "--out", f"{folder}/run"]))
            summary = json.loads((Path(folder) / "run" / "summary.json").read_text())
        for name, values in inside.items():
            values.append(summary[name])
    print(f"{'':<34}{'wall s':>8}{'cpu s':>8}   median of {rounds}")
    middle = {name: tuple(map(statistics.median, zip(*values))) for name, values in found.items()}
    for name, (wall, processor) in middle.items():
        print(f"{name:<34}{wall:>8.2f}{processor:>8.2f}")
    parts = {name: statistics.median(values) for name, values in inside.items()}
    for name, value in parts.items():
        print(f"  {name:<32}{value:>8.2f}")
    print(f"  {'plots and exit':<32}{middle['run'][0] - sum(parts.values()):>8.2f}")
    work = parts["train_seconds"] + parts["evaluate_seconds"]
    print(f"(run - training - testing) / import torch: {(middle['run'][0] - work) / middle['import torch'][0]:.2f} (wanted: at most 1.6)")


if __name__ == "__main__":
    main()
