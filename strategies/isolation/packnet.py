"""PackNet: after each experience the smaller weights are pruned and left to the experiences to come; what is kept never moves again.

Arun Mallya, Svetlana Lazebnik. *PackNet: adding multiple tasks to a single network by iterative pruning.* CVPR 2018, arXiv 1711.05769. For
each experience: train all weights that nobody owns, beside the fixed ones of earlier experiences; in each layer, of those weights, set the
share `prune` that is smallest in magnitude to 0; retrain the others, which belong to the experience from then on. An experience is answered
with its own weights and those of earlier ones, the others at 0: nothing is forgotten, and the task label is needed.

Weights are the backbone's tensors of two and more dimensions. Biases and norms, with their statistics, are fixed after the first
experience, as in the paper; heads belong to their experiences anyway.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import Parameter

from scenarios.errors import UserError
from scenarios.experience import Experience
from scenarios.options import option
from strategies.base import Setup, Strategy
from strategies.networks.norms import norms
from strategies.phase import Phase, Update


@dataclass(frozen=True, kw_only=True)
class PacknetConfig:
    """Options of `packnet`.

    Attributes:
        prune: share of the free weights of a layer that are set free again after each experience.
        retrain: passes (or iterations) after pruning, as a share of those before.
    """

    prune: float = option(0.5, low=0, high=1)
    retrain: float = option(0.5, above=0)


class Packnet(Strategy):
    """Weights handed out to one experience after another."""

    Config = PacknetConfig
    settings = frozenset({"task"})
    task_dependent = True
    needs_label = True

    def prepare(self, setup: Setup) -> None:
        """Build the network, whose weights nobody owns yet.

        Args:
            setup: what it will meet, and how it is trained.

        Raises:
            UserError: tasks are mixed, or share outputs.
        """
        super().prepare(setup)
        if any(each.train.task is None for each in setup.scenario.experiences):
            raise UserError("packnet hands its weights to one task at a time; leave scenario.blurry and scenario.gaussian out")
        if len(setup.scenario.blocks) < len(setup.scenario):
            raise UserError("packnet keeps a head for each experience, and here classes come back; choose another strategy")
        trained = {name: each for name, each in self.network.backbone.named_parameters() if each.requires_grad}
        self.weights: dict[str, Parameter] = {name: each for name, each in trained.items() if each.ndim > 1}
        self.others: dict[str, Parameter] = {name: each for name, each in trained.items() if each.ndim < 2}
        # 0 where a weight is free, else the number of its experience, from 1.
        self.owners = {name: torch.zeros_like(each, dtype=torch.int16) for name, each in self.weights.items()}
        self.kept: dict[str, Tensor] = {}
        self.learning = self.learned = 0

    def phases(self, experience: Experience) -> list[Phase]:
        """Train, prune, retrain.

        Args:
            experience: what is to be learned.

        Returns:
            Two phases.
        """
        self.learning = experience.index
        number, train = experience.index + 1, self.setup.train

        def phase(name: str, movable: int, share: float, end: Callable[[], None]) -> Phase:
            update = Update(loss=self.loss, parameters=self.network.parameters, after_step=partial(self._hold, movable))
            passes, steps = (None if length is None else max(1, round(share * length)) for length in (train.epochs, train.iterations))
            batches = self.shuffled(experience.train)
            length = {"iterations": steps} if steps else {"epochs": passes}
            return Phase(name=name, batches=batches, updates=(update,), begin=self._keep, end=end, **length)

        retrain = phase("retrain", number, self.config.retrain, partial(self._close, number))
        return [phase("train", 0, 1.0, partial(self._prune, number)), retrain]

    @torch.no_grad()
    def _keep(self) -> None:
        self.kept = {name: each.detach().clone() for name, each in {**self.weights, **self.others}.items()}

    @torch.no_grad()
    def _hold(self, movable: int) -> None:
        # Momentum and decay move what has no gradient of its own; what is fixed is put back.
        for name, weight in self.weights.items():
            weight.copy_(torch.where(self.owners[name] == movable, weight, self.kept[name]))
        if self.learning:
            for name, other in self.others.items():
                other.copy_(self.kept[name])

    @torch.no_grad()
    def _prune(self, number: int) -> None:
        for name, weight in self.weights.items():
            free = torch.nonzero(self.owners[name].flatten() == 0).flatten()
            count = round(self.config.prune * len(free))
            order = weight.flatten()[free].abs().argsort(descending=True, stable=True)
            owners = self.owners[name].flatten().index_fill(0, free[order[: len(free) - count]], number)
            self.owners[name] = owners.view_as(weight)
            weight.mul_(self.owners[name] != 0)

    def _close(self, number: int) -> None:
        self.kept, self.learned = {}, number

    def train_mode(self) -> None:
        """Put the network into training mode; after the first experience norms stay as they are."""
        super().train_mode()
        if self.learning:
            for norm in norms(self.network).values():
                norm.eval()

    def logits(self, x: Tensor, task: int | None = None) -> Tensor:
        """Answer with the weights of an experience and of those before it.

        Args:
            x: float [B, C, H, W], normalised.
            task: the experience; None for all weights.

        Returns:
            [B, K].
        """
        self.network.eval()
        if task is None:
            return self.network(x)
        chosen = {f"backbone.{name}": each * self._of(name, task) for name, each in self.weights.items()}
        return functional_call(self.network, chosen, (x,))

    def _of(self, name: str, task: int) -> Tensor:
        owners = self.owners[name]
        return (owners > 0) & (owners <= task + 1)

    def answers(self, task: int) -> bool:
        """Whether an experience has weights.

        Args:
            task: the experience.

        Returns:
            True once it has been learned.
        """
        return task < self.learned

    def state_dict(self) -> dict[str, Any]:
        """The network, who owns its weights, and what is put back while it is trained.

        Returns:
            Nested dictionaries of tensors and a number.
        """
        return {**super().state_dict(), "owners": dict(self.owners), "kept": dict(self.kept), "learned": self.learned}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
        """
        super().load_state_dict(state)
        self.owners, self.kept = ({name: each.to(self.setup.device) for name, each in state[part].items()} for part in ("owners", "kept"))
        self.learned = state["learned"]

    def report(self) -> dict[str, Any]:
        """What is left, and what it takes to know who owns a weight.

        Returns:
            Share of weights that are free, and bytes of the owners' numbers, at as many bits as they need.
        """
        total = sum(each.numel() for each in self.owners.values())
        free = sum(int((each == 0).sum()) for each in self.owners.values())
        bits = math.ceil(math.log2(len(self.setup.scenario) + 1))
        return {"free_weights": free / max(total, 1), "owner_bytes": -(-total * bits // 8)}

