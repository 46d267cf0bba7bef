"""Any strategy of Avalanche (avalanche-lib >= 0.6) as a strategy here: `avalanche:EWC`, with `strategy.options.ewc_lambda=0.4`.

Avalanche's own loop trains, on our network, our batches in our order and our optimiser's settings; our engine hands it experience after
experience, tests, and keeps the books. The loss looks at the outputs that are in play in the run's setting, as ours do, so that
`avalanche:Naive` is `naive` up to rounding, and plug-ins of Avalanche hang on it: `strategy.plugins.ReplayPlugin.mem_size=200`. A strategy
or a plug-in that changes what an experience's data are (Cumulative, GDumb, iCaRL, replay) makes its batches itself, in an order of its own.
What it keeps (memories, importances) is not in our checkpoints: such a run can be looked at again, not gone on with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from scenarios.errors import UserError, shortened
from scenarios.experience import Experience
from strategies.base import Setup
from strategies.bridges.bridged import NOT_RESUMED, Bridged, find, made_plugins, make
from strategies.bridges.parts import Nothing, OurBatches, leave_idle_blocks_alone, zero_missing_gradients
from strategies.networks.network import Network
from strategies.phase import Phase


@dataclass(frozen=True, kw_only=True)
class AvalancheConfig:
    """Options of `avalanche:LEARNER`.

    Attributes:
        learner: the class of avalanche.training.supervised; part of the name.
        options: arguments of its constructor, for instance strategy.options.mem_size=200.
        plugins: plug-ins of avalanche.training.plugins and their arguments, for instance strategy.plugins.ReplayPlugin.mem_size=200, or
            strategy.plugins.LwFPlugin=true for one without.
        outputs: what the loss looks at in training: the outputs in play, as in our strategies, or all of the head; none for all where the
            learner compares logits itself (DER), else those in play.
    """

    learner: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    plugins: Mapping[str, Any] = field(default_factory=dict)
    outputs: Literal["in-play", "all"] | None = None


COMPARES_LOGITS = {"DER"}
"""Learners of Avalanche that hold logits of one time against those of another: an output may not be absent in one of them."""


class AvalancheStrategy(Bridged):
    """A strategy of Avalanche."""

    Config = AvalancheConfig

    def prepare(self, setup: Setup) -> None:
        """Build the network, the benchmark and Avalanche's strategy.

        Args:
            setup: what the learner will meet, and how it is trained.

        Raises:
            UserError: Avalanche is not installed, has no such strategy, or cannot make it.
        """
        super().prepare(setup)
        if setup.train.iterations is not None:
            raise UserError("Avalanche counts epochs: leave train.iterations out and set train.epochs")
        kind = find("strategy", "avalanche.training.supervised", self.config.learner, "train")
        self.all_outputs = self.config.outputs == "all" or (self.config.outputs is None and kind.__name__ in COMPARES_LOGITS)
        self.theirs = self._build(kind)

    def _build(self, kind: Any) -> Any:
        owner = self

        class Ordered(kind):
            """The same strategy on our batches in our order, as long as nothing has changed an experience's data."""

            def make_train_dataloader(self, **arguments: Any) -> None:
                super().make_train_dataloader(**arguments)
                if owner.unchanged(self.adapted_dataset):
                    self.dataloader = OurBatches(owner)

            def optimizer_step(self) -> None:
                leave_idle_blocks_alone(owner.network)
                super().optimizer_step()
                zero_missing_gradients(owner.network)

        plugins = [*made_plugins(self.config.plugins).values()]
        return make(Ordered, kind.__name__, self.arguments(plugins), self.config.options, "strategy.options")

    def phases(self, experience: Experience) -> list[Phase]:
        """One phase, in which Avalanche trains.

        Args:
            experience: what is to be learned.

        Returns:
            The phase; it makes no step of its own.

        Raises:
            UserError: the run was stopped before.
        """
        if experience.index != self.learned:
            raise UserError(NOT_RESUMED)

        def train() -> None:
            self.experience = experience.index
            if self.setup.train.reset_optimizer:
                self.theirs.optimizer = self.own_optimizer(self.theirs.model)
            try:
                self.theirs.train(self.stream[experience.index])
            except (MemoryError, torch.linalg.LinAlgError, UserError):
                raise
            except Exception as error:
                if "allocate" in str(error):  # too little memory, which the command line has words for
                    raise
                name, what = self.config.learner, f"{type(error).__name__}: {shortened(error, 200)}"
                raise UserError(f"{name} of Avalanche cannot learn experience {experience.index} here ({what})") from error
            # GDumb trains a copy.
            self.network = next((part for part in self.theirs.model.modules() if isinstance(part, Network)), self.network)
            self.learned += 1

        return [Phase(name="avalanche", batches=Nothing(), begin=train)]

    def logits(self, x: Tensor, task: int | None = None) -> Tensor:
        """Answer, in evaluation mode, as Avalanche's strategy does; before any learning by the network.

        Args:
            x: float [B, C, H, W], normalised.
            task: is not used.

        Returns:
            [B, K].
        """
        if not self.learned:  # classifiers by nearest means have no answer yet
            return super().logits(x, task)
        model = self.theirs.model.eval()
        found: Tensor = model(x, 0) if self.setup.scenario.setting == "task" and hasattr(model, "whole") else model(x)
        return found
