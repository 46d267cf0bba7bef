"""Tiny episodes and learners of episodes in float64, for the tests of meta-learning."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from scenarios.episodes.episodes import PADDED, EpisodeBatch
from scenarios.random import Randomness
from strategies import make
from strategies.base import Setup
from strategies.networks import build
from strategies.networks.registry import networks
from strategies.phase import TrainConfig

WAYS = 3
GREY = (1, 8, 8)


@dataclass(frozen=True)
class TinyScenario:
    """What a learner of episodes reads of a scenario."""

    input_shape: tuple[int, int, int] = GREY
    ways: int = WAYS
    blocks: tuple[range, ...] = field(default=(range(WAYS),))
    data: dict[str, str] = field(default_factory=lambda: {"origin": "real"})
    experiences: tuple[Any, ...] = (SimpleNamespace(index=0, train=SimpleNamespace(table=range(4))),)

    @property
    def num_outputs(self) -> int:
        """Width of the head."""
        return self.ways


def episodes(
    count: int = 3, shots: int = 2, queries: int = 2, unlabelled: int = 0, distractors: int = 0, shape: tuple[int, int, int] = GREY,
    seed: int = 0, noise: float = 0.7, dtype: torch.dtype = torch.float64,
) -> EpisodeBatch:
    """Episodes of separable classes: a random prototype each, and noise."""
    generator = torch.Generator().manual_seed(seed)
    prototypes = torch.randn(count, WAYS + distractors, *shape, generator=generator, dtype=torch.float64)

    def draw(labels: Tensor) -> Tensor:
        clean = torch.stack([prototypes[e, labels] for e in range(count)])
        return (clean + noise * torch.randn(clean.shape, generator=generator, dtype=torch.float64)).to(dtype)

    support_y = torch.arange(WAYS).repeat_interleave(shots)
    query_y = torch.arange(WAYS).repeat(queries)
    rest = torch.arange(WAYS + distractors).repeat_interleave(unlabelled)
    return EpisodeBatch(
        draw(support_y), support_y.expand(count, -1), draw(query_y), query_y.expand(count, -1), draw(rest) if unlabelled else None,
        None, None, WAYS, rest.where(rest < WAYS, -1).expand(count, -1) if unlabelled else None,
    )


def padded(batch: EpisodeBatch, support: int = 2, queries: int = 3) -> EpisodeBatch:
    """The same episodes with rows of padding behind the real ones."""

    def behind(x: Tensor, rows: int, value: float) -> Tensor:
        return torch.cat([x, x.new_full((len(x), rows, *x.shape[2:]), value)], 1)

    return batch._replace(
        support_x=behind(batch.support_x, support, 9.0), support_y=behind(batch.support_y, support, PADDED),
        query_x=behind(batch.query_x, queries, 9.0), query_y=behind(batch.query_y, queries, PADDED),
        support_mask=behind(torch.ones_like(batch.support_y, dtype=torch.bool), support, 0),
        query_mask=behind(torch.ones_like(batch.query_y, dtype=torch.bool), queries, 0),
    )


def learner(
    name: str, network: str = "mlp", shape: tuple[int, int, int] = GREY, seed: int = 0, net: dict[str, Any] | None = None,
    dtype: torch.dtype = torch.float64, **options: Any,
) -> Any:
    """Make a learner of episodes, and prepare it."""
    presets: dict[str, dict[str, Any]] = {
        "mlp": {"hidden": (7, 6), "norm": "batch"}, "conv": {"channels": (3, 4)}, "conv4": {"filters": 4, "downsample": "stride"}
    }
    component, _ = networks.load(network)
    config = component.Config(**(net if net is not None else presets[network]))
    randomness = Randomness(seed)

    def build_network() -> Any:
        made = build(network, config, shape, TinyScenario().blocks, randomness.key("initialisation")).to(dtype)
        spread(made)
        return made

    strategy = make(name, **options)
    scenario: Any = TinyScenario(shape)
    strategy.prepare(Setup(scenario, TrainConfig(), build_network, randomness, torch.device("cpu")))
    return strategy


def spread(network: nn.Module) -> None:
    """Move norms' scale and shift off 1 and 0, where mistakes hide."""
    generator = torch.Generator().manual_seed(5)
    for name, parameter in network.named_parameters():
        if "norm" in name:
            parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)


def meta_gradient(strategy: Any, batch: EpisodeBatch) -> tuple[float, dict[str, Tensor]]:
    """The loss of a meta-batch, and its gradient with respect to everything that the outer loop learns."""
    learned = dict(strategy.network.named_parameters()) | {f"parts.{n}": p for n, p in strategy.parts.named_parameters()}
    loss = strategy.episode_loss(batch).loss
    grads = torch.autograd.grad(loss, list(learned.values()), allow_unused=True)
    return float(loss.detach()), {name: torch.zeros_like(p) if g is None else g for (name, p), g in zip(learned.items(), grads)}


def difference(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    """The largest difference between two gradients, relative to the largest entry."""
    names = first.keys() & second.keys()
    largest = max(float(first[name].abs().max()) for name in names)
    return max(float((first[name] - second[name]).abs().max()) for name in names) / largest
