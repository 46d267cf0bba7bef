"""Scenarios and networks of the test matrix, registered as a user would register them: a few images, made in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import nn

from scenarios.images import ImageSet
from scenarios.scenario_registry import scenarios
from scenarios.streams.request import Request
from scenarios.streams.returning import Repetition, RepetitionConfig
from scenarios.streams.streams import Permuted, PermutedConfig, Split, SplitConfig
from strategies.networks import networks
from strategies.networks.unit import Unit

PER_CLASS = 9


@dataclass(frozen=True, kw_only=True)
class InMemory(Request):
    """A request whose data set is made from noise around one image a class."""

    classes: int = 6

    def load(self, name: str, num_classes: int = 0) -> tuple[ImageSet, ImageSet]:
        generator = torch.Generator().manual_seed(self.seed)
        means = torch.randint(40, 216, (self.classes, 1, 4, 4), generator=generator)
        names = tuple(f"class {label}" for label in range(self.classes))

        def side(count: int) -> ImageSet:
            labels = torch.arange(self.classes).repeat_interleave(count)
            pixels = means[labels] + 30 * torch.randn(len(labels), 1, 4, 4, generator=generator)
            return ImageSet(name, pixels.clamp(0, 255).to(torch.uint8), labels, names, "generated", f"{name} {self.seed} {count}")

        return side(PER_CLASS), side(4)


def in_memory(request: Request, classes: int) -> InMemory:
    kept = {field.name: getattr(request, field.name) for field in fields(Request)}
    return InMemory(**{**kept, "parts": {"set": "tiny"}}, classes=classes)


@dataclass(frozen=True, kw_only=True)
class TinyConfig(SplitConfig):
    """Options of `tiny`.

    Attributes:
        classes: how many there are.
    """

    classes: int = 6


class Tiny:
    Config = TinyConfig

    @staticmethod
    def make(config: TinyConfig, request: Request) -> Any:
        return Split.make(config, in_memory(request, config.classes))


class TinyPermuted:
    Config = PermutedConfig

    @staticmethod
    def make(config: PermutedConfig, request: Request) -> Any:
        return Permuted.make(config, in_memory(request, 3))


class TinyRepetition:
    Config = RepetitionConfig

    @staticmethod
    def make(config: RepetitionConfig, request: Request) -> Any:
        return Repetition.make(config, in_memory(request, 4))


class Plain(nn.Module):
    """Layers that no unit holds."""

    def __init__(self, input_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(input_shape[0], 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.last = nn.Linear(4 * input_shape[1] * input_shape[2], 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.norm(self.convolution(x)).relu()
        return self.last(hidden.view(len(x), -1)).relu()


def frozen_units(input_shape: tuple[int, int, int]) -> nn.Module:
    """Units of which one is frozen."""
    first = Unit(nn.Conv2d(input_shape[0], 8, 3, padding=1), nn.BatchNorm2d(8)).requires_grad_(False)
    last = Unit(nn.Linear(8 * input_shape[1] * input_shape[2], 8))
    return nn.Sequential(first, nn.ReLU(), nn.Flatten(), last, nn.ReLU())


def attention(input_shape: tuple[int, int, int]) -> nn.Module:
    """Layers whose gradients by example nobody knows."""
    return nn.Sequential(nn.Flatten(2), nn.LayerNorm(input_shape[1] * input_shape[2]), nn.Flatten(), nn.LazyLinear(8))


@contextmanager
def registered() -> Iterator[None]:
    """While it lasts, what is above can be named."""
    before = [(registry, dict(registry.rows), dict(registry._loaded)) for registry in (scenarios, networks)]
    scenarios.register("tiny", "a few classes in three experiences")(Tiny)
    scenarios.register("tiny-repetition", "four classes that come back")(TinyRepetition)
    scenarios.register("tiny-permuted", "three classes, permuted")(TinyPermuted)
    networks.register("tiny-plain", "layers that no unit holds")(Plain)
    networks.register("tiny-frozen", "units of which one is frozen")(frozen_units)
    networks.register("tiny-attention", "layers whose gradients by example nobody knows")(attention)
    try:
        yield
    finally:
        for registry, rows, loaded in before:
            registry.rows, registry._loaded = rows, loaded
