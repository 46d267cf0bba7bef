"""ResCL: a source and a target network are combined layer by layer, trained on target data alone, and merged into one of the same size.

Janghyeon Lee, Donggyu Joo, Hyeong Gwon Hong, Junmo Kim. *Residual Continual Learning.* AAAI 2020, 34(04), 4553-4560, arXiv 2002.06774.
To learn experience k with the network net_s that has learned the ones before:

1. fine-tune: net_t is a copy of net_s, trained on the new data by cross-entropy on its new head.
2. combine: every unit becomes (1 + alpha_s) f_s + alpha_t f_t before its nonlinearity (`strategies/distillation/branches.py`). From alpha =
   (-1/2, 1/2) and theta_t as fine-tuned, with both networks as frozen teachers and the source branch fixed,

       min   T^2 D_KL(net_s || net_c; each old head) + T^2 D_KL(net_t || net_c; new head)
             + l1 ||(alpha_s, alpha_t)||_1 + weight_decay / 2 ||theta_t||^2

   over alpha, theta_t and the heads, on the new data; no old data, nor anything computed from them but net_s, is used. A larger l1 pulls
   towards net_s: less is forgotten, less is learned.
3. merge: the combination is affine between nonlinearities, so both branches fold into one network that computes the same in evaluation
   mode.
4. measure: one pass over the new data gives the statistics by which its batch norms are expressed anew, so that the next experience's
   training starts from the same function.

The objective, the start of alpha and the units are the paper's. Not stated there, or not to be found, hence inferred: T = 2 on both
terms, one divergence for each old head, the source branch's batch norms in evaluation mode, the target branch's in training mode, trainable
heads, decay on all of theta_t but not on heads, the proximal step for the L1 term, and the pass that measures. Stage 1 decays by
`train.weight_decay` (0 unless given), which the paper does not state either. Each stage lasts as long as `train.*` says, so an experience
costs twice naive's steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from scenarios.errors import UserError
from scenarios.experience import Batch, Experience
from scenarios.options import option
from strategies.base import Setup, Strategy
from strategies.distillation.branches import TargetNorm, combinations, combine, merge
from strategies.networks.network import Network
from strategies.networks.norms import Moments, norms
from strategies.networks.unit import require_units, units
from strategies.phase import Phase, Step, Update
from strategies.soft_targets import distillation, frozen_copy


@dataclass(frozen=True, kw_only=True)
class ResclConfig:
    """Options of `rescl`.

    Attributes:
        l1: weight of the L1 decay of the combination coefficients; larger keeps more of the old network.
        l1_step: apply that decay by a proximal step after the optimiser's, or as a subgradient in the loss.
        weight_decay: L2 decay of the target branch while combining.
        temperature: by which logits are divided before they are compared.
        stage1: train the target network by fine-tuning, or by lwf (with distillation from the source network).
        target_bn: batch norms of the target branch while combining: batch statistics (train) or running ones (eval).
        train_heads: which heads are trained while combining: all, new, or none.
        combine_epochs: passes of the combining stage; as `train.*` says unless given.
        combine_iterations: steps of the combining stage, instead of passes.
    """

    l1: float = option(1e-4, low=0)
    l1_step: Literal["proximal", "subgradient"] = "proximal"
    weight_decay: float = option(1e-4, low=0)
    temperature: float = option(2.0, low=0.01)
    stage1: Literal["finetune", "lwf"] = "finetune"
    target_bn: TargetNorm = "train"
    train_heads: Literal["all", "new", "none"] = "all"
    combine_epochs: int | None = option(None, low=0)
    combine_iterations: int | None = option(None, low=0)


class ResCL(Strategy):
    """Fine-tune, combine with the old network, merge."""

    Config = ResclConfig
    settings = frozenset({"task"})

    def prepare(self, setup: Setup) -> None:
        """Get ready for a scenario: a network and no teachers.

        Args:
            setup: what it will meet, and how it is trained.

        Raises:
            UserError: tasks are mixed, or the network cannot be combined unit by unit.
        """
        if any(experience.train.task is None for experience in setup.scenario.experiences):
            raise UserError("rescl combines the networks of two tasks that do not mix; leave scenario.blurry and scenario.gaussian out")
        super().prepare(setup)
        require_units(self.network.backbone, "rescl")
        self.frozen = {name for name, parameter in self.network.named_parameters() if not parameter.requires_grad}
        trained = {name: {part.requires_grad for part in unit.parameters()} for name, unit in units(self.network).items()}
        for name in (name for name, kinds in trained.items() if len(kinds) > 1):
            raise UserError(f"rescl combines whole units; freeze all of '{name}' or nothing of it")
        self.frozen_units = {name for name, kinds in trained.items() if kinds == {False}}
        if len(self.frozen_units) == len(trained):
            raise UserError("rescl combines units that are trained, and this network has none; freeze less, or choose another --network")
        self.learning = 0
        self.source: Network | None = None
        self.target: Network | None = None
        self.moments = Moments()
        self.coefficients: dict[str, float] = {}

    def phases(self, experience: Experience) -> list[Phase]:
        """Train on the first experience; fine-tune, combine and measure on each later one.

        Args:
            experience: what is to be learned; nothing else is read.

        Returns:
            The phases.
        """
        config = self.config
        batches = self.shuffled(experience.train)
        tuning = Update(loss=self.tuning_loss, parameters=lambda: self.network.parameters())
        if experience.index == 0:
            return [Phase(name="train", batches=batches, updates=(tuning,), fresh=True)]
        proximal = self._shrink if config.l1_step == "proximal" else None
        mixing = Update(loss=self.combining_loss, parameters=self.combined_parameters, name="combination", proximal=proximal)
        phases = [
            Phase(
                name="fine-tune",
                batches=batches,
                updates=(tuning,),
                begin=lambda: self._keep_source(experience.index),
                end=self._combine,
                fresh=True,
            )
        ]
        if self.combines:
            epochs, iterations = config.combine_epochs, config.combine_iterations
            phases.append(
                Phase(name="combine", batches=batches, updates=(mixing,), epochs=epochs, iterations=iterations, end=self._merge, fresh=True)
            )
        if norms(self.network):
            phases.append(Phase(name="measure", batches=batches, epochs=1, observe=self._observe, end=self._standardise))
        return phases

    @property
    def combines(self) -> bool:
        """Whether the combining stage has any steps; without, the combination is merged as it starts."""
        return 0 not in (self.config.combine_epochs, self.config.combine_iterations)

    @property
    def old_heads(self) -> list[range]:
        """The outputs of each experience learned before."""
        return [earlier.outputs for earlier in self.setup.scenario.experiences[: self.learning]]

    @property
    def new_head(self) -> range:
        """The outputs of the experience that is being learned."""
        return self.setup.scenario.experiences[self.learning].outputs

    def tuning_loss(self, batch: Batch) -> Step:
        """Cross-entropy on the new head, with `stage1=lwf` also distillation from the source network.

        Args:
            batch: examples of the new experience.

        Returns:
            The step.
        """
        if self.source is None or self.config.stage1 == "finetune":
            return self.loss(batch)
        features = self.network.features(batch.x)
        task = self.fit(features, batch)
        kept = self.kept(self.network.head(features, self._span(self.old_heads)), batch.x)
        return Step(task.loss + kept, task.logits, task.targets)

    def combining_loss(self, batch: Batch) -> Step:
        """Both distillations and, as `l1_step` says, the decay of the coefficients.

        Args:
            batch: examples of the new experience; their labels are not used.

        Returns:
            The step.
        """
        assert self.target is not None
        new = self.new_head
        logits = self.network(batch.x, self._span([*self.old_heads, new]))
        with torch.no_grad():
            wanted = self.target(batch.x, new)[:, new.start : new.stop]
        answers = logits[:, new.start : new.stop]
        kept = self.kept(logits, batch.x)
        learned = distillation(answers, wanted, self.config.temperature)
        loss = kept + learned
        if self.config.l1_step == "subgradient":
            loss = loss + self.config.l1 * torch.cat(self.alphas()).abs().sum()
        return Step(loss, answers, batch.y - new.start, {"source": kept.detach(), "target": learned.detach()})

    def kept(self, logits: Tensor, x: Tensor) -> Tensor:
        """How far answers are from the source network's.

        Args:
            logits: [B, K].
            x: what was asked.

        Returns:
            The divergence, summed over the old heads; a scalar.
        """
        assert self.source is not None
        with torch.no_grad():
            wanted = self.source(x, self._span(self.old_heads))
        heads = [slice(head.start, head.stop) for head in self.old_heads]
        return torch.stack([distillation(logits[:, head], wanted[:, head], self.config.temperature) for head in heads]).sum()

    def alphas(self) -> list[Tensor]:
        """The combination coefficients, while there are any.

        Returns:
            alpha_s and alpha_t of each unit, [C] each.
        """
        return [alpha for unit in combinations(self.network) for alpha in (unit.alpha_source, unit.alpha_target)]

    def combined_parameters(self) -> list[dict[str, Any]]:
        """What the combining stage trains.

        Returns:
            Parameter groups: the target branch with its decay; coefficients and heads without.
        """
        branch = [parameter for unit in combinations(self.network) for parameter in unit.target.parameters()]
        heads = [parameter for parameter in self.network.head.parameters() if parameter.requires_grad]
        return [
            {"params": branch, "weight_decay": self.config.weight_decay},
            {"params": [*self.alphas(), *heads], "weight_decay": 0.0},
        ]

    def _span(self, heads: list[range]) -> range:
        return range(min(head.start for head in heads), max(head.stop for head in heads))

    def _shrink(self, step_size: float) -> None:
        with torch.no_grad():
            for alpha in self.alphas():
                alpha.copy_(functional.softshrink(alpha, step_size * self.config.l1))

    def _keep_source(self, learning: int) -> None:
        self.learning = learning
        self.source = frozen_copy(self.network)

    def _combine(self) -> None:
        self.target = frozen_copy(self.network)
        self.network = self._double(self.target)
        if not self.combines:
            self._merge()

    def _double(self, target: Network) -> Network:
        assert self.source is not None
        double = combine(self.source, target, self.config.target_bn, self.frozen_units)
        for outputs, block, tuned in zip(double.head.ranges, double.head.blocks, target.head.blocks):
            new = outputs == self.new_head
            block.requires_grad_(self.config.train_heads == "all" or (self.config.train_heads == "new" and new))
            if new:
                block.load_state_dict(tuned.state_dict())
        self._freeze(double)
        return double

    def _freeze(self, network: Network) -> None:
        # Combining and merging make all trainable.
        for name, parameter in network.named_parameters():
            if name in self.frozen:
                parameter.requires_grad_(False)

    def _merge(self) -> None:
        with torch.no_grad():
            units = combinations(self.network)
            source, target = (torch.cat([getattr(unit, name) for unit in units]) for name in ("alpha_source", "alpha_target"))
            zeros = torch.cat([source, target]).eq(0).double().mean()
        self.coefficients = {"source": float(1 + source.mean()), "target": float(target.mean()), "zeros": float(zeros)}
        self.network = merge(self.network)
        self._freeze(self.network)
        self.source = self.target = None
        self.moments = Moments()

    def _observe(self, batch: Batch) -> None:
        self.moments.observe(self.network, batch.x)

    def _standardise(self) -> None:
        self.moments.standardise(self.network)
        self.moments = Moments()

    def state_dict(self) -> dict[str, Any]:
        """The network, which is a double branch while combining, the teachers, and what has been measured.

        Returns:
            Nested dictionaries of tensors and plain values.
        """
        teachers = {name: None if teacher is None else teacher.state_dict() for name, teacher in self._teachers().items()}
        rest = {"learning": self.learning, "moments": self.moments.state_dict(), "coefficients": self.coefficients}
        return {**super().state_dict(), **teachers, **rest}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state, of whichever stage.

        Args:
            state: what `state_dict` gave.
        """
        self.learning, self.coefficients = state["learning"], state["coefficients"]
        self.moments = Moments()
        self.moments.load_state_dict(state["moments"])
        self.source, self.target = (self._teacher(state[name]) for name in ("source", "target"))
        self.network = self.setup.build_network() if self.target is None else self._double(self.target)
        super().load_state_dict(state)

    def _teachers(self) -> dict[str, Network | None]:
        return {"source": self.source, "target": self.target}

    def _teacher(self, state: dict[str, Any] | None) -> Network | None:
        if state is None:
            return None
        teacher = frozen_copy(self.setup.build_network())
        teacher.load_state_dict(state)
        return teacher

    def report(self) -> dict[str, Any]:
        """What the last combination came to.

        Returns:
            Means of 1 + alpha_s and of alpha_t, and the share of all coefficients that are exactly 0; nothing before the first merge.
        """
        return {"combination": self.coefficients} if self.coefficients else {}
