"""What the learners on frozen features share: one pass over an experience that adds to sums by class, and a linear classifier of them.

Nothing is forgotten, since sums are of all that was met, whatever the order. How good they are is decided by the features: of a pre-trained
network (`--network torchvision:resnet18 --set network.weights=...`), of features computed elsewhere, or of random weights. Sums are kept in
float64.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from scenarios.experience import Batch, Experience
from strategies.base import Setup, Strategy
from strategies.networks.network import OUT_OF_PLAY
from strategies.phase import Phase
from strategies.unread import OF_OPTIMIZER


class FrozenFeatures(Strategy):
    """A linear classifier of frozen features, made of sums over all examples met."""

    needs_boundaries = False
    unread: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("epochs", "iterations", *OF_OPTIMIZER), "sums of frozen features are taken in one pass and nothing is trained; leave it out"
    )

    def prepare(self, setup: Setup) -> None:
        """Get ready for a scenario, with nothing met.

        Args:
            setup: what it will meet.
        """
        super().prepare(setup)
        width, outputs = self.width(), setup.scenario.num_outputs
        double: dict[str, Any] = {"dtype": torch.float64, "device": setup.device}
        self.sums = {"counts": torch.zeros(outputs, **double), "sums": torch.zeros(outputs, width, **double), **self.further(width, double)}
        self.weight, self.bias = torch.zeros(outputs, width, **double), torch.zeros(outputs, **double)

    def width(self) -> int:
        """How many features the classifier sees.

        Returns:
            Those of the network, unless the method has others.
        """
        return self.network.num_features

    def further(self, width: int, kind: dict[str, Any]) -> dict[str, Tensor]:
        """Sums beside the classes' counts and sums.

        Args:
            width: how many features there are.
            kind: type and device.

        Returns:
            Zeros, by name.
        """
        return {}

    def phases(self, experience: Experience) -> list[Phase]:
        """Look at every example once.

        Args:
            experience: what is to be learned.

        Returns:
            One phase without updates.
        """
        return [Phase(name="measure", batches=self.shuffled(experience.train), epochs=1, observe=self.observe, end=self.solve)]

    @torch.no_grad()
    def observe(self, batch: Batch) -> None:
        """Add a batch to the sums.

        Args:
            batch: the batch.
        """
        seen = self.seen(batch.x)
        self.sums["counts"].index_add_(0, batch.y, torch.ones_like(batch.y, dtype=torch.float64))
        self.sums["sums"].index_add_(0, batch.y, seen)
        self.add(seen)

    def add(self, seen: Tensor) -> None:
        """Add a batch to the further sums.

        Args:
            seen: its features, [B, F].
        """

    def seen(self, x: Tensor) -> Tensor:
        """What the classifier sees of images.

        Args:
            x: float [B, C, H, W], normalised.

        Returns:
            float64 [B, F].
        """
        return self.features(x).double()

    def solve(self) -> None:
        """Make the classifier of the sums."""
        self.weight, self.bias = self.classifier()

    @abstractmethod
    def classifier(self) -> tuple[Tensor, Tensor]:
        """The linear classifier.

        Returns:
            Weights [K, F] and biases [K].
        """

    @property
    def means(self) -> Tensor:
        """The classes' mean features, [K, F]; 0 for classes not met."""
        return self.sums["sums"] / self.sums["counts"].clamp_min(1)[:, None]

    @torch.no_grad()
    def logits(self, x: Tensor, task: int | None = None) -> Tensor:
        """Answer.

        Args:
            x: float [B, C, H, W], normalised.
            task: not looked at.

        Returns:
            [B, K]; classes not met are out of play.
        """
        answers = self.seen(x) @ self.weight.T + self.bias
        return answers.masked_fill(self.sums["counts"] == 0, OUT_OF_PLAY)

    def answers(self, task: int) -> bool:
        """Whether a class of the experience has been met.

        Args:
            task: the experience.

        Returns:
            False before.
        """
        outputs = self.setup.scenario.experiences[task].outputs
        return bool((self.sums["counts"][outputs.start : outputs.stop] > 0).any())

    def state_dict(self) -> dict[str, Any]:
        """The network and the sums.

        Returns:
            Nested dictionaries of tensors.
        """
        return {**super().state_dict(), "sums": dict(self.sums), "classifier": {"weight": self.weight, "bias": self.bias}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
        """
        super().load_state_dict(state)
        self.sums = {name: value.to(self.setup.device) for name, value in state["sums"].items()}
        self.weight, self.bias = (state["classifier"][name].to(self.setup.device) for name in ("weight", "bias"))

    def report(self) -> dict[str, Any]:
        """The sums' size.

        Returns:
            Their bytes.
        """
        return {"statistics_bytes": sum(value.nbytes for value in self.sums.values())}


class WithProducts(FrozenFeatures):
    """One that keeps the sum of products of features as well."""

    def further(self, width: int, kind: dict[str, Any]) -> dict[str, Tensor]:
        """The sum of products of features.

        Args:
            width: how many features there are.
            kind: type and device.

        Returns:
            Zeros, by name.
        """
        return {"products": torch.zeros(width, width, **kind)}

    def add(self, seen: Tensor) -> None:
        """Add a batch to the products.

        Args:
            seen: its features, [B, F].
        """
        self.sums["products"].addmm_(seen.T, seen)
