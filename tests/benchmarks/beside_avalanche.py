"""Strategies of ours beside Avalanche's own, each a process that does the same work as its users would write it.

    python -m tests.benchmarks.beside_avalanche ours|theirs NAME

Split MNIST, setting class, one pass, batch 64, MLP 784-256-10, SGD 0.05, a memory of 500; all tests after each experience. Theirs
is `avalanche.benchmarks.classic.SplitMNIST` with its own transforms and data loaders, as its guide has it. Prints processor seconds
of training and testing together, after both have loaded their data, and the final average accuracy, as JSON. Needs
`pip install '.[avalanche]'` and MNIST.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from typing import Any

NAMES = ("naive", "replay", "der++", "icarl")
OPTIONS: dict[str, dict[str, Any]] = {
    "naive": {},
    "replay": {"memory": 500, "buffer": "balanced"},
    "der++": {"memory": 500, "buffer": "balanced", "alpha": 0.1, "beta": 0.5},
    "icarl": {"memory": 500},
}


def ours(name: str) -> tuple[float, float]:
    """Processor seconds of our run, and its average accuracy."""
    import runs

    with tempfile.TemporaryDirectory() as folder:
        result = runs.simulate(
            scenario={"name": "split-mnist", "setting": "class"},
            strategy={"name": name, **OPTIONS[name]},
            network={"name": "mlp", "hidden": [256]},
            train={"optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.0, "batch_size": 64, "epochs": 1},
            data_root=os.environ["PALIMPSEST_DATA"],
            out=f"{folder}/run",
        )
        return result.summary["cpu_seconds"], result.summary["average_accuracy"]


def theirs(name: str) -> tuple[float, float]:
    """Processor seconds of Avalanche's run, and its average accuracy."""
    import torch
    from avalanche.benchmarks.classic import SplitMNIST
    from avalanche.evaluation.metrics import accuracy_metrics
    from avalanche.training.plugins import EvaluationPlugin
    from avalanche.training.supervised import DER, ICaRL, Naive, Replay
    from torch import nn

    benchmark = SplitMNIST(n_experiences=5, fixed_class_order=list(range(10)), dataset_root=os.environ["PALIMPSEST_DATA"])
    torch.manual_seed(0)
    features, head = nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU()), nn.Linear(256, 10)
    network = nn.Sequential(*features, head)
    shared = {
        "optimizer": torch.optim.SGD(network.parameters(), lr=0.05),
        "train_mb_size": 64,
        "train_epochs": 1,
        "eval_mb_size": 1000,
        "evaluator": EvaluationPlugin(accuracy_metrics(experience=True), loggers=[]),
    }
    make = {
        "naive": lambda: Naive(model=network, criterion=nn.CrossEntropyLoss(), **shared),
        "replay": lambda: Replay(model=network, criterion=nn.CrossEntropyLoss(), mem_size=500, **shared),
        "der++": lambda: DER(model=network, mem_size=500, alpha=0.1, beta=0.5, **shared),
        "icarl": lambda: ICaRL(
            feature_extractor=features, classifier=head, memory_size=500, buffer_transform=None, fixed_memory=True, **shared
        ),
    }
    strategy, began = make[name](), time.process_time()
    for experience in benchmark.train_stream:
        strategy.train(experience)
        found = strategy.eval(benchmark.test_stream)
    accuracies = [value for key, value in found.items() if key.startswith("Top1_Acc_Exp")]
    return time.process_time() - began, sum(accuracies) / len(accuracies)


def main() -> None:
    """Be one of the two."""
    import torch

    torch.set_num_threads(1)
    seconds, accuracy = {"ours": ours, "theirs": theirs}[sys.argv[1]](sys.argv[2])
    print(json.dumps({"seconds": seconds, "accuracy": accuracy}))


if __name__ == "__main__":
    main()
