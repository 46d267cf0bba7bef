"""How fast Palimpsest is beside the least that the same work takes: measured, recorded, and written into docs/speed.md.

    python -m tests.benchmarks.speed [--rounds 3] [--only start|mlp|conv]    measure, add records, write the table
    python -m tests.benchmarks.speed --table                                 write the table alone

Every ratio is of processor seconds on one thread, which other work on a machine changes little, against a baseline that is measured in turn
with it. The bare loop is the best that can be written: contiguous images, one gather, a fused optimiser. Fresh: every measurement is a
process of its own. Warm: the second time in one process. Of a round's ratios the median is recorded.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECORDS, PAGE = Path(__file__).with_name("records.jsonl"), ROOT / "docs" / "speed.md"
STEPS = {"mlp": None, "conv": 20}
WORDS = {
    "start": "a whole command beside its work, to `import torch`",
    "mlp train": "training, MLP 784-256-10, Split MNIST, batch 64",
    "mlp test": "testing, the same",
    "conv train": "training, small convolutional network, Split CIFAR-10, batch 64",
    "conv test": "testing, the same",
}
HEAD = """# Speed

Made of `tests/benchmarks/records.jsonl` by `python -m tests.benchmarks.speed --table`; `make speed` measures anew and adds records.
Ratios of processor seconds, one thread, Palimpsest to the baseline beside it; less is faster. Palimpsest does all that it does for a
user: two accuracies after each experience, the training log, progress, checkpoints. The bare loop is the best that can be written by
hand of torch's public parts: contiguous images, one gather, a fused optimiser, nothing else. Palimpsest calls the kernel of fused SGD
itself (`runs/fused.py`), which pays for the rest. *Fresh*: each measurement in a process of its own; *warm*: the second in one.

| work | baseline | ratio | wanted | rounds | processor | torch | commit |
|---|---|---|---|---|---|---|---|
"""
WANTED = {"start": 1.6, "mlp train": 1.05, "mlp test": 1.05, "conv train": 0.6, "conv test": 0.55}


def child(what: str, who: str) -> dict[str, list[float]]:
    """Measure one contender twice, in a fresh process: the first time and the second, training and testing."""
    command = [sys.executable, "-m", "tests.benchmarks.speed", "--one", what, who]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def one(what: str, who: str) -> None:
    """Be such a process."""
    # Before anything is imported: all clocks of the run are the processor's.
    time.perf_counter = time.process_time
    import torch

    from tests.benchmarks import training_speed as bench

    torch.set_num_threads(1)
    scenario, network = {"mlp": ("split-mnist", bench.mlp), "conv": ("split-cifar", bench.conv)}[what]
    stream, data = bench.stream_or_generated(scenario)
    storage = stream.experiences[0].train.storage
    parts = bench.contiguous(stream)
    found: dict[str, list[float]] = {"train": [], "test": []}
    for _ in range(2 if what == "mlp" else 1):
        if who == "bare":
            seconds = bench.bare_loop(parts, network(), storage.scale, storage.shift, STEPS[what])
        else:
            named = {"name": "mlp", "hidden": "256"} if what == "mlp" else {"name": "conv"}
            seconds = bench.palimpsest(scenario, named, data, STEPS[what])
        found["train"].append(seconds.train)
        found["test"].append(seconds.test)
    print(json.dumps(found))


def training(what: str, rounds: int) -> dict[str, float]:
    """Median ratios of fresh processes, and of the second time in them."""
    ratios: dict[str, list[float]] = {}
    for _ in range(rounds):
        bare, ours = child(what, "bare"), child(what, "ours")
        for part in ("train", "test"):
            for place, mode in enumerate(("fresh", "warm")[: len(bare[part])]):
                ratios.setdefault(f"{what} {part}, {mode}", []).append(ours[part][place] / bare[part][place])
    return {name: statistics.median(values) for name, values in ratios.items()}


def start(rounds: int) -> dict[str, float]:
    """What a command takes beside its work, in `import torch`."""
    from tests.benchmarks import start_up

    return {"start, fresh": start_up.ratios(*start_up.measure(rounds))[1]}


def record(ratios: dict[str, float], rounds: int) -> None:
    """Add a record for each ratio."""
    import torch

    from runs.recording.code import code
    from runs.recording.store import processor

    beside = {"rounds": rounds, "processor": processor(), "torch": torch.__version__, "date": date.today().isoformat(), "code": code()}
    with RECORDS.open("a", encoding="utf-8") as file:
        for name, ratio in ratios.items():
            file.write(json.dumps({"work": name, "ratio": round(ratio, 3), **beside}) + "\n")


def table() -> str:
    """The latest record of each work on each processor."""
    lines = RECORDS.read_text(encoding="utf-8").splitlines() if RECORDS.exists() else []
    latest = {(each["work"], each["processor"]): each for each in map(json.loads, lines)}
    rows = []
    for (work, _), each in sorted(latest.items(), key=lambda item: [*WORDS].index(item[0][0].split(",")[0])):
        name, _, mode = work.partition(", ")
        baseline = "`import torch`" if name == "start" else "bare loop"
        commit = str(each["code"]["commit"])[:8] + (" (changed)" if each["code"]["dirty"] else "")
        cells = [f"{WORDS[name]}, {mode}", baseline, f"{each['ratio']:.2f}", f"{WANTED[name]:.2f}"]
        rows.append([*cells, str(each["rounds"]), each["processor"], each["torch"], commit])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("start", "mlp", "conv"))
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        one(*asked.one)
        return
    for what in () if asked.table else ("start", "mlp", "conv"):
        if asked.only in (None, what):
            ratios = start(asked.rounds) if what == "start" else training(what, asked.rounds)
            print(*(f"{name}: {ratio:.2f}" for name, ratio in ratios.items()), sep="\n", flush=True)
            record(ratios, asked.rounds)
    PAGE.write_text(HEAD + table(), encoding="utf-8")


if __name__ == "__main__":
    main()
