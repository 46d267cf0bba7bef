"""What all disposals share: three phases, one retaining loss, one place for the term that pushes the source out.

Pre-training on the source and transfer to the target are plain fine-tuning, bit for bit `naive`'s; the transferred network is kept as the
teacher. Disposal then makes a fixed number of steps (the last iterate counts) on

    L = L_keep(target) + gamma * term(source),      L_keep = CE(y, z) + a T^2 KL(softmax(z_T / T) || softmax(z / T)),

z_T the teacher's logits. Optimiser, steps, batches and clipping are the same for all, so that only the term tells two disposals apart.
With gamma = 0 no source example is drawn and the steps are those of `keep-only`. A guard may hold the term back while the target suffers.

Transfer moves the trunk away from under the source's head. So before disposal that head is refitted on the frozen trunk ("re-probed"):
accuracy on the source then says what the trunk still knows. How the loss on the source moves through this old head is recorded.

The problem is Koh et al.'s (*Disposable Transfer Learning for Selective Source Task Unlearning*, ICCV 2023); their retaining loss,
baselines and settings were not available: all here is a reconstruction.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import Parameter, functional

from scenarios.errors import UserError
from scenarios.experience import Batch, Experience
from scenarios.options import option
from strategies.base import Setup, Strategy
from strategies.disposal.batches import Pair, Pairs
from strategies.disposal.guard import TargetGuard
from strategies.networks.network import Network
from strategies.phase import Optimizer, Phase, Step, Update
from strategies.soft_targets import distillation, frozen_copy
from strategies.unread import refuse_unread

ROLES = ("source", "target", "dispose")
LOOKS, LOOKED_AT = 20, 1000
"""How often the loss on the source is recorded during disposal, and over how many examples at most."""


@dataclass(frozen=True, kw_only=True)
class DisposalConfig:
    """Options that all disposals share.

    Attributes:
        keep: retaining loss on the target: cross-entropy (ce), distillation from the transferred network (kd), or both.
        kd_weight: a, weight of distillation where the retaining loss has it; the cross-entropy's is 1.
        temperature: by which logits are divided before distillation compares them.
        gamma: weight of the term that disposes of the source.
        steps: of disposal.
        source_batch: source examples a step.
        optimizer: of disposal: sgd (momentum 0.9), adam or adamw.
        learning_rate: of disposal.
        clip: the largest norm of a step's gradient; none for no limit.
        reprobe: steps in which the source's head is refitted on the frozen transferred trunk, before disposal; 0 leaves it as pre-training
            left it.
        target_guard: while accuracy on the target's validation examples lies further below the transferred network's than this (0.01 is a
            point), only the retaining loss counts; none for no such guard.
    """

    keep: Literal["ce", "kd", "ce+kd"] = "ce+kd"
    kd_weight: float = option(1.0, low=0)
    temperature: float = option(1.0, low=0.01)
    gamma: float = option(1.0, low=0)
    steps: int = option(600, low=1)
    source_batch: int = option(256, low=1)
    optimizer: Literal["sgd", "adam", "adamw"] = "adam"
    learning_rate: float = option(1e-3, low=0)
    clip: float | None = option(10.0, low=0)
    reprobe: int = option(200, low=0)
    target_guard: float | None = option(None, low=0, high=1)

    def __post_init__(self) -> None:
        refuse_unread(self, "strategy", {"kd_weight": (self.keep != "ce", "keep=ce+kd")})


class Disposal(Strategy):
    """Pre-train, transfer, dispose. A method overrides `term`, or the loss as a whole."""

    Config = DisposalConfig
    settings: ClassVar[frozenset[str]] = frozenset({"task", "class"})
    """Not `domain`: source and target would share the one head that is to be released."""
    weight: ClassVar[float | None] = None
    """Fixes `gamma` where a method has no term of its own."""

    def prepare(self, setup: Setup) -> None:
        """Build the network, and see that there is something to dispose of.

        Args:
            setup: what the learner will meet, and how it is trained.

        Raises:
            UserError: the scenario is no transfer, a part of the network is frozen, or the source is smaller than a step's batch.
        """
        super().prepare(setup)
        if not all(parameter.requires_grad for parameter in self.network.parameters()):
            raise UserError("a disposal changes all of a network; leave network.freeze out or choose another network")
        stream = setup.scenario.experiences
        if tuple(experience.role for experience in stream) != ROLES:
            raise UserError(
                f"{setup.scenario.name} has nothing to dispose of: a disposal needs a source, a transfer to a target, and the order to "
                "dispose, as in transfer-digits-glyphs or transfer-split-mnist"
            )
        self.source, self.target = stream[0], stream[1]
        if self.gamma and len(self.source.train) < self.config.source_batch:
            there, asked = len(self.source.train), self.config.source_batch
            raise UserError(f"strategy.source_batch={asked} is more than the {there} examples of the source; choose at most {there}")
        self.transferred: Network | None = None
        self.step = 0
        self.guard = TargetGuard(self.config.target_guard, self.target)
        self.source_losses: list[list[float]] = []

    @property
    def gamma(self) -> float:
        """Weight of the disposal term."""
        return self.config.gamma if self.weight is None else self.weight

    def phases(self, experience: Experience) -> list[Phase]:
        """Fine-tune, or dispose.

        Args:
            experience: the source, the target, or the order to dispose.

        Returns:
            One phase for source and target, `dispose_phases` then.
        """
        if experience.role == "dispose":
            return self.dispose_phases(experience)
        (phase,) = super().phases(experience)
        if experience.role == "source":
            return [replace(phase, name="pre-train")]
        return [replace(phase, name="transfer", end=self._keep_transferred)]

    def dispose_phases(self, experience: Experience) -> list[Phase]:
        """Refit the old head, then dispose.

        Args:
            experience: with the target's training data.

        Returns:
            The phases.
        """
        config, train = self.config, self.setup.train
        pairs = Pairs(experience.train, self.source.train, train.batch_size, config.source_batch, train.augmentation)
        momentum = 0.9 if config.optimizer == "sgd" else 0.0
        update = Update(
            loss=self.dispose_loss,  # type: ignore[arg-type]
            parameters=self.network.parameters,
            name="dispose",
            optimizer=Optimizer(kind=config.optimizer, learning_rate=config.learning_rate, momentum=momentum),
            after_backward=self.after_backward,
            after_step=self.after_step,
        )
        alone: Any = pairs if self.gamma else self.shuffled(experience.train)
        dispose = Phase(
            name="dispose", batches=alone, updates=(update,), iterations=config.steps, begin=self.begin, end=self._look, fresh=True
        )
        return [*self.reprobe_phases(), dispose]

    def reprobe_phases(self) -> list[Phase]:
        """Refit the source's head on the frozen trunk.

        Returns:
            One phase; none where the head is to stay as it is.
        """
        if not self.config.reprobe:
            return []
        update = Update(
            loss=self._reprobe_loss,
            parameters=lambda: self.source_head.parameters(),
            name="re-probe",
            optimizer=Optimizer(kind="adam", learning_rate=1e-2),
        )
        batches = replace(self.shuffled(self.source.train), batch_size=min(self.config.source_batch, len(self.source.train)))
        return [Phase(name="re-probe", batches=batches, updates=(update,), iterations=self.config.reprobe, fresh=True)]

    @property
    def source_head(self) -> Any:
        """The old head: the source's block of outputs."""
        return self.network.head.blocks[0]

    @property
    def trunk(self) -> list[Parameter]:
        """The parameters that the source's task and the target's share."""
        return list(self.network.backbone.parameters())

    def begin(self) -> None:
        """Get ready to dispose, from the transferred network."""
        self._look()

    def dispose_loss(self, batch: Pair) -> Step:
        """The retaining loss, and the weighted term.

        Args:
            batch: of target and source; of the target alone where gamma is 0.

        Returns:
            The step; its logits are the target's.
        """
        if not self.gamma:
            return self.keep_loss(batch)  # type: ignore[arg-type]
        kept = self.keep_loss(batch.target)
        if self.guard.holds(self.step, self.network, self.transferred):
            return kept
        term = self.pushed(batch.source)
        parts = {"keep": kept.loss.detach(), "disposal": term.detach()}
        return Step(kept.loss + self.gamma * term, kept.logits, kept.targets, parts)

    def pushed(self, source: Batch) -> Tensor:
        """The term, taken with batch norms in evaluation mode: their running statistics are to be the target's.

        Args:
            source: examples of it.

        Returns:
            A scalar.
        """
        training = self.network.training
        self.network.eval()
        term = self.term(source)
        self.network.train(training)
        return term

    def term(self, source: Batch) -> Tensor:
        """What disposes of the source.

        Args:
            source: examples of it.

        Returns:
            A scalar; the smaller, the better disposed of.
        """
        raise NotImplementedError

    def keep_loss(self, target: Batch) -> Step:
        """The retaining loss.

        Args:
            target: examples of it.

        Returns:
            The step.
        """
        features = self.network.features(target.x)
        step = self.fit(features, target)
        if self.config.keep == "ce":
            return step
        outputs = self.target.outputs
        distance = distillation(self.network.head.narrow(features, outputs), self.taught(target.x, outputs), self.config.temperature)
        distance = self.config.kd_weight * distance
        return Step(distance if self.config.keep == "kd" else step.loss + distance, step.logits, step.targets)

    @torch.no_grad()
    def taught(self, x: Tensor, outputs: range) -> Tensor:
        """What the transferred network answers.

        Args:
            x: float [B, C, H, W].
            outputs: a block of outputs.

        Returns:
            Logits [B, len(outputs)].
        """
        assert self.transferred is not None
        return self.transferred.head.narrow(self.transferred.features(x), outputs)

    def source_logits(self, x: Tensor) -> Tensor:
        """Answer through the old head.

        Args:
            x: float [B, C, H, W].

        Returns:
            [B, K], of the source's outputs.
        """
        return self.source_head(self.network.features(x))

    def generator(self, purpose: str) -> torch.Generator:
        """The randomness of one step of disposal.

        Args:
            purpose: what it is for.

        Returns:
            A generator on the CPU, newly seeded.
        """
        return self.setup.randomness.generator(purpose, self.step)

    def after_backward(self) -> None:
        """Clip the gradient."""
        if self.config.clip is not None:
            moved: Iterable[Parameter] = self.network.parameters()
            torch.nn.utils.clip_grad_norm_([parameter for parameter in moved if parameter.grad is not None], self.config.clip)

    def after_step(self) -> None:
        """Count, and look at the old head now and then."""
        self.step += 1
        if self.step % max(1, self.config.steps // LOOKS) == 0 and self.step < self.config.steps:
            self._look()

    @torch.no_grad()
    def _look(self) -> None:
        # Through the validation examples where there are some: nothing may be chosen by the test's.
        examples = self.source.validation if len(self.source.validation) else self.source.train
        order = torch.randperm(len(examples), generator=self.setup.randomness.generator("looks at the source"))[:LOOKED_AT]
        batch = examples.batch(order.to(examples.rows.device))
        training = self.network.training
        self.network.eval()
        loss = functional.cross_entropy(self.source_logits(batch.x), batch.y - self.source.outputs.start)
        self.network.train(training)
        self.source_losses.append([float(self.step), float(loss)])

    def _reprobe_loss(self, batch: Batch) -> Step:
        with torch.no_grad():
            self.network.eval()
            features = self.network.features(batch.x)
        logits, targets = self.source_head(features), batch.y - self.source.outputs.start
        return Step(functional.cross_entropy(logits, targets), logits, targets)

    def _keep_transferred(self) -> None:
        self.transferred = frozen_copy(self.network)

    def state_dict(self) -> dict[str, Any]:
        """The network, the transferred one, and how far disposal has come.

        Returns:
            Nested dictionaries of tensors and plain values.
        """
        kept = None if self.transferred is None else self.transferred.state_dict()
        done = {"step": self.step, "source_losses": self.source_losses, "guard": self.guard.state_dict()}
        return {**super().state_dict(), "transferred": kept, **done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
        """
        super().load_state_dict(state)
        self.transferred = None
        if state["transferred"] is not None:
            self._keep_transferred()
            assert self.transferred is not None
            self.transferred.load_state_dict(state["transferred"])
        self.step, self.source_losses = state["step"], [list(pair) for pair in state["source_losses"]]
        self.guard.load_state_dict(state["guard"])

    def report(self) -> dict[str, Any]:
        """How the loss on the source moved through the old head, and how long the guard waited.

        Returns:
            `disposal`, with pairs of step and loss, and steps made with the retaining loss alone; empty before disposal.
        """
        guarded = {} if self.config.target_guard is None else {"waited_steps": self.guard.waited}
        return {"disposal": {"old_head_source_loss": self.source_losses, **guarded}} if self.source_losses else {}
