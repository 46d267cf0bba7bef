"""What every adversary has: options, the experiences that it changes, and two ways to change them.

An adversary stands between stream and victim. Before an experience it may exchange examples (`poison`, offline); before a training step it
may change the batch (`perturb`, online). It sees what `AdversaryView` holds and no more, draws from generators of its own, and never
touches the victim. Test data are never changed. This is a testbed for learners that withstand: altered images live in memory and in the
run's directory, beside a manifest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from scenarios.errors import UserError
from scenarios.experience import Batch, Examples, Scenario
from scenarios.options import option
from strategies.attacks.ball import Ball
from strategies.attacks.view import AdversaryView

Where = Literal["last", "next", "later"]


@dataclass(frozen=True, kw_only=True)
class AttackConfig:
    """Options of all adversaries.

    Attributes:
        target: the earlier experience that is to be damaged, from 0.
        experiences: whose training data are changed: the last, the next after the target, all later ones, or a list (3,4).
        fraction: the share of an experience's training examples that is changed; online, of each batch.
    """

    target: int = option(0, low=0)
    experiences: Where | tuple[int, ...] = "last"
    fraction: float = option(1.0, low=0, high=1)


@dataclass(frozen=True, kw_only=True)
class BoundedConfig(AttackConfig):
    """Options of adversaries that stay within a ball around each image.

    Attributes:
        epsilon: the ball's radius; pixels are in [0, 1].
        norm: linf (every pixel changes by at most epsilon) or l2 (Euclidean length of an image's change).
    """

    epsilon: float = option(0.1, low=0)
    norm: Literal["linf", "l2"] = "linf"


class Adversary:
    """The ground of all adversaries: changes nothing.

    Args:
        config: the options.
    """

    Config: ClassVar[type] = AttackConfig
    settings: ClassVar[frozenset[str]] = frozenset({"task", "domain", "class"})
    """Settings of scenarios that it can work in."""
    access: str = "none"
    """What it sees of the victim: `white-box`, `surrogate` (a network of its own) or `none`."""
    online: bool = False
    """Whether batches are changed before each step, rather than examples before an experience."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def prepare(self, scenario: Scenario) -> None:
        """Settle which experiences are changed.

        Args:
            scenario: the stream.

        Raises:
            UserError: the target has no later experience, or the experiences named are not later ones.
        """
        target, last = self.config.target, len(scenario) - 1
        if target >= last:
            raise UserError(
                f"attack.target={target} has no later experience whose data could be changed; choose a target from 0 to {last - 1}"
                if last
                else f"'{scenario.name}' has one experience alone; an attack needs a target and a later experience"
            )
        named: Mapping[Any, tuple[int, ...]] = {"last": (last,), "next": (target + 1,), "later": tuple(range(target + 1, last + 1))}
        asked = self.config.experiences
        self.experiences = named[asked] if isinstance(asked, str) else tuple(sorted(set(asked)))
        if not self.experiences or not all(target < index <= last for index in self.experiences):
            named_so = ",".join(map(str, self.experiences))
            raise UserError(f"attack.experiences={named_so} must lie from {target + 1} to {last}, after the target")

    @property
    def idle(self) -> bool:
        """Whether its options leave it nothing to do, so that the run is the clean one."""
        return self.config.fraction == 0

    def poison(self, view: AdversaryView) -> Examples:
        """Change an experience's training examples before it is learned.

        Args:
            view: what the adversary sees.

        Returns:
            The examples that the victim gets; the very same where nothing is changed.
        """
        return view.examples

    def perturb(self, batch: Batch, view: AdversaryView) -> Batch:
        """Change a batch before a training step.

        Args:
            batch: the batch.
            view: what the adversary sees at this step.

        Returns:
            The batch that the victim gets.
        """
        return batch

    def control(self) -> dict[str, Any] | None:
        """The noise that this attack has to be held against.

        Returns:
            The section `attack` of the control run: random changes of the same size, at the same places; None where there is none.
        """
        return None

    def chosen(self, view: AdversaryView) -> Tensor:
        """Draw the examples that are changed: the same ones for every adversary of one seed and share.

        Args:
            view: what the adversary sees.

        Returns:
            int64 [round(fraction n)], positions in ascending order.
        """
        count = round(self.config.fraction * len(view.examples))
        order = torch.randperm(len(view.examples), generator=view.generator("chosen"))
        return order[:count].sort().values.to(view.examples.rows.device)


class BoundedAdversary(Adversary):
    """An adversary whose changes stay within a ball around each image.

    Args:
        config: the options.
    """

    Config = BoundedConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.ball = Ball(config.norm, config.epsilon)

    @property
    def idle(self) -> bool:
        """Whether its options leave it nothing to do, so that the run is the clean one."""
        return self.config.fraction == 0 or self.config.epsilon == 0

    def control(self) -> dict[str, Any] | None:
        """Random changes of the same size.

        Returns:
            The options of `noise`.
        """
        shared = ("target", "experiences", "fraction", "epsilon", "norm")
        return {"name": "noise", **{name: getattr(self.config, name) for name in shared}}
