"""A training loop that writes down what penalties integrate: for each step the task's own gradient and what the step did."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import Parameter

from scenarios.experience import Experience
from strategies.base import Strategy
from tests.strategies.driver import make_setup, prepared, tiny_scenario


@dataclass
class Watched:
    """What happened while one experience was learned."""

    start: Tensor
    end: Tensor
    gradients: list[Tensor] = field(default_factory=list)
    moves: list[Tensor] = field(default_factory=list)

    @property
    def path(self) -> Tensor:
        return -sum((g * d for g, d in zip(self.gradients, self.moves)), torch.zeros_like(self.start))

    @property
    def displacement(self) -> Tensor:
        return self.end - self.start


def flat(parameters: list[Parameter]) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in parameters])


def flat_gradients(parameters: list[Parameter]) -> Tensor:
    return torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in parameters]).clone()


def small(name: str, setting: str = "domain", seed: int = 0, **options: object) -> Strategy:
    """A strategy on a network of a few hundred parameters, in float64."""
    scenario = tiny_scenario(setting, shape=(1, 4, 4), dtype=torch.float64)  # type: ignore[arg-type]
    return prepared(name, make_setup(scenario, options={"hidden": (7, 5)}, seed=seed), **options)


def learn(strategy: Strategy, experience: Experience, steps: int = 6, optimizer: torch.optim.Optimizer | None = None) -> Watched:
    """Learn an experience in so many steps of 16 examples, phases that measure included."""
    parameters = list(strategy.network.parameters())
    optimizer = optimizer or torch.optim.Adam(parameters, 1e-2, weight_decay=1e-3)
    seen = Watched(flat(parameters), flat(parameters))
    for phase in strategy.phases(experience):
        if phase.begin:
            phase.begin()
        if phase.observe:
            for batch in phase.batches.epoch(lambda purpose: torch.Generator().manual_seed(1)):
                phase.observe(batch)
        for update in phase.updates:
            strategy.train_mode()
            for step in range(steps):
                optimizer.zero_grad()
                positions = torch.randint(len(experience.train), (16,), generator=torch.Generator().manual_seed(step))
                update.loss(experience.train.batch(positions)).loss.backward()
                seen.gradients.append(flat_gradients(parameters))
                before = flat(parameters)
                if update.after_backward:
                    update.after_backward()
                optimizer.step()
                seen.moves.append(flat(parameters) - before)
                if update.after_step:
                    update.after_step()
            seen.end = flat(parameters)
        if phase.end:
            phase.end()
    return seen


def shift(strategy: Strategy, size: float = 0.1, seed: int = 0) -> Tensor:
    """Move the network's parameters at random; returns where they are."""
    parameters = list(strategy.network.parameters())
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(size * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return flat(parameters)


def penalty_gradient(strategy: Strategy) -> Tensor:
    """What the penalty adds to gradients of 0."""
    parameters = list(strategy.network.parameters())
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    if hasattr(strategy.penalty, "path"):  # type: ignore[attr-defined]
        strategy.penalty.path.refresh()  # type: ignore[attr-defined]
    strategy.penalty.add_gradient_()  # type: ignore[attr-defined]
    return flat_gradients(parameters)
