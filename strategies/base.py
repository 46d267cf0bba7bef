"""What every strategy has: options, a network, phases, predictions, and a state that can be saved.

A strategy is made from its options (`strategies.make`), then prepared for a scenario. It returns losses and keeps its own state; it never
loops, prints, or touches somebody else's tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from scenarios.batches import Shuffled
from scenarios.experience import Batch, Examples, Experience, Scenario
from scenarios.random import Randomness
from strategies.networks.network import InPlay, Mixture, Network
from strategies.phase import Phase, Step, TrainConfig, Update


@dataclass(frozen=True, kw_only=True)
class NoOptions:
    """A strategy without options."""


@dataclass(frozen=True, eq=False)
class Setup:
    """What a strategy is prepared with.

    Attributes:
        scenario: what it will meet, its batches made on the device.
        train: how networks are trained.
        build_network: makes the run's network, newly initialised from the run's seed; the same weights at every call.
        randomness: of the run.
        device: where it computes.
    """

    scenario: Scenario
    train: TrainConfig
    build_network: Callable[[], Network]
    randomness: Randomness
    device: torch.device


class Strategy:
    """Fine-tuning, and the ground of all other strategies: override what differs.

    Args:
        config: the options.
    """

    Config: ClassVar[type] = NoOptions
    settings: ClassVar[frozenset[str]] = frozenset({"task", "domain", "class"})
    """Settings that the strategy can work in; `episodic` for learners of episodes."""
    recommended: ClassVar[Mapping[str, Any]] = {}
    """Options of a run (path to value) that suit the strategy where the scenario recommends nothing."""
    task_dependent: ClassVar[bool] = False
    """Whether `logits` depends on the task label; if not, one pass answers with and without it."""
    needs_label: bool = False
    """Whether `logits` cannot answer without the task label."""
    needs_boundaries: ClassVar[bool] = True
    """Whether the method must be told where an experience ends, which nobody does in an online stream."""

    unread: ClassVar[Mapping[str, str]] = {}
    """Options of `train` that the learner has no use for, and what is to be done instead of giving them."""
    foreign: ClassVar[bool] = False
    """Whether another library reads the stream, as it was made, and keeps what no state of ours holds."""

    setup: Setup
    network: Network

    def __init__(self, config: Any) -> None:
        self.config = config

    def prepare(self, setup: Setup) -> None:
        """Get ready for a scenario: build the network and whatever else the method keeps.

        Args:
            setup: what it will meet, and how it is trained.
        """
        self.setup = setup
        self.network = setup.build_network()

    def plain(self) -> Strategy:
        """The learner that does nothing against forgetting, on scenarios that this one can meet: probes train their anchors with it.

        Returns:
            A learner, not yet prepared.
        """
        return Strategy(NoOptions())

    def phases(self, experience: Experience) -> list[Phase]:
        """What is done to learn an experience. Called again when a run resumes inside one, after `load_state_dict`.

        Args:
            experience: what is to be learned; the last that the learner may read from.

        Returns:
            The phases, in order.
        """
        update = Update(loss=self.loss, parameters=self.network.parameters)
        return [Phase(name="train", batches=self.shuffled(experience.train), updates=(update,))]

    def loss(self, batch: Batch) -> Step:
        """Cross-entropy over the outputs in play.

        Args:
            batch: examples of the experience that is being learned.

        Returns:
            The step.
        """
        return self.fit(self.network.features(batch.x), batch)

    def fit(self, features: Tensor, batch: Batch) -> Step:
        """Cross-entropy over the outputs in play, from features that are known already.

        Args:
            features: [B, F], of the batch's images.
            batch: the batch.

        Returns:
            The step; its logits and targets count from the first output in play.
        """
        outputs = self.in_play(batch)
        if isinstance(outputs, Mixture):
            logits, targets = self.network.head(features, outputs), batch.y
        else:
            # Outputs out of play are not even padded with: on a small network that costs a twentieth of the step.
            logits = self.network.head.narrow(features, outputs)
            targets = batch.y - outputs.start if outputs.start else batch.y
        return Step(nn.functional.cross_entropy(logits, targets), logits, targets)

    def in_play(self, batch: Batch) -> InPlay:
        """The outputs that a training batch's loss looks at.

        In setting `task` each example looks at its own experience's outputs, in setting `class` all look at everything that the data being
        learned can have, in setting `domain` at the one head.

        Args:
            batch: the batch.

        Returns:
            A range for all examples or, where tasks are mixed and have outputs of their own, what each example looks at.
        """
        scenario = self.setup.scenario
        if batch.task is not None:
            return scenario.in_play(batch.task)
        if scenario.setting == "task":
            blocks = dict.fromkeys(scenario.experiences[index].outputs for index in batch.present)
            return Mixture(self.task_mask[batch.tasks], tuple(blocks))
        return scenario.in_play(batch.present[-1])

    @property
    def task_mask(self) -> Tensor:
        """Which outputs belong to which experience: bool [experiences, outputs] on the device."""
        if not hasattr(self, "_task_mask"):
            self._task_mask = self.setup.scenario.task_mask().to(self.setup.device)
        return self._task_mask

    def shuffled(self, examples: Examples) -> Shuffled:
        """Batches of a selection as `train.*` asks for them.

        Args:
            examples: the selection.

        Returns:
            The source of batches.
        """
        train = self.setup.train
        return Shuffled(examples, train.batch_size, train.augmentation, in_order=self.setup.scenario.online)

    def logits(self, x: Tensor, task: int | None = None) -> Tensor:
        """Answer, in evaluation mode.

        Args:
            x: float [B, C, H, W], normalised.
            task: the task label, where it is given and the strategy uses it.

        Returns:
            [B, K], over the full width of the head.
        """
        self.network.eval()
        return self.network(x)

    def features(self, x: Tensor) -> Tensor:
        """What the head sees, in evaluation mode.

        Args:
            x: float [B, C, H, W], normalised.

        Returns:
            [B, F].
        """
        self.network.eval()
        return self.network.features(x)

    def answers(self, task: int) -> bool:
        """Whether an experience's test can be asked at all yet; where not, the accuracy matrix has an empty cell.

        Args:
            task: the experience.

        Returns:
            True, except for strategies that have no answer before they have met the experience.
        """
        return True

    def measure(self, scenario: Scenario) -> dict[str, Any]:
        """What the method measures of itself on the test stream once the run is over (index accuracy, for instance).

        Args:
            scenario: what it has learned.

        Returns:
            Names to plain values for the summary; empty where there is nothing.
        """
        return {}

    def remarks(self, experience: Experience) -> list[str]:
        """What the user should be told once an experience has been learned, for instance that an option had no effect.

        Args:
            experience: what has just been learned.

        Returns:
            One line each; shown, and kept in the summary as `warnings`.
        """
        return []

    def artefacts(self) -> dict[str, Tensor]:
        """Tensors that the method's own plots are drawn from, saved beside the summary.

        Returns:
            Names to tensors; empty where there are none.
        """
        return {}

    def train_mode(self) -> None:
        """Put the networks into training mode; the engine calls it before training steps."""
        self.network.train()

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to go on bit for bit.

        Returns:
            Nested dictionaries, lists and tuples of tensors and plain values.
        """
        return {"network": self.network.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state; `prepare` has been called with the same setup.

        Args:
            state: what `state_dict` gave.
        """
        self.network.load_state_dict(state["network"])

    def report(self) -> dict[str, Any]:
        """What belongs into the run's summary beside the common keys.

        Returns:
            Names to plain values; empty where there is nothing.
        """
        return {}
