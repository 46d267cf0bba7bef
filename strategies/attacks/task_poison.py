"""`task-poison`: alters a new experience's training data so that learning it damages one chosen earlier experience.

A RECONSTRUCTION (`han2023_reconstructed`): of G. Han, J. Choi, H. G. Hong, J. Kim, *Data Poisoning Attack Aiming the Vulnerability of
Continual Learning* (ICIP 2023, arXiv 2211.15875) the goal, the victims (EWC, SI) and the data (variants of MNIST) are known to us from
abstract and introduction; loss, ball, steps, network and figures are not. The objectives are those of close relatives, see `objectives`:
`flip` after Li & Ditzler (IJCNN 2022), `unroll` after BrainWash (CVPR 2024), `inner` and `cosine` from the first-order change of the
target's loss. Labels of the new experience are kept.

A learner that penalises leaving old parameters stores nothing of the old data, so it cannot see that an old experience is being damaged:
at its anchor the penalty's gradient is 0, and parameters of small importance are free.

Against learners of episodes it alters the support sets of test episodes instead (see `episodes`): of the options, epsilon, norm, steps and
step_size count there.

Only parameters that both losses reach count: shared heads do, heads of their own do not. The penalty is not part of the gradient that is
shaped; with `importance` known, each parameter counts by how freely it may move.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from scenarios.errors import UserError
from scenarios.experience import Examples, Scenario
from scenarios.options import option
from strategies.answering import Answering
from strategies.attacks.ball import LEVELS
from strategies.attacks.crafting import Crafting, CraftingConfig, Objective, sampled
from strategies.attacks.objectives import cosine, flipped, inner
from strategies.attacks.view import AdversaryView
from strategies.unread import refuse_unread


@dataclass(frozen=True, kw_only=True)
class TaskPoisonConfig(CraftingConfig):
    """Options of `task-poison`.

    Attributes:
        objective: what the altered batch's gradient is brought to: inner, cosine, flip or unroll.
        target_samples: how many of the target's examples the adversary has; none for all.
        target_data: whether they are of the target's training set or held out (scenario.validation_share).
        importance: whether the adversary knows the victim's importances (ewc, online-ewc, si, mas).
        unroll_rate: step size of the victim's step that `unroll` looks ahead.
    """

    objective: Literal["inner", "cosine", "flip", "unroll"] = "flip"
    target_samples: int | None = option(256, low=1)
    target_data: Literal["train", "heldout"] = "train"
    importance: bool = False
    unroll_rate: float = option(0.1, low=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_unread(self, "attack", {"unroll_rate": (self.objective == "unroll", "objective=unroll")})


class TaskPoison(Crafting):
    """Damages a chosen earlier experience through the data of a later one."""

    Config = TaskPoisonConfig
    settings = Crafting.settings | {"episodic"}
    config: TaskPoisonConfig

    def prepare(self, scenario: Scenario) -> None:
        """Settle which experiences are changed.

        Args:
            scenario: the stream.

        Raises:
            UserError: no data are held out, or the target has one class, whose labels cannot be flipped.
        """
        super().prepare(scenario)
        target = scenario.experiences[self.config.target]
        if self.config.target_data == "heldout" and not len(target.validation):
            raise UserError("attack.target_data=heldout needs examples that nobody learns from; set scenario.validation_share=0.1")
        if self.config.objective == "flip" and len(target.outputs) < 2:
            raise UserError("attack.objective=flip needs two classes in the target; choose cosine")

    def objective(self, view: AdversaryView, model: Answering, step: int) -> Objective | None:
        """The objective at the network's present parameters.

        Args:
            view: what the adversary sees.
            model: the network that it differentiates through.
            step: of the victim: online, target samples are drawn anew.

        Returns:
            The objective; None where new and old experience share no parameter.
        """
        target = view.scenario.experiences[self.config.target]
        source = target.train if self.config.target_data == "train" else target.validation
        samples = sampled(source, self.config.target_samples, view.generator("target", step))
        labels = samples.targets
        if self.config.objective == "flip":
            labels = flipped(labels, target.outputs, view.generator("flip", step))
        wanted = Wanted(view, model, samples, labels, self.config)
        return wanted if wanted.parameters else None


class Wanted:
    """The objective of one moment: target gradient and parameters are constants in it.

    Args:
        view: what the adversary sees.
        model: the network.
        samples: of the target.
        labels: int64 [n], what the target's samples are called.
        config: the options.
    """

    def __init__(self, view: AdversaryView, model: Answering, samples: Examples, labels: Tensor, config: TaskPoisonConfig) -> None:
        self.view, self.model, self.config = view, model, config
        self.task, self.target = view.experience.index, config.target
        self.shown = 0
        self.dtype = next(model.parameters()).dtype
        self.target_x = self._shown(samples.raw_pixels().to(self.dtype) / LEVELS)
        self.labels = labels
        self.old, self.new = view.outputs(self.target), view.outputs(self.task)
        every = [parameter for parameter in model.parameters() if parameter.requires_grad]
        reached = self._reached(every)
        self.places = [place for place, both in enumerate(reached) if both]
        self.parameters = [every[place] for place in self.places]
        if not self.parameters:
            return
        loss = functional.cross_entropy(model(self.target_x, self.target, self.old), labels - self.old.start)
        self.weights = self._weights(every)
        self.wanted = [each.detach() for each in self._weighted(torch.autograd.grad(loss, self.parameters))]
        self.trusted = self._trusted()

    def __call__(self, altered: Tensor, clean: Tensor, targets: Tensor) -> Tensor:
        """Compute the objective.

        Args:
            altered: [B, C, H, W] in [0, 1].
            clean: [B, C, H, W].
            targets: int64 [B].

        Returns:
            A scalar.
        """
        x = self._shown(altered)
        loss = functional.cross_entropy(self.model(x, self.task, self.new), targets - self.new.start)
        gradients: Sequence[Tensor] = torch.autograd.grad(loss, self.parameters, create_graph=True)
        defence = self.view.defence
        shaped = gradients if defence is None else defence.shaped(gradients, self.trusted)
        value = self._value(self._weighted(shaped))
        if defence is not None:
            alignment = None if self.trusted is None else cosine(self.trusted, gradients)
            seen = defence.conspicuous(self.model, x, self.view.normalised(clean), self.task, alignment)
            value = value if seen is None else value + self.config.evasion * seen
        return value

    def _value(self, gradients: Sequence[Tensor]) -> Tensor:
        kind = self.config.objective
        if kind == "inner":
            return inner(self.wanted, gradients)
        if kind == "unroll":
            return -self._ahead(gradients)
        return cosine(self.wanted, gradients) if kind == "cosine" else -cosine(self.wanted, gradients)

    def _ahead(self, gradients: Sequence[Tensor]) -> Tensor:
        names = [name for name, parameter in self.model.named_parameters() if parameter.requires_grad]
        moved = {
            names[place]: parameter.detach() - self.config.unroll_rate * gradient
            for place, parameter, gradient in zip(self.places, self.parameters, gradients)
        }
        logits = functional_call(self.model, moved, (self.target_x, self.target, self.old))
        return functional.cross_entropy(logits, self.labels - self.old.start)

    def _shown(self, pixels: Tensor) -> Tensor:
        if self.view.defence is not None:
            self.shown += 1
            pixels = self.view.defence.seen(pixels, self.view.generator("seen", self.view.step, self.shown))
        return self.view.normalised(pixels)

    def _reached(self, every: list[torch.nn.Parameter]) -> list[bool]:
        # One example of each experience tells which parameters its loss reaches.
        found = []
        for x, task, outputs in (
            (self.target_x[:1], self.target, self.old),
            (self._shown(self.view.examples.raw_pixels(slice(0, 1)).to(self.dtype) / LEVELS), self.task, self.new),
        ):
            answer = self.model(x, task, outputs).sum()
            found.append(torch.autograd.grad(answer, every, allow_unused=True) if answer.requires_grad else [None] * len(every))
        return [one is not None and two is not None for one, two in zip(*found)]

    def _weights(self, every: list[torch.nn.Parameter]) -> list[Tensor] | None:
        known = self.view.importance
        if known is None:
            return None
        assert len(known) == len(every)
        mean = torch.cat([part.flatten() for part in known]).mean()
        return [1 / (1 + known[place] / mean.clamp_min(1e-30)) for place in self.places]

    def _weighted(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        if self.weights is None:
            return list(gradients)
        return [weight * gradient for weight, gradient in zip(self.weights, gradients)]

    def _trusted(self) -> list[Tensor] | None:
        memory = self.view.defence.trusted() if self.view.defence is not None else None
        if memory is None or not len(memory):
            return None
        return self.model.loss_gradients(memory, self.view.scenario, self.view.experience.index, self.parameters)
