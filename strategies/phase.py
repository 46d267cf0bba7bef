"""Phases: how a strategy says what it does. The engine in `runs` carries them out; it alone has a loop.

A phase is a number of passes over a source of batches. In each step every update computes its loss, and its optimiser moves its parameters;
a phase without updates only observes (curvature, batch-norm statistics).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor
from torch.nn import Parameter

from scenarios.batches import Augmentation, BatchSource
from scenarios.experience import Batch
from scenarios.options import option


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How networks are trained.

    Attributes:
        epochs: passes over an experience's training set, in each training phase.
        iterations: steps in each training phase; replaces `epochs` where given.
        batch_size: examples a step.
        optimizer: sgd, adam or adamw.
        learning_rate: the optimiser's step size.
        momentum: of sgd.
        weight_decay: L2 penalty that the optimiser adds (decoupled for adamw).
        schedule: the step size over a phase: constant, or a half cosine down to 0.
        augmentation: random crops (shifts of up to 4 pixels, 2 where images are narrower than 32) and flips of training images.
        precision: float32, or bf16 (autocast; recorded in the summary).
        reset_optimizer: forget momentum and moments when a new experience begins.
    """

    epochs: int = option(5, low=1)
    iterations: int | None = option(None, low=1)
    batch_size: int = option(64, low=1)
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    learning_rate: float = option(0.05, above=0)
    momentum: float = option(0.9, low=0, high=1)
    weight_decay: float = option(0.0, low=0)
    schedule: Literal["constant", "cosine"] = "constant"
    augmentation: Augmentation = "none"
    precision: Literal["float32", "bf16"] = "float32"
    reset_optimizer: bool = False


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
class Optimizer:
    """An optimiser other than the one that `train.*` describes.

    Attributes:
        kind: sgd, adam or adamw.
        learning_rate: its step size.
        momentum: of sgd.
        betas: of adam and adamw.
        weight_decay: L2 penalty that the optimiser adds.
        schedule: constant or cosine.
    """

    kind: Literal["sgd", "adam", "adamw"]
    learning_rate: float
    momentum: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine"] = "constant"


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
