"""How fast is training? A bare hand-written loop, Palimpsest, and Avalanche (where it is installed), in turn, on the same work.

    python tests/benchmarks/training_speed.py [--scenario split-fashion|split-mnist] [--rounds 3] [--threads N]

Work: five experiences of two classes, batch 64; an MLP 784-256-10 on grey images, one pass each, and the small convolutional network on
CIFAR-10, 60 steps each; then crop, flip and normalise of 32x32 images on one thread. Palimpsest runs with everything that a user gets: all
metrics after each experience, progress, checkpoints. Each round times all contenders one after another; the best round of each is shown,
and ratios to the bare loop's. Where a data set is absent, generated images of its shape take its place.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import scenarios
from runs.plan import make_plan
from runs.showing.progress import Progress
from runs.simulation import carry_out
from scenarios.batches import random_crop, random_flip
from scenarios.errors import DataUnavailableError
from scenarios.experience import Scenario
from strategies.networks import build
from strategies.networks.registry import networks

BATCH, RATE, TEST_BATCH, CONV_STEPS = 64, 0.01, 1000, 60


@dataclass
class Seconds:
    """Time spent by one contender."""

    train: float
    test: float


def contiguous(stream: Scenario) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Each experience as contiguous uint8 images and labels: what somebody who writes a loop by hand would start from."""
    parts = []
    for experience in stream.experiences:
        train, test = experience.train, experience.test
        parts.append((train.storage.images.images[train.rows], train.targets, test.storage.images.images[test.rows], test.targets))
    return parts


def bare_loop(
    data: list[tuple[Tensor, Tensor, Tensor, Tensor]], network: nn.Module, scale: Tensor, shift: Tensor, steps: int | None = None
) -> Seconds:
    """The loop that nobody can be much faster than: gather, convert, forward, backward, one kernel for the step."""
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE, momentum=0.9, fused=True)
    seconds = Seconds(0.0, 0.0)
    for images, labels, _, _ in data:
        start = time.perf_counter()
        network.train()
        for positions in torch.randperm(len(images)).split(BATCH)[:steps]:
            x = images.index_select(0, positions).float().mul_(scale).add_(shift)
            optimizer.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(network(x), labels.index_select(0, positions)).backward()
            optimizer.step()
        seconds.train += time.perf_counter() - start
        start = time.perf_counter()
        network.eval()
        with torch.inference_mode():
            for _, _, tests, targets in data:
                right = torch.zeros((), dtype=torch.int64)
                for x, y in zip(tests.split(TEST_BATCH), targets.split(TEST_BATCH)):
                    right += (network(x.float().mul_(scale).add_(shift)).argmax(1) == y).sum()
                right.item()
        seconds.test += time.perf_counter() - start
    return seconds


def palimpsest(name: str, network: dict, data: str | None, steps: int | None = None) -> Seconds:
    """The same through `runs`, with metrics, checkpoints and progress."""
    request = {
        "scenario": {"name": name, "setting": "class"},
        "strategy": {"name": "naive"},
        "network": network,
        "train": {"epochs": 1, "iterations": steps, "batch_size": BATCH, "optimizer": "sgd", "learning_rate": RATE, "momentum": 0.9},
        "evaluate": {"batch_size": TEST_BATCH},
        "data": data,
    }
    with tempfile.TemporaryDirectory() as folder:
        result = carry_out(make_plan(request, Progress()), Path(folder) / "run", resume=False, progress=Progress())
    share = len(result.names) / (len(result.names) + 1)
    # One test more than the others make: the row before any learning.
    return Seconds(result.summary["train_seconds"], result.summary["evaluate_seconds"] * share)


class _Labelled(torch.utils.data.TensorDataset):
    """Tensors with the targets that Avalanche asks for."""

    @property
    def targets(self) -> list[int]:
        return self.tensors[1].tolist()


class _Pictures(torch.utils.data.Dataset):
    """PIL images, turned into tensors and normalised one by one: what Avalanche's own benchmarks (SplitMNIST and its like) feed."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        from torchvision import transforms

        self.images = images[:, 0].numpy()
        self.targets = labels.tolist()
        self.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.images[index])), self.targets[index]


def avalanche(data: list[tuple[Tensor, Tensor, Tensor, Tensor]], network: nn.Module, *, pictures: bool) -> Seconds | None:
    """Avalanche: Naive with stream and experience accuracy; its data PIL images as in its own benchmarks, or float tensors."""
    try:
        from avalanche.benchmarks import benchmark_from_datasets
        from avalanche.benchmarks.utils import as_taskaware_classification_dataset
        from avalanche.evaluation.metrics import accuracy_metrics
        from avalanche.training.plugins import EvaluationPlugin
        from avalanche.training.supervised import Naive
    except ImportError:
        return None

    def sets(first: int) -> list:
        kind = _Pictures if pictures else lambda images, labels: _Labelled(images.float().div(255), labels)
        return [as_taskaware_classification_dataset(kind(part[first], part[first + 1])) for part in data]

    stream = benchmark_from_datasets(train=sets(0), test=sets(2))
    plugin = EvaluationPlugin(accuracy_metrics(experience=True, stream=True), loggers=[])
    strategy = Naive(
        model=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=RATE, momentum=0.9),
        criterion=nn.CrossEntropyLoss(),
        train_mb_size=BATCH,
        train_epochs=1,
        eval_mb_size=TEST_BATCH,
        evaluator=plugin,
    )
    seconds = Seconds(0.0, 0.0)
    for experience in stream.train_stream:
        start = time.perf_counter()
        strategy.train(experience)
        seconds.train += time.perf_counter() - start
        start = time.perf_counter()
        strategy.eval(stream.test_stream)
        seconds.test += time.perf_counter() - start
    return seconds


def mlp() -> nn.Module:
    """784-256-10."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))


def conv() -> nn.Module:
    """The same network as `--network conv`, written by hand."""
    layers: list[nn.Module] = []
    for before, after in ((3, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(2048, 10))


CONV_FLOP = 2 * 3 * sum(h * h * 9 * a * b for h, a, b in ((32, 3, 32), (16, 32, 64), (8, 64, 128)))
"""Forward and both backward passes of `conv`, an image, multiplications and additions (the first layer needs no gradient of its input)."""


def matmul_rate() -> float:
    """Float32 FLOP/s of a large matrix product."""
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    best = float("inf")
    for _ in range(20):
        start = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - start)
    return 2 * 1024**3 / best


def best(rounds: int, contenders: dict[str, Callable[[], Seconds | None]]) -> dict[str, Seconds]:
    """Time all contenders in turn; the best of the rounds of each, training and testing apart."""
    found: dict[str, Seconds] = {}
    for _ in range(rounds):
        for name, run in contenders.items():
            seconds = run()
            if seconds is not None:
                old = found.get(name, Seconds(float("inf"), float("inf")))
                found[name] = Seconds(min(old.train, seconds.train), min(old.test, seconds.test))
    return found


def show(title: str, found: dict[str, Seconds]) -> None:
    """Print one table."""
    base = found["bare loop"]
    print(f"\n{title}\n{'':<22}{'train s':>9}{'ratio':>8}{'test s':>9}{'ratio':>8}")
    for name, seconds in found.items():
        print(f"{name:<22}{seconds.train:9.2f}{seconds.train / base.train:8.2f}{seconds.test:9.2f}{seconds.test / base.test:8.2f}")


def step_times(rounds: int = 15) -> dict[str, float]:
    """Seconds of one training step of the convolutional network on one thread, contenders in turn: medians of processor time."""
    component, _ = networks.load("conv")
    ours = build("conv", component.Config(), (3, 32, 32), [range(0, 2)], 0).to(memory_format=torch.channels_last)
    bare = conv()
    x, y = torch.randn(BATCH, 3, 32, 32), torch.randint(0, 2, (BATCH,))
    x_last = x.to(memory_format=torch.channels_last)
    contenders: dict[str, tuple[nn.Module, Callable[[], Tensor]]] = {
        "bare loop": (bare, lambda: bare(x)),
        "palimpsest": (ours, lambda: ours(x_last, range(0, 2))),
    }
    sgd = {"lr": RATE, "momentum": 0.9, "fused": True}
    optimizers = {name: torch.optim.SGD(network.parameters(), **sgd) for name, (network, _) in contenders.items()}
    threads, seconds = torch.get_num_threads(), {name: list[float]() for name in contenders}
    torch.set_num_threads(1)
    for _ in range(rounds):
        for name, (_, logits) in contenders.items():
            start = time.process_time()
            optimizers[name].zero_grad(set_to_none=True)
            nn.functional.cross_entropy(logits(), y).backward()
            optimizers[name].step()
            seconds[name].append(time.process_time() - start)
    torch.set_num_threads(threads)
    return {name: statistics.median(values) for name, values in seconds.items()}


def augmentation_rate() -> float:
    """Images a second of crop, flip and normalise, 32x32 colour, one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    pixels = torch.randint(0, 256, (512, 3, 32, 32), dtype=torch.uint8)
    generator = torch.Generator().manual_seed(0)
    scale, shift = torch.full((3, 1, 1), 1 / 64), torch.full((3, 1, 1), -2.0)
    least = float("inf")
    for _ in range(30):
        start = time.perf_counter()
        random_flip(random_crop(pixels, 4, generator), generator).float().mul_(scale).add_(shift)
        least = min(least, time.perf_counter() - start)
    torch.set_num_threads(threads)
    return len(pixels) / least


def stream_or_generated(name: str) -> tuple[Scenario, str | None]:
    """A scenario on its own data, or on generated images of the same shape."""
    try:
        return scenarios.make(name, setting="class"), None
    except DataUnavailableError:
        return scenarios.make(name, data="generated", setting="class"), "generated"


def main() -> None:
    """Run everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="split-mnist")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("mlp", "conv"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    print(f"torch {torch.__version__}, {arguments.threads} threads, best of {arguments.rounds} rounds")

    stream, data = stream_or_generated(arguments.scenario)
    if data is None and arguments.only != "conv":
        parts = contiguous(stream)
        scale, shift = stream.experiences[0].train.storage.scale, stream.experiences[0].train.storage.shift
        found = best(
            arguments.rounds,
            {
                "bare loop": lambda: bare_loop(parts, mlp(), scale, shift),
                "palimpsest": lambda: palimpsest(arguments.scenario, {"name": "mlp", "hidden": "256"}, None),
                "avalanche, tensors": lambda: avalanche(parts, mlp(), pictures=False),
                "avalanche, pictures": lambda: avalanche(parts, mlp(), pictures=True),
            },
        )
        show(f"{arguments.scenario}, MLP 784-256-10, one pass, batch {BATCH}", found)

    print(f"crop + flip + normalise, one thread: {augmentation_rate():,.0f} images/s")
    if arguments.only == "mlp":
        return
    steps = step_times()
    ours, bare = steps["palimpsest"], steps["bare loop"]
    print(f"conv, a step on one thread: bare loop {1e3 * bare:.1f} ms, palimpsest {1e3 * ours:.1f} ms ({ours / bare:.2f})")
    colour, data = stream_or_generated("split-cifar")
    parts = contiguous(colour)
    scale, shift = colour.experiences[0].train.storage.scale, colour.experiences[0].train.storage.shift
    found = best(
        arguments.rounds,
        {
            "bare loop": lambda: bare_loop(parts, conv(), scale, shift, CONV_STEPS),
            "palimpsest": lambda: palimpsest("split-cifar", {"name": "conv"}, data, CONV_STEPS),
        },
    )
    show(f"split-cifar ({colour.data['origin']} data), conv, {CONV_STEPS} steps an experience, batch {BATCH}", found)
    images = len(parts) * CONV_STEPS * BATCH
    rate, peak = CONV_FLOP * images / found["palimpsest"].train, matmul_rate()
    print(f"conv trains at {rate / 1e9:.0f} GFLOP/s, {100 * rate / peak:.0f} % of the {peak / 1e9:.0f} of a float32 matrix product")


if __name__ == "__main__":
    main()
