"""How long a second-order meta-iteration takes, engine by engine, beside a loop over native modules and beside learn2learn.

    python -m tests.benchmarks.meta_step [--device cuda] [--rounds 12] [--networks mlp,conv4-32] [--steps 1] [--shots 1] [--queries 1]

Forward and backward of the outer loss; 5 ways, 32 episodes. All variants of a network take turns in random order, round after round, after
one warm-up each; medians of milliseconds (of processor time where there is one thread, so that a busy machine does not count), and times
as fast as the native loop. `native loop` clones nothing and calls the run's own
modules with PyTorch's batch norm, one task after another: what learn2learn does, without its copies. `native vmap` is torch.func's
published form; its second-order gradients are wrong (see `strategies.meta.episodic.network`), its time is here for comparison only.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from scenarios.episodes.episodes import EpisodeBatch
from scenarios.random import Randomness
from strategies import make
from strategies.base import Setup
from strategies.networks import build
from strategies.networks.registry import networks
from strategies.phase import TrainConfig

NETWORKS: dict[str, tuple[str, dict[str, Any], tuple[int, int, int]]] = {
    "mlp": ("mlp", {"hidden": (256, 128, 64, 64), "norm": "batch"}, (1, 28, 28)),
    "conv4-32": ("conv4", {"filters": 32}, (1, 28, 28)),
    "conv4-64-stride": ("conv4", {"filters": 64, "downsample": "stride"}, (1, 28, 28)),
    "conv4-48-cifar": ("conv4", {"filters": 48}, (3, 32, 32)),
}
WAYS, RATE = 5, 0.4


def episodes(shape: tuple[int, int, int], count: int, shots: int, queries: int, device: torch.device) -> EpisodeBatch:
    """Random images: time does not depend on what they show."""
    labels = [torch.arange(WAYS, device=device).repeat(n).expand(count, -1).contiguous() for n in (shots, queries)]
    images = [torch.randn(count, y.shape[1], *shape, device=device) for y in labels]
    return EpisodeBatch(images[0], labels[0], images[1], labels[1], None, None, None, WAYS, None)


def ours(name: str, network: str, device: torch.device, **options: Any) -> Any:
    """A learner of this project."""
    kind, config, shape = NETWORKS[network]
    component, _ = networks.load(kind)
    scenario: Any = type("Scenario", (), {"input_shape": shape, "ways": WAYS, "blocks": (range(WAYS),)})()
    learner = make(name, inner_rate=RATE, **options)

    def build_network() -> Any:
        return build(kind, component.Config(**config), shape, scenario.blocks, 0).to(device)

    learner.prepare(Setup(scenario, TrainConfig(), build_network, Randomness(0), device))
    return learner


def native(network: nn.Module, batch: EpisodeBatch, steps: int, vectorised: bool) -> Callable[[], None]:
    """Plain MAML over the module itself, with PyTorch's batch norm on the batch's own statistics."""
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.track_running_stats, module.running_mean, module.running_var, module.num_batches_tracked = False, None, None, None
        if isinstance(module, nn.ReLU):
            module.inplace = False
    theta = dict(network.named_parameters())

    def loss(params: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return nn.functional.cross_entropy(torch.func.functional_call(network, params, x), y)

    def task(support_x: Tensor, support_y: Tensor, query_x: Tensor, query_y: Tensor) -> Tensor:
        params = dict(theta)
        for _ in range(steps):
            if vectorised:
                grads = torch.func.grad(loss)(params, support_x, support_y)
            else:
                values = torch.autograd.grad(loss(params, support_x, support_y), list(params.values()), create_graph=True)
                grads = dict(zip(params, values))
            params = {name: value - RATE * grads[name] for name, value in params.items()}
        return loss(params, query_x, query_y)

    parts = (batch.support_x, batch.support_y, batch.query_x, batch.query_y)

    def run() -> None:
        network.zero_grad()
        if vectorised:
            torch.func.vmap(task)(*parts).mean().backward()
            return
        for each in zip(*parts):
            (task(*each) / len(batch.support_x)).backward()

    return run


def learn2learn(network: nn.Module, batch: EpisodeBatch, steps: int) -> Callable[[], None]:
    """learn2learn's MAML, as its examples use it."""
    from learn2learn.algorithms import MAML

    maml = MAML(network, lr=RATE, first_order=False)
    loss = nn.CrossEntropyLoss()

    def run() -> None:
        maml.zero_grad()
        for support_x, support_y, query_x, query_y in zip(batch.support_x, batch.support_y, batch.query_x, batch.query_y):
            clone = maml.clone()
            for _ in range(steps):
                clone.adapt(loss(clone(support_x), support_y))
            (loss(clone(query_x), query_y) / len(batch.support_x)).backward()

    return run


def variants(network: str, batch: EpisodeBatch, steps: int, device: torch.device) -> dict[str, Callable[[], None]]:
    """All that can run on a network."""
    kind = NETWORKS[network][0]
    chosen: dict[str, Callable[[], None]] = {
        "native loop": native(ours("maml", network, device).network, batch, steps, False),
        "native vmap": native(ours("maml", network, device).network, batch, steps, True),
    }
    try:
        chosen["learn2learn"] = learn2learn(ours("maml", network, device).network, batch, steps)
    except ImportError:
        pass
    for engine in ("loop", "batched", *(["factored"] if kind == "mlp" else [])):
        chosen[engine] = _step(ours("maml", network, device, inner_steps=steps, engine=engine), batch)
    chosen["loop, first order"] = _step(ours("maml", network, device, inner_steps=steps, engine="loop", first_order=True), batch)
    chosen["batched, first order"] = _step(ours("maml", network, device, inner_steps=steps, engine="batched", first_order=True), batch)
    chosen["anil"] = _step(ours("anil", network, device, inner_steps=steps), batch)
    return chosen


def _step(learner: Any, batch: EpisodeBatch) -> Callable[[], None]:
    def run() -> None:
        learner.network.zero_grad()
        learner.episode_loss(batch).loss.backward()

    return run


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--networks", default="mlp,conv4-32,conv4-64-stride")
    parser.add_argument("--episodes", type=int, default=32)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--shots", type=int, default=1)
    parser.add_argument("--queries", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    device = torch.device(given.device)
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    clock = time.process_time if device.type == "cpu" and given.threads == 1 else time.perf_counter
    print(f"torch {torch.__version__}, {device.type}, {given.threads} threads, {vars(given)}")
    for network in given.networks.split(","):
        batch = episodes(NETWORKS[network][2], given.episodes, given.shots, given.queries, device)
        chosen = variants(network, batch, given.steps, device)
        times: dict[str, list[float]] = {name: [] for name in chosen}
        for r in range(given.rounds + 1):
            for name in random.sample(list(chosen), len(chosen)):
                wait()
                start = clock()
                chosen[name]()
                wait()
                if r:
                    times[name].append(1000 * (clock() - start))
        medians = {name: statistics.median(each) for name, each in times.items()}
        print(f"\n{network:24s}      ms  times as fast as the native loop")
        for name, median in sorted(medians.items(), key=lambda pair: pair[1]):
            print(f"  {name:22s} {median:8.1f}  {medians['native loop'] / median:5.2f}")


if __name__ == "__main__":
    main()
