"""Phases: how a strategy says what it does. The engine in `runs` carries them out; it alone has a loop.

A phase is a number of passes over a source of batches. In each step every update computes its loss, and its optimiser moves its parameters;
a phase without updates only observes (curvature, batch-norm statistics). This imports no torch: options are checked before it comes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from scenarios.augmentation import Augmentation
from scenarios.options import option

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter

    from scenarios.batches import BatchSource
    from scenarios.experience import Batch

ScheduleKind = Literal["constant", "cosine", "linear", "step", "multistep"]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How networks are trained.

    Attributes:
        epochs: passes over an experience's training set, in each training phase.
        iterations: steps in each training phase; replaces `epochs` where given.
        batch_size: examples a step.
        optimizer: sgd, adam or adamw, or any class of torch.optim in lower case (rmsprop, nadam, adagrad, ...).
        optimizer_options: further options of its class, for instance train.optimizer_options.nesterov=true.
        learning_rate: the optimiser's step size.
        momentum: of sgd, and of other classes that have one.
        weight_decay: L2 penalty that the optimiser adds (decoupled for adamw).
        schedule: the step size over a phase: constant; a half cosine, or a line, down to 0; multistep, times `schedule_factor` at each
            milestone; or step, the same again and again after every share of the phase that the first milestone names.
        schedule_milestones: shares of the phase, in order, for multistep and step.
        schedule_factor: what the step size is multiplied by there.
        warmup: share of the phase over which the step size rises linearly to where the schedule has it.
        augmentation: random crops (shifts of up to 4 pixels, 2 where images are narrower than 32) and flips of training images.
        precision: float32, or bf16 (autocast; recorded in the summary).
        reset_optimizer: forget momentum and moments when a new experience begins.
        from_: directory of a finished run whose backbone networks begin with, as far as names and shapes agree; heads are new.
    """

    epochs: int = option(5, low=1)
    iterations: int | None = option(None, low=1)
    batch_size: int = option(64, low=1)
    optimizer: str = "sgd"
    optimizer_options: Mapping[str, Any] = field(default_factory=dict)
    learning_rate: float = option(0.05, above=0)
    momentum: float = option(0.9, low=0, high=1)
    weight_decay: float = option(0.0, low=0)
    schedule: ScheduleKind = "constant"
    schedule_milestones: tuple[float, ...] = option((0.5, 0.75), above=0, high=1)
    schedule_factor: float = option(0.1, low=0)
    warmup: float = option(0.0, low=0, high=1)
    augmentation: Augmentation = "none"
    precision: Literal["float32", "bf16"] = "float32"
    reset_optimizer: bool = False
    from_: str | None = None


@dataclass(frozen=True)
class Step:
    """What one update computed.

    Attributes:
        loss: scalar, with its graph.
        logits: [B, outputs], for the progress line's accuracy; None where there is none.
        targets: int64 [B], columns of `logits`.
        parts: named shares of the loss, for logs; scalars without graph.
    """

    loss: Tensor
    logits: Tensor | None = None
    targets: Tensor | None = None
    parts: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The step size over a phase, as a function of the step alone: nothing is to be saved or resumed.

    Attributes:
        kind: constant, cosine, linear, step or multistep.
        milestones: shares of the phase at which (multistep), or after every first of which (step), the step size is multiplied.
        factor: by what.
        warmup: share of the phase over which the step size rises linearly to where the schedule has it.
    """

    kind: ScheduleKind = "constant"
    milestones: tuple[float, ...] = (0.5, 0.75)
    factor: float = 0.1
    warmup: float = 0.0

    @property
    def constant(self) -> bool:
        """Whether the step size never changes."""
        return self.kind == "constant" and not self.warmup

    def share(self, step: int, total: int) -> float:
        """What the step size is multiplied by in one step.

        Args:
            step: the step, from 0.
            total: steps in the phase.

        Returns:
            At least 0; 1 for the step size as it was given.

        Example:
            >>> [round(Schedule(kind="cosine").share(step, 4), 3) for step in range(4)]
            [1.0, 0.854, 0.5, 0.146]
        """
        gone = step / total
        rising = min(1.0, (step + 1) / (self.warmup * total)) if self.warmup else 1.0
        if self.kind == "cosine":
            return rising * 0.5 * (1 + math.cos(math.pi * gone))
        if self.kind == "linear":
            return rising * (1 - gone)
        if self.kind == "multistep":
            return rising * self.factor ** sum(step >= round(milestone * total) for milestone in self.milestones)
        if self.kind == "step":
            return rising * self.factor ** (step // max(round(self.milestones[0] * total), 1))
        return rising


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """An optimiser other than the one that `train.*` describes.

    Attributes:
        kind: a class of torch.optim in lower case.
        learning_rate: its step size.
        momentum: of sgd.
        betas: of adam and adamw.
        weight_decay: L2 penalty that the optimiser adds.
        schedule: of the step size.
        options: further options of its class.
    """

    kind: str
    learning_rate: float
    momentum: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    schedule: Schedule = Schedule()
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, train: TrainConfig, learning_rate: float | None = None) -> Optimizer:
        """The optimiser that `train.*` describes.

        Args:
            train: how networks are trained.
            learning_rate: another step size than the one that stands there.

        Returns:
            Its description.
        """
        return cls(
            kind=train.optimizer,
            learning_rate=train.learning_rate if learning_rate is None else learning_rate,
            momentum=train.momentum,
            weight_decay=train.weight_decay,
            schedule=Schedule(kind=train.schedule, milestones=train.schedule_milestones, factor=train.schedule_factor, warmup=train.warmup),
            options=train.optimizer_options,
        )


@dataclass(frozen=True, kw_only=True)
class Update:
    """One loss and what it moves.

    Attributes:
        loss: from a batch to a `Step`.
        parameters: gives the parameters, or the optimiser's parameter groups; called once the phase has begun.
        name: under which the optimiser's state is kept from phase to phase.
        optimizer: its own optimiser; None for the run's (`train.*`).
        after_backward: called between backward and step (penalties add their gradient here).
        after_step: called after the optimiser's step.
        proximal: called after the optimiser's step with its step size, to shrink what it moved.
    """

    loss: Callable[[Batch], Step]
    parameters: Callable[[], Iterable[Parameter] | Iterable[dict[str, Any]]]
    name: str = "network"
    optimizer: Optimizer | None = None
    after_backward: Callable[[], None] | None = None
    after_step: Callable[[], None] | None = None
    proximal: Callable[[float], None] | None = None


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A part of learning an experience.

    Attributes:
        name: shown to the user.
        batches: what it learns from.
        updates: none for a phase that only observes.
        epochs: passes over the batches; None for `train.epochs` or `train.iterations`.
        iterations: steps, instead of passes.
        begin: called before the first step; not called when a run resumes inside the phase.
        end: called after the last step.
        observe: called with every batch of a phase without updates.
        fresh: start with new optimisers, and leave none behind.
    """

    name: str
    batches: BatchSource
    updates: tuple[Update, ...] = ()
    epochs: int | None = None
    iterations: int | None = None
    begin: Callable[[], None] | None = None
    end: Callable[[], None] | None = None
    observe: Callable[[Batch], None] | None = None
    fresh: bool = False
