"""Elastic Weight Consolidation, with a penalty for each experience, and its online form with one.

J. Kirkpatrick et al., "Overcoming catastrophic forgetting in neural networks", PNAS 2017:

    penalty = strength / 2 * sum over experiences t of sum_k F_tk (theta_k - theta_tk)^2

with F_t the diagonal of the Fisher information at the parameters theta_t that experience t ended with, a mean over examples. A sum of
parabolas is a parabola: kept are sum_t F_t, the mean of the theta_t weighted by F_t, and a constant. So a step costs the same after ten
experiences as after one, and the value and the gradient are still those of the list of penalties.

J. Schwarz et al., "Progress & Compress", ICML 2018, for `online-ewc`:

    penalty = strength / 2 * sum_k F*_k (theta_k - theta_k of the last experience)^2,     F* <- gamma F* + F_t

Several estimators of F go by one name in published code, and a strength means nothing without its estimator: see
`strategies.penalties.curvature.fisher`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from scenarios.batches import Shuffled
from scenarios.experience import Batch, Experience
from scenarios.options import option
from scenarios.random import Randomness
from strategies.networks.network import InPlay
from strategies.penalties.curvature.fisher import DiagonalFisher
from strategies.penalties.curvature.per_example import check_known
from strategies.penalties.flat import Flat
from strategies.penalties.penalty import Penalty, PenaltyStrategy
from strategies.penalties.quadratic import Quadratic
from strategies.penalties.strength import Scale, Strength
from strategies.phase import Phase

MEASURING_BATCH = 256
"""Examples a batch of the measuring pass. `exact` and `empirical` do not depend on it, `sampled` in which labels are drawn alone; `batch`
does, and takes `train.batch_size` instead."""

DEFAULT = (0.03, 1000.0)
"""Strength unless given, in the conventions `mean` and `published`."""


@dataclass(frozen=True, kw_only=True)
class EwcConfig:
    """Options of `ewc`.

    Attributes:
        strength: lambda; the penalty is strength / 2 times the weighted squares; 0.03 (scale mean) or 1000 (published) unless given.
        scale: what importances are measured in: mean, divided by their mean, or published, as they are; unless given, mean where no
            strength is given and published where one is.
        fisher: which estimator of the Fisher's diagonal: exact, sampled, empirical or batch.
        fisher_samples: how many training examples it is measured on, drawn at random; none for all.
    """

    strength: float | None = option(None, low=0)
    scale: Scale | None = None
    fisher: Literal["exact", "sampled", "empirical", "batch"] = "exact"
    fisher_samples: int | None = option(None, low=1)


@dataclass(frozen=True, kw_only=True)
class OnlineEwcConfig(EwcConfig):
    """Options of `online-ewc`, beside those of `ewc`.

    Attributes:
        gamma: what is kept of the earlier experiences' Fisher.
    """

    gamma: float = option(1.0, low=0, high=1)


class FisherPenalty(Quadratic):
    """What both forms share: the pass that measures the Fisher after training.

    Args:
        flat: the parameters.
        config: the options.
        fisher: the estimator.
        in_play: the outputs that a batch's loss looks at.
        batch_size: of training.
        randomness: of the run.
    """

    def __init__(
        self,
        flat: Flat,
        config: EwcConfig,
        fisher: DiagonalFisher,
        in_play: Callable[[Batch], InPlay],
        batch_size: int,
        randomness: Randomness,
    ) -> None:
        super().__init__(flat, Strength.of(config, *DEFAULT), 0.5)
        self.config = config
        self.fisher = fisher
        self.in_play = in_play
        self.batch_size = batch_size if config.fisher == "batch" else MEASURING_BATCH
        self.randomness = randomness

    def measuring(self, experience: Experience) -> Sequence[Phase]:
        """One pass over the experience's training examples, or over some of them.

        Args:
            experience: what has just been learned.

        Returns:
            The phase.
        """
        examples = experience.train
        if self.config.fisher_samples is not None and self.config.fisher_samples < len(examples):
            order = torch.randperm(len(examples), generator=self.randomness.generator("fisher examples", experience.index))
            examples = examples.select(order[: self.config.fisher_samples].to(examples.rows.device))
        batches = Shuffled(examples, self.batch_size)
        return [Phase(name="fisher", batches=batches, epochs=1, begin=self.fisher.reset, observe=self._observe)]

    def _observe(self, batch: Batch) -> None:
        self.fisher.observe(batch.x, batch.y, self.in_play(batch))

    def state_dict(self) -> dict[str, Any]:
        """The quadratic and the measurement so far.

        Returns:
            Both states.
        """
        return {**super().state_dict(), "fisher": self.fisher.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
        """
        super().load_state_dict(state)
        self.fisher.load_state_dict(state["fisher"])

    def report(self) -> dict[str, Any]:
        """Which Fisher it was, and the convention of the strength.

        Returns:
            Names to plain values.
        """
        penalty = "strength / 2 * sum(fisher * (theta - centre)^2)"
        return {"penalty": penalty, **self.strength.report(), "fisher": self.config.fisher}


class EwcPenalty(FisherPenalty):
    """The sum of the experiences' penalties, as one parabola; kept for each parameter: its curvature, its centre, and the Fisher's sum."""

    def after_experience(self) -> None:
        """Add the experience's parabola."""
        fisher, now = self.fisher.mean(), self.flat.read()
        before, centre = self.importance.flat, self.centre.flat
        total = before + fisher
        share = torch.where(total > 0, fisher / total, 1.0)
        self.offset += (before * share * (now - centre) ** 2).sum()
        centre.copy_(torch.lerp(centre, now, share))
        before.copy_(total)
        self.consolidated()


class OnlineEwcPenalty(FisherPenalty):
    """One penalty, around the parameters that the last experience ended with; kept for each parameter as by `EwcPenalty`."""

    def after_experience(self) -> None:
        """Fade the Fisher, add the experience's, and move the centre."""
        assert isinstance(self.config, OnlineEwcConfig)
        self.importance.flat.mul_(self.config.gamma).add_(self.fisher.mean())
        self.centre.flat.copy_(self.flat.read())
        self.consolidated()


class Ewc(PenaltyStrategy):
    """Elastic Weight Consolidation."""

    Config = EwcConfig
    Form: type[FisherPenalty] = EwcPenalty

    def build_penalty(self) -> Penalty:
        """Make the penalty.

        Returns:
            The penalty of the form that the class stands for.
        """
        setup, config = self.setup, self.config
        if config.fisher != "batch":
            check_known(self.network, setup.scenario.input_shape)
        flat = Flat(self.network.parameters())
        fisher = DiagonalFisher(self.network, flat, config.fisher, setup.randomness)
        return self.Form(flat, config, fisher, self.in_play, setup.train.batch_size, setup.randomness)


class OnlineEwc(Ewc):
    """Online Elastic Weight Consolidation."""

    Config = OnlineEwcConfig
    Form = OnlineEwcPenalty
