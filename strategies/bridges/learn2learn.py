"""learn2learn's learners (0.2) under our episodes, metrics and plots: `learn2learn:MAML`, `learn2learn:MetaSGD`, `learn2learn:ANIL`.

Their code clones the network and adapts the clone, one task after another; our engine draws the episodes, takes the outer step and tests.
Any network will do: theirs need not be taken apart into layers as ours must. On networks without batch norm the outer gradient is that of
our `maml` and `anil`. With it, theirs adapts the norms' scale and shift as well, which ours leaves to the outer loop. Norms always go by
the batch at hand (`transductive`), support and queries apart.

MetaSGD (Li, Zhou, Chen & Li, arXiv:1707.09835) also learns the inner step size of every weight. ANIL is their MAML of the head, over
features that are computed once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from scenarios.bridges.foreign import library
from scenarios.episodes.episodes import EpisodeBatch, EpisodeBatches
from scenarios.errors import UserError, nearest
from scenarios.options import option
from strategies.base import Setup, Strategy
from strategies.phase import Phase, Step, Update
from strategies.unread import MEASURED_IN_EPISODES

LEARNERS = {"maml": "MAML", "metasgd": "MetaSGD", "anil": "ANIL"}
BATCHES_A_PASS = 100
"""Meta-batches in an epoch of episodes, as for our own learners."""


@dataclass(frozen=True, kw_only=True)
class Learn2LearnConfig:
    """Options of `learn2learn:LEARNER`; defaults as those of our `maml`.

    Attributes:
        learner: MAML, MetaSGD or ANIL; part of the name.
        inner_steps: adaptation steps in training; none for 1 on images of one channel, else 5.
        test_steps: adaptation steps in evaluation; none for as many as in training.
        inner_rate: the inner step size, or where MetaSGD's start from; none for 0.4 on images of one channel, else 0.01.
        first_order: take inner gradients as constants.
        meta_batch: episodes a step; none for 32 on images of one channel, else 4; 4 on embedded data.
    """

    learner: str = ""
    inner_steps: int | None = option(None, low=1)
    test_steps: int | None = option(None, low=1)
    inner_rate: float | None = option(None, low=0)
    first_order: bool = False
    meta_batch: int | None = option(None, low=1)


class Learn2Learn(Strategy):
    """A learner of learn2learn."""

    Config = Learn2LearnConfig
    settings = frozenset({"episodic"})
    recommended: ClassVar[Mapping[str, Any]] = {"train.optimizer": "adam", "train.learning_rate": 1e-3}
    unread: ClassVar[Mapping[str, str]] = MEASURED_IN_EPISODES
    config: Learn2LearnConfig

    def prepare(self, setup: Setup) -> None:
        """Build the network, and their learner around it.

        Args:
            setup: what it will meet, and how it is trained.

        Raises:
            UserError: learn2learn is not installed or has no such learner, or MetaSGD is to leave a part of the network alone.
        """
        super().prepare(setup)
        self.learner = self.config.learner.lower()
        if self.learner not in LEARNERS:
            known = LEARNERS.values()
            raise UserError(f"there is no bridge to '{self.config.learner}' of learn2learn{nearest(self.config.learner, known)}")
        algorithms = library("learn2learn.algorithms")
        adapted = self.network.head if self.learner == "anil" else self.network
        if self.learner == "metasgd":
            if not all(parameter.requires_grad for parameter in self.network.parameters()):
                raise UserError("MetaSGD of learn2learn adapts all of a network; leave network.freeze out, or take learn2learn:MAML")
            self.theirs = algorithms.MetaSGD(adapted, lr=self.inner_rate, first_order=self.config.first_order)
        else:
            self.theirs = algorithms.MAML(adapted, lr=self.inner_rate, first_order=self.config.first_order, allow_nograd=True)
        # A name of its own for what is learned beside the network, as our own learners have it.
        self.parts = nn.ModuleDict({"rates": self.theirs.lrs} if self.learner == "metasgd" else {})
        self.iteration = 0

    @property
    def inner_steps(self) -> int:
        """Adaptation steps in training."""
        return self.config.inner_steps or (1 if self._grey else 5)

    @property
    def test_steps(self) -> int:
        """Adaptation steps in evaluation."""
        return self.config.test_steps or self.inner_steps

    @property
    def inner_rate(self) -> float:
        """The inner step size, or where it starts from."""
        return self.config.inner_rate if self.config.inner_rate is not None else (0.4 if self._grey else 0.01)

    @property
    def meta_batch(self) -> int:
        """Episodes a step."""
        quick = self.setup.scenario.data["origin"] == "embedded"
        return self.config.meta_batch or (32 if self._grey and not quick else 4)

    @property
    def _grey(self) -> bool:
        return self.setup.scenario.input_shape[0] == 1

    def plain(self) -> Strategy:
        """The same learner, which is trained on one domain after another anyway.

        Returns:
            A learner, not yet prepared.
        """
        return type(self)(self.config)

    def phases(self, experience: Any) -> list[Phase]:
        """One phase of meta-training.

        Args:
            experience: whose training stream is learned from.

        Returns:
            The phase.
        """
        update = Update(loss=self.episode_loss, parameters=self.parameters, after_step=self._count)  # type: ignore[arg-type]
        batches: Any = EpisodeBatches(experience.train, self.meta_batch, BATCHES_A_PASS)
        return [Phase(name="meta-train", batches=batches, updates=(update,))]

    def _count(self) -> None:
        self.iteration += 1

    def parameters(self) -> list[nn.Parameter]:
        """Everything that the outer loop learns.

        Returns:
            The network's parameters, then MetaSGD's step sizes.
        """
        return [*self.network.parameters(), *self.parts.parameters()]

    def episode_loss(self, batch: EpisodeBatch) -> Step:
        """The mean loss of a meta-batch's queries.

        Args:
            batch: the episodes.

        Returns:
            The step; padded queries have the label -100.
        """
        losses, shown = [], batch.query_x.new_zeros(*batch.query_y.shape, self.network.head.width)
        for e, support_x, support_y, query_x, query_y in _tasks(batch):
            logits = self._answers(support_x, support_y, query_x, self.inner_steps, training=True)[-1]
            losses.append(functional.cross_entropy(logits, query_y))
            shown[e, : len(query_y)] = logits.detach()
        return Step(torch.stack(losses).mean(), shown.flatten(0, 1), batch.query_y.flatten())

    def episode_logits(self, batch: EpisodeBatch, steps: bool = False) -> Tensor:
        """Answer episodes. Query labels are not looked at.

        Args:
            batch: the episodes.
            steps: also answer after every number of adaptation steps, from none.

        Returns:
            [E, Q, N]; with `steps`, [T + 1, E, Q, N]; zeros for padding.
        """
        answered = batch.query_x.new_zeros(self.test_steps + 1, *batch.query_y.shape, self.network.head.width)
        with torch.enable_grad(), self._averages_left_alone():
            for e, support_x, support_y, query_x, _ in _tasks(batch):
                found = self._answers(support_x, support_y, query_x, self.test_steps, training=False, every=steps)
                answered[-len(found) :, e, : len(query_x)] = torch.stack(found).detach()
        return answered if steps else answered[-1]

    def _answers(
        self, support_x: Tensor, support_y: Tensor, query_x: Tensor, steps: int, *, training: bool, every: bool = False
    ) -> list[Tensor]:
        # Logits of the queries after each number of steps, or after the last alone.
        self.network.train()
        if self.learner == "anil":
            support_x, query_x = self.network.backbone(support_x), self.network.backbone(query_x)
        learner = self.theirs.clone()
        found = [learner(query_x)] if every else []
        for step in range(steps):
            learner.adapt(functional.cross_entropy(learner(support_x), support_y), first_order=self.config.first_order or not training)
            if every or step + 1 == steps:
                found.append(learner(query_x))
        return found

    @contextlib.contextmanager
    def _averages_left_alone(self) -> Iterator[None]:
        # Norms move their averages in training mode, and their clones share them with the network.
        kept = [buffer.clone() for buffer in self.network.buffers()]
        yield
        with torch.no_grad():
            for buffer, before in zip(self.network.buffers(), kept):
                buffer.copy_(before)

    def diagnostics(self, batch: EpisodeBatch) -> dict[str, Tensor]:
        """What the method did inside episodes: nothing is told.

        Args:
            batch: the episodes.

        Returns:
            Nothing.
        """
        return {}

    def features(self, x: Tensor) -> Tensor:
        """What the head sees before any adaptation; norms go by the batch.

        Args:
            x: float [B, C, H, W], normalised.

        Returns:
            [B, F].
        """
        self.network.train()
        with self._averages_left_alone():
            return self.network.features(x)

    def logits(self, x: Tensor, task: int | None = None) -> Tensor:
        """The head's answer before any adaptation.

        Args:
            x: float [B, C, H, W], normalised.
            task: not used.

        Returns:
            [B, N].
        """
        return self.network.head(self.features(x))

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to go on bit for bit.

        Returns:
            The network, MetaSGD's step sizes, and the iterations done.
        """
        return {**super().state_dict(), "parts": self.parts.state_dict(), "iteration": self.iteration}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
        """
        super().load_state_dict(state)
        self.parts.load_state_dict(state["parts"])
        self.iteration = state["iteration"]

    def report(self) -> dict[str, Any]:
        """The protocol that every table needs.

        Returns:
            The inner loop's, the batch-norm mode, and the episodes a step.
        """
        return {
            "bn_mode": "transductive",
            "meta_batch": self.meta_batch,
            "inner_steps": self.inner_steps,
            "test_steps": self.test_steps,
            "inner_rate": self.inner_rate,
            "order": "first" if self.config.first_order else "second",
            "engine": "learn2learn",
        }


def _tasks(batch: EpisodeBatch) -> Iterator[tuple[int, Tensor, Tensor, Tensor, Tensor]]:
    # Padding stands behind the real images.
    for e in range(len(batch.support_y)):
        support, query = batch.support_y[e] >= 0, batch.query_y[e] >= 0
        yield e, batch.support_x[e][support], batch.support_y[e][support], batch.query_x[e][query], batch.query_y[e][query]
