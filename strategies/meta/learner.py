"""What learners of episodes share: meta-batches as training steps, the batch-norm mode, and answers to whole episodes.

A training step is a meta-batch; its loss is the mean over episodes of the queries' cross-entropy. `episode_logits` answers episodes without
looking at a query's label, and `diagnostics` shows what a method did inside them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from scenarios.episodes.episodes import EpisodeBatch, EpisodeBatches
from scenarios.episodes.mixture import MixedEpisodes
from scenarios.errors import UserError
from scenarios.options import option
from strategies.base import Setup, Strategy
from strategies.meta.episodic.inner import cross_entropy
from strategies.meta.episodic.network import FunctionalNetwork, Params
from strategies.meta.episodic.normalise import ByBatch, ByGiven
from strategies.meta.episodic.passes import BnMode
from strategies.phase import Phase, Step, Update
from strategies.unread import MEASURED_IN_EPISODES

BATCHES_A_PASS = 100
"""Meta-batches in an epoch of episodes."""


@dataclass(frozen=True, kw_only=True)
class EpisodicConfig:
    """Options of all learners that are asked episodes.

    Attributes:
        bn_mode: what batch norms normalise by: transductive (every pass by its own batch, queries jointly), support (queries by the
            support set's statistics), per-example (each query with the support set alone) or running (moving averages from training).
        bn_eps: added to variances.
        stream: of several domains each is learned in turn and nothing is done against forgetting (naive), or at each a new learner is
            trained on all met so far, with as many steps as these had together (joint): the upper bound.
    """

    bn_mode: BnMode = "transductive"
    bn_eps: float = option(1e-5, low=0)
    stream: Literal["naive", "joint"] = "naive"


@dataclass(frozen=True, kw_only=True)
class MetaConfig(EpisodicConfig):
    """Options of all learners that learn from episodes.

    Attributes:
        meta_batch: episodes a step; none for 32 on images of one channel, else 4; 4 on embedded data, for a quick look.
    """

    meta_batch: int | None = option(None, low=1)


class MetaStrategy(Strategy):
    """The ground of learners of episodes.

    Args:
        config: the options.
    """

    Config = MetaConfig
    settings = frozenset({"episodic"})
    recommended: ClassVar[Mapping[str, Any]] = {"train.optimizer": "adam", "train.learning_rate": 1e-3}
    unread: ClassVar[Mapping[str, str]] = MEASURED_IN_EPISODES
    config: MetaConfig
    training: ClassVar[str] = "meta-train"
    """What its phase is called."""

    def prepare(self, setup: Setup) -> None:
        """Build the network, and what the method learns beside it.

        Args:
            setup: what it will meet, and how it is trained.

        Raises:
            UserError: a part of the network is frozen, or bf16 was asked for, which has too few digits for inner steps' small differences.
        """
        if setup.train.precision != "float32":
            raise UserError("learners of episodes compute in float32 alone; leave train.precision=bf16 out")
        super().prepare(setup)
        if not all(parameter.requires_grad for parameter in self.network.parameters()):
            raise UserError("learners of episodes train and adapt all of their network; leave network.freeze out or choose another network")
        self.net = FunctionalNetwork(self.network)
        self.parts = self._new_parts()
        self.iteration = 0

    def plain(self) -> Strategy:
        """The same learner, trained on one domain after another.

        Returns:
            A learner, not yet prepared.
        """
        return type(self)(replace(self.config, stream="naive"))

    def _new_parts(self) -> nn.ModuleDict:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.setup.randomness.key("parts"))
            parts = self.build_parts()
        return parts.to(device=self.setup.device, dtype=self.theta[self.net.head.weight].dtype)

    def build_parts(self) -> nn.ModuleDict:
        """What the method learns beside the network, from the run's seed.

        Returns:
            Modules by name.
        """
        return nn.ModuleDict()

    def parameters(self) -> list[nn.Parameter]:
        """Everything that the outer loop learns.

        Returns:
            The network's parameters, then the method's.
        """
        return [*self.network.parameters(), *self.parts.parameters()]

    @property
    def theta(self) -> Params:
        """The network's parameters by name."""
        return dict(self.network.named_parameters())

    @property
    def grey(self) -> bool:
        """Whether images have one channel, as Omniglot's."""
        return self.setup.scenario.input_shape[0] == 1

    @property
    def meta_batch(self) -> int:
        """Episodes a step."""
        quick = self.setup.scenario.data["origin"] == "embedded"
        return self.config.meta_batch or (32 if self.grey and not quick else 4)

    def phases(self, experience: Any) -> list[Phase]:
        """One phase of meta-training.

        Args:
            experience: the domain that is learned.

        Returns:
            The phase.
        """
        together = self.config.stream == "joint"
        domains: Any = self.setup.scenario.experiences[: experience.index + 1] if together else (experience,)
        batches, loss = self.source(domains), self.loss_on(domains)
        update = Update(loss=loss, parameters=self.parameters, after_backward=self.after_backward, after_step=self._count)
        if not together:
            return [Phase(name=self.training, batches=batches, updates=(update,))]
        train = self.setup.train
        steps = len(domains) * (train.epochs * BATCHES_A_PASS if train.iterations is None else train.iterations)
        name = f"{self.training} on all"
        return [Phase(name=name, batches=batches, updates=(update,), iterations=steps, begin=self._start_anew, fresh=True)]

    def source(self, domains: Sequence[Any]) -> Any:
        """What a step learns from.

        Args:
            domains: that are learned, one or all so far.

        Returns:
            Passes over meta-batches.
        """
        if self.config.stream == "naive":
            return EpisodeBatches(domains[0].train, self.meta_batch, BATCHES_A_PASS)
        return MixedEpisodes(tuple(domain.train for domain in domains), self.meta_batch, BATCHES_A_PASS)

    def loss_on(self, domains: Sequence[Any]) -> Callable[[Any], Step]:
        """The loss that a step descends on.

        Args:
            domains: that are learned.

        Returns:
            From what `source` gives to the step.
        """
        return self.episode_loss

    def _start_anew(self) -> None:
        self.network.load_state_dict(self.setup.build_network().state_dict())
        self.parts.load_state_dict(self._new_parts().state_dict())
        self.iteration = 0

    def after_backward(self) -> None:
        """Look at the outer gradient before the optimiser does; nothing is done here."""

    def episode_loss(self, batch: EpisodeBatch) -> Step:
        """The loss of a meta-batch.

        Args:
            batch: the episodes.

        Returns:
            The step; padded queries have the label -100.
        """
        logits = self.answer(batch, training=True)
        return Step(cross_entropy(logits, query_targets(batch, logits)).mean(), logits.detach().flatten(0, 1), batch.query_y.flatten())

    def answer(self, batch: EpisodeBatch, training: bool) -> Tensor:
        """Answer episodes, with the graph of the answer; here by the head as it is.

        Args:
            batch: the episodes.
            training: whether moving averages are to be moved rather than used.

        Returns:
            [E, Q, N].
        """
        return self.logits(batch.query_x.flatten(0, 1)).unflatten(0, batch.query_y.shape)

    @torch.no_grad()
    def episode_logits(self, batch: EpisodeBatch, steps: bool = False) -> Tensor:
        """Answer episodes. Query labels are not looked at.

        Args:
            batch: the episodes.
            steps: also answer after every number of adaptation steps, from none.

        Returns:
            [E, Q, N]; with `steps`, where the learner adapts in steps, [T + 1, E, Q, N].
        """
        return self.answer(batch, training=False)

    def pseudo_labels(self, batch: EpisodeBatch) -> Tensor | None:
        """The labels that the learner itself gives the queries.

        Args:
            batch: the episodes.

        Returns:
            int64 [E, T + 1, Q] after each number of adaptation steps, from none, -1 where there is none; None for a learner without.
        """
        return None

    def diagnostics(self, batch: EpisodeBatch) -> dict[str, Tensor]:
        """What the method did inside episodes, for plots and tables.

        Args:
            batch: the episodes.

        Returns:
            Tensors by name; empty where there is nothing to show.
        """
        return {}

    def features(self, x: Tensor) -> Tensor:
        """What the head sees before any adaptation.

        Args:
            x: float [B, C, H, W], normalised.

        Returns:
            [B, F]; batch norms use moving averages in mode `running`, else the batch.
        """
        running = self.config.bn_mode == "running"
        normalise = ByGiven(self.config.bn_eps, self.net.running()) if running else ByBatch(self.config.bn_eps)
        return self.net.features(self.theta, x, normalise)

    def logits(self, x: Tensor, task: int | None = None) -> Tensor:
        """The head's answer before any adaptation.

        Args:
            x: float [B, C, H, W], normalised.
            task: not used.

        Returns:
            [B, N].
        """
        return self.net.head(self.theta, self.features(x))

    def train_mode(self) -> None:
        """Put the network into training mode."""
        self.network.train()

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to go on bit for bit.

        Returns:
            The network, the method's own modules, and the iterations done.
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
            The batch-norm mode, its eps, and the episodes a step.
        """
        return {"bn_mode": self.config.bn_mode, "bn_eps": self.config.bn_eps, "meta_batch": self.meta_batch}

    def _count(self) -> None:
        self.iteration += 1


def one_hot(labels: Tensor, ways: int, dtype: torch.dtype) -> Tensor:
    """Labels as distributions.

    Args:
        labels: int64 [...]; what lies outside 0..ways-1 (padding) becomes a row of zeros.
        ways: N.
        dtype: of the result.

    Returns:
        [..., N].

    Example:
        >>> one_hot(torch.tensor([1, -100]), 2, torch.float32).tolist()
        [[0.0, 1.0], [0.0, 0.0]]
    """
    return (labels[..., None] == torch.arange(ways, device=labels.device)).to(dtype)


def support_targets(batch: EpisodeBatch, outputs: int) -> Tensor:
    """The support set's labels as distributions that weigh an episode's real images alike.

    Args:
        batch: the episodes.
        outputs: N, at least the episodes' ways.

    Returns:
        [E, S, N], summing to 1 over S and N.
    """
    return _shares(batch.support_y, outputs, batch.support_x.dtype)


def query_targets(batch: EpisodeBatch, logits: Tensor) -> Tensor:
    """The queries' labels, likewise.

    Args:
        batch: the episodes.
        logits: [..., N], for width and type.

    Returns:
        [E, Q, N].
    """
    return _shares(batch.query_y, logits.shape[-1], logits.dtype)


def _shares(labels: Tensor, ways: int, dtype: torch.dtype) -> Tensor:
    targets = one_hot(labels, ways, dtype)
    return targets / targets.sum((1, 2), keepdim=True)


def rows(mask: Tensor | None, like: Tensor) -> Tensor | None:
    """A mask as weights.

    Args:
        mask: bool [E, B], or None.
        like: for the type.

    Returns:
        [E, B], or None.
    """
    return None if mask is None else mask.to(like.dtype)
