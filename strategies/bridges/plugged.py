"""Our fine-tuning with plug-ins of Avalanche hung on it: `naive+avalanche:LwFPlugin`, with `strategy.plugins.LwFPlugin.alpha=1`.

Our engine makes the steps: its optimiser and schedule, `train.iterations`, its log, its guard against divergence. At each place where
Avalanche's loop calls its plug-ins, the phase does, in the same order. What they are handed is a strategy of Avalanche that never trains:
they find the network, the batch, the loss, the experience and the clock where they look for them. A plug-in that puts batches of its own in
place of the experience's (ReplayPlugin) is learned from as it asks.

The step itself is ours, so a plug-in that steers the loop or the optimiser has nothing to steer; those are refused by name, and so is
whatever is not known to end where `avalanche:Naive` with the same plug-in ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from scenarios.batches import GeneratorFor
from scenarios.errors import UserError, shortened
from scenarios.experience import Batch, Experience
from strategies.base import Setup
from strategies.bridges.bridged import NOT_RESUMED, Bridged, find, made_plugins, make
from strategies.bridges.parts import leave_idle_blocks_alone, zero_missing_gradients
from strategies.phase import Phase, Step, Update

HANGS = ("AGEMPlugin", "EWCPlugin", "GEMPlugin", "LwFPlugin", "MASPlugin", "ReplayPlugin", "RWalkPlugin", "SynapticIntelligencePlugin")
"""Plug-ins that end where Avalanche's own loop ends with them (tests)."""

STEERS = "steers Avalanche's loop or its optimiser, and the steps are our engine's"
OTHER_NETWORK = "asks for a network or an answer of its own"
REFUSED = {
    "EarlyStoppingPlugin": f"{STEERS}; use evaluate.validate_every",
    "LRSchedulerPlugin": f"{STEERS}; use train.schedule",
    "EvaluationPlugin": "tests, which our engine does",
    "GDumbPlugin": "learns from its memory alone, after the stream; use gdumb",
    "FromScratchTrainingPlugin": "puts another network in the place of the one that our engine trains; use --strategy joint",
    "MIRPlugin": "looks for its step size in an optimiser that is not the one that steps; use mir",
    "RARPlugin": "differentiates a copy of the network that it takes apart with torchvision",
    "BiCPlugin": "sets an experience's data, which has no setter in avalanche-lib 0.6; use bic",
    "GSS_greedyPlugin": "keeps images of another shape than ours",
    "GenerativeReplayPlugin": OTHER_NETWORK,
    "TrainGeneratorAfterExpPlugin": OTHER_NETWORK,
    "CWRStarPlugin": OTHER_NETWORK,
    "CoPEPlugin": OTHER_NETWORK,
    "LFLPlugin": OTHER_NETWORK,
    "FeatureDistillationPlugin": OTHER_NETWORK,
    **dict.fromkeys(("MemoryNCMUpdate", "CurrentDataNCMUpdate", "NCMOracle"), OTHER_NETWORK),
    **dict.fromkeys(("MemoryFeCAMUpdate", "CurrentDataFeCAMUpdate", "FeCAMOracle"), OTHER_NETWORK),
}
"""Plug-ins that do not, and why."""


@dataclass(frozen=True, kw_only=True)
class PluggedConfig:
    """Options of `naive+avalanche:PLUGIN`.

    Attributes:
        plugin: the class of avalanche.training.plugins; part of the name.
        plugins: its arguments, for instance strategy.plugins.ReplayPlugin.mem_size=200, and further plug-ins.
    """

    plugin: str = ""
    plugins: Mapping[str, Any] = field(default_factory=dict)


class Arriving:
    """Batches of an experience: ours, or those that a plug-in has put in their place.

    Args:
        owner: the strategy.
        experience: what is learned.
    """

    def __init__(self, owner: Plugged, experience: Experience) -> None:
        self.owner = owner
        self.experience = experience
        self.ours = owner.shuffled(experience.train)

    @property
    def _theirs(self) -> Any:
        # What plug-ins have left as the data loader; empty where it is ours, and before the experience has begun.
        return self.owner.theirs.dataloader

    def __len__(self) -> int:
        return len(self._theirs) or len(self.ours)

    def epoch(self, generator_for: GeneratorFor) -> Iterator[Batch]:
        """One pass.

        Args:
            generator_for: where the order of ours comes from.

        Yields:
            Batches.
        """
        if not self._theirs:
            yield from self.ours.epoch(generator_for)
            return
        index, device = self.experience.index, self.owner.setup.device
        for x, y, *_, tasks in self._theirs:
            yield Batch(x.to(device), y.to(device), tasks.to(device), None, tuple(range(index + 1)))


class Plugged(Bridged):
    """Fine-tuning by our engine, with plug-ins of Avalanche."""

    Config = PluggedConfig

    def prepare(self, setup: Setup) -> None:
        """Build the network, the plug-ins, and the strategy of Avalanche that they look at.

        Args:
            setup: what the learner will meet, and how it is trained.

        Raises:
            UserError: Avalanche is not installed, or a plug-in cannot be hung on our engine.
        """
        super().prepare(setup)
        asked = {self.config.plugin: True, **self.config.plugins}
        if any(path.lower().startswith(f"{self.config.plugin.lower()}.") for path in self.config.plugins):
            del asked[self.config.plugin]
        for path in asked:
            name = find("plug-in", "avalanche.training.plugins", path.partition(".")[0], "before_training_exp").__name__
            if name not in HANGS:
                why = REFUSED.get(name, "is not known to end where Avalanche's own loop ends with it")
                raise UserError(f"{name} cannot be hung on our engine: it {why}; try avalanche:Naive. These can: {', '.join(HANGS)}")
        plugins = made_plugins(asked)
        owner = self

        class Watched(find("strategy", "avalanche.training.supervised", "Naive", "train")):  # type: ignore[misc]
            """What plug-ins look at; our engine trains."""

            def make_train_dataloader(self, **arguments: Any) -> None:
                assert owner.unchanged(self.adapted_dataset)
                self.dataloader: list[Any] = []

        self.theirs = make(Watched, "Naive", self.arguments([*plugins.values()]), {}, "strategy.plugins")
        self.steps = 0

    def train_mode(self) -> None:
        """Put the network into training mode, and what Avalanche sees of it."""
        super().train_mode()
        self.theirs.model.train()

    def phases(self, experience: Experience) -> list[Phase]:
        """Training, with the plug-ins around it and in it.

        Args:
            experience: what is to be learned.

        Returns:
            The phase.

        Raises:
            UserError: the run was stopped before.
        """
        if experience.index != self.learned:
            raise UserError(NOT_RESUMED)
        update = Update(
            loss=self.loss, parameters=self.network.parameters, after_backward=self._after_backward, after_step=self._after_step
        )
        self.batches = Arriving(self, experience)
        begin, end = (lambda: self._begin(experience)), (lambda: self._end(experience))
        return [Phase(name="train", batches=self.batches, updates=(update,), begin=begin, end=end)]

    def loss(self, batch: Batch) -> Step:
        """The loss of a batch, and what plug-ins add to it.

        Args:
            batch: of the experience, or what a plug-in has put in its place.

        Returns:
            The step; its logits are of full width.

        Raises:
            UserError: the run was stopped inside this experience.
        """
        theirs = self.theirs
        if theirs.experience is None:
            raise UserError(NOT_RESUMED)
        tasks = batch.tasks if batch.task is None else torch.full_like(batch.y, batch.task)
        theirs.mbatch = [batch.x, batch.y, tasks]
        if self.steps % len(self.batches) == 0:
            theirs._before_training_epoch()
        theirs._before_training_iteration()
        theirs.loss = theirs._make_empty_loss()
        theirs._before_forward()
        theirs.mb_output = theirs.forward()
        theirs._after_forward()
        theirs.loss = theirs.loss + theirs.criterion()
        theirs._before_backward()
        return Step(theirs.loss, theirs.mb_output, batch.y)

    def _begin(self, experience: Experience) -> None:
        theirs = self.theirs
        self.experience, self.steps = experience.index, 0
        theirs.is_training = True
        theirs.experience = self.stream[experience.index]
        theirs.model.train()
        theirs._before_training()
        theirs._before_training_exp()

    def _after_backward(self) -> None:
        self.theirs._after_backward()
        self.theirs._before_update()
        leave_idle_blocks_alone(self.network)

    def _after_step(self) -> None:
        zero_missing_gradients(self.network)
        self.theirs._after_update()
        self.theirs._after_training_iteration()
        self.steps += 1
        if self.steps % len(self.batches) == 0:
            self.theirs._after_training_epoch()

    def _end(self, experience: Experience) -> None:
        theirs = self.theirs
        try:
            theirs._after_training_exp()
        except Exception as error:
            what = f"{type(error).__name__}: {shortened(error, 200)}"
            raise UserError(f"a plug-in of Avalanche cannot keep what it needs of experience {experience.index} ({what})") from error
        theirs._after_training()
        theirs.mbatch = theirs.mb_output = None
        self.learned += 1
