"""Memory Aware Synapses: a parameter is important if the network's answers are sensitive to it; no labels are needed.

R. Aljundi, F. Babiloni, M. Elhoseiny, M. Rohrbach, T. Tuytelaars, "Memory Aware Synapses: Learning what (not) to forget", ECCV 2018.
After an experience, with f the outputs in play (logits, in evaluation mode), a mean over its training examples n is added:

    importance <- importance + mean_n | d ||f(x_n)||^2 / d theta |,    centre <- theta
    penalty = strength * sum importance (theta - centre)^2

That the experiences' importances are summed, and that f is the logits, is inferred.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scenarios.batches import Shuffled
from scenarios.experience import Batch, Experience
from scenarios.options import option
from strategies.networks.network import OUT_OF_PLAY, InPlay, Network, narrowed
from strategies.penalties.curvature.per_example import check_known, known_layers, per_example, taps
from strategies.penalties.flat import Flat
from strategies.penalties.penalty import Penalty, PenaltyStrategy
from strategies.penalties.quadratic import Quadratic
from strategies.penalties.strength import Scale, Strength
from strategies.phase import Phase

MEASURING_BATCH = 256
"""Examples a batch of the measuring pass; the result does not depend on it."""

DEFAULT = (0.01, 1.0)
"""Strength unless given, in the conventions `mean` and `published`."""


@dataclass(frozen=True, kw_only=True)
class MasConfig:
    """Options of `mas`.

    Attributes:
        strength: lambda, the weight of the penalty; 0.01 (scale mean) or 1 (published) unless given.
        scale: what importances are measured in: mean, divided by their mean, or published, as they are; unless given, mean where no
            strength is given and published where one is.
    """

    strength: float | None = option(None, low=0)
    scale: Scale | None = None


class MasPenalty(Quadratic):
    """The penalty of MAS; kept for each parameter: importance, centre, and the sensitivity's sum.

    Args:
        flat: the parameters.
        config: the options.
        network: whose sensitivity is measured.
        in_play: the outputs that a batch's loss looks at.
    """

    def __init__(self, flat: Flat, config: MasConfig, network: Network, in_play: Callable[[Batch], InPlay]) -> None:
        super().__init__(flat, Strength.of(config, *DEFAULT))
        known_layers(network)
        self.network = network
        self.in_play = in_play
        self._sum = flat.zeros()
        self._views = dict(zip(list[Tensor](flat.parameters), self._sum.views))
        self._count = 0

    def measuring(self, experience: Experience) -> Sequence[Phase]:
        """One pass over the experience's training examples.

        Args:
            experience: what has just been learned.

        Returns:
            The phase.
        """
        batches = Shuffled(experience.train, MEASURING_BATCH)
        return [Phase(name="sensitivity", batches=batches, epochs=1, begin=self._reset, observe=self._observe)]

    def _reset(self) -> None:
        self._sum.flat.zero_()
        self._count = 0

    def _observe(self, batch: Batch) -> None:
        self.network.eval()
        outputs = self.in_play(batch)
        with taps(self.network) as noted:
            logits = narrowed(self.network(batch.x, outputs), outputs)
        answers = logits.masked_fill(logits <= OUT_OF_PLAY, 0.0)
        for parameter, sizes in per_example(answers.square().sum(), noted, torch.abs):
            if parameter in self._views:
                self._views[parameter].add_(sizes)
        self._count += len(batch.x)

    def after_experience(self) -> None:
        """Add the experience's sensitivity and move the centre."""
        self.importance.flat.add_(self._sum.flat / max(1, self._count))
        self.centre.flat.copy_(self.flat.read())
        self.consolidated()

    def state_dict(self) -> dict[str, Any]:
        """The quadratic and the measurement so far.

        Returns:
            Tensors and counts.
        """
        return {**super().state_dict(), "sum": self._sum.flat, "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
        """
        super().load_state_dict(state)
        self._sum.flat.copy_(state["sum"])
        self._count = state["count"]

    def report(self) -> dict[str, Any]:
        """The convention of the strength.

        Returns:
            Names to plain values.
        """
        return {"penalty": "strength * sum(importance * (theta - centre)^2)", **self.strength.report()}


class Mas(PenaltyStrategy):
    """Memory Aware Synapses."""

    Config = MasConfig

    def build_penalty(self) -> Penalty:
        """Make the penalty.

        Returns:
            The penalty of MAS.
        """
        check_known(self.network, self.setup.scenario.input_shape)
        return MasPenalty(Flat(self.network.parameters()), self.config, self.network, self.in_play)
