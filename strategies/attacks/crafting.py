"""Crafting altered images by gradients: what adversaries that differentiate through a network share.

Projected steps within a ball: with r the gradient of the objective by an image's change delta,

    m <- mu m + r / |r|_1 (with momentum, else r),   delta <- projection(delta - alpha step(m)),

one double backward pass through the network a step, whole batches at once. The network is a copy in evaluation mode, or a surrogate of the
adversary's own; the victim is never touched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from scenarios.errors import UserError
from scenarios.experience import Batch, Examples, Scenario
from scenarios.options import option
from strategies.answering import Answering
from strategies.attacks.adversary import BoundedAdversary, BoundedConfig
from strategies.attacks.ball import LEVELS, Ball
from strategies.attacks.view import AdversaryView
from strategies.unread import refuse_unread


@dataclass(frozen=True, kw_only=True)
class CraftingConfig(BoundedConfig):
    """Options of adversaries that craft by gradients.

    Attributes:
        schedule: offline (the experience's data are altered once, before it is learned) or online (each batch anew, at the victim's present
            parameters: bounded per showing and not per example, the stronger adversary).
        access: white-box (a copy of the victim's network) or surrogate (a network of the adversary's own, trained on target samples).
        steps: of descent; none for 20 offline and 1 online.
        step_size: of a step; none for epsilon in one step, else 2.5 epsilon / steps.
        momentum: of the descent; 0 for none.
        random_start: begin at a random change rather than at none.
        universal: one change for all images (offline).
        batch_size: images that are crafted together, offline.
        adaptive: whether the adversary knows the defence and reckons with it.
        evasion: what standing out to a known defence weighs beside the objective.
        surrogate_samples: target samples that a surrogate is trained on.
        surrogate_steps: of Adam at 1e-3, batches of 64, that train it.
    """

    schedule: Literal["offline", "online"] = "offline"
    access: Literal["white-box", "surrogate"] = "white-box"
    steps: int | None = option(None, low=1)
    step_size: float | None = option(None, low=0)
    momentum: float = option(0.0, low=0)
    random_start: bool = False
    universal: bool = False
    batch_size: int = option(128, low=1)
    adaptive: bool = False
    evasion: float = option(1.0, low=0)
    surrogate_samples: int = option(2000, low=1)
    surrogate_steps: int = option(500, low=1)

    def __post_init__(self) -> None:
        if self.universal and self.schedule == "online":
            raise UserError("attack.universal is one change for a whole data set; set attack.schedule=offline")
        surrogate, single = (self.access == "surrogate", "access=surrogate"), (not self.universal, "universal=false")
        readers = {"surrogate_samples": surrogate, "surrogate_steps": surrogate, "momentum": single, "random_start": single}
        readers |= {"evasion": (self.adaptive, "adaptive=true"), "batch_size": (self.schedule == "offline", "schedule=offline")}
        refuse_unread(self, "attack", readers)


Objective = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From altered pixels in [0, 1] [B, C, H, W], the clean ones and labels [B] to a scalar that is to become low."""


def descend(
    objective: Objective,
    pixels: Tensor,
    targets: Tensor,
    ball: Ball,
    *,
    steps: int,
    size: float,
    momentum: float = 0.0,
    start: Tensor | None = None,
) -> Tensor:
    """Lower an objective within a ball around each image.

    Args:
        objective: what is lowered.
        pixels: [B, C, H, W] in [0, 1].
        targets: int64 [B].
        ball: how far a change may go.
        steps: how many.
        size: of a step.
        momentum: mu; 0 for none.
        start: [B, C, H, W], the first change; None for 0.

    Returns:
        [B, C, H, W], the change.
    """
    delta = torch.zeros_like(pixels) if start is None else ball.project(start, pixels)
    moved = torch.zeros_like(pixels)
    for _ in range(steps):
        change = delta.requires_grad_(True)
        (slope,) = torch.autograd.grad(objective(pixels + change, pixels, targets), change)
        if momentum:
            moved = momentum * moved + slope / slope.abs().sum((1, 2, 3), keepdim=True).clamp_min(1e-30)
            slope = moved
        delta = ball.project(delta.detach() - ball.step(slope, size), pixels)
    return delta.detach()


class Crafting(BoundedAdversary):
    """An adversary that crafts by gradients; a method says what it lowers.

    Args:
        config: the options.
    """

    Config = CraftingConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.access = config.access
        self.online = config.schedule == "online"
        self.steps = config.steps or (1 if self.online else 20)
        self.size = config.epsilon if self.steps == 1 else 2.5 * config.epsilon / self.steps
        if config.step_size is not None:
            self.size = config.step_size

    def prepare(self, scenario: Scenario) -> None:
        """Settle which experiences are changed.

        Args:
            scenario: the stream.

        Raises:
            UserError: the experiences mix their neighbours' examples.
        """
        super().prepare(scenario)
        if any(experience.train.task is None for experience in scenario.experiences):
            raise UserError("crafting needs experiences of one task each; leave scenario.blurry and scenario.gaussian out")

    def objective(self, view: AdversaryView, model: Answering, step: int) -> Objective | None:
        """What is lowered.

        Args:
            view: what the adversary sees.
            model: the network that it differentiates through.
            step: of the victim, so that an online adversary can draw anew.

        Returns:
            The objective; None where the network leaves nothing to lower.
        """
        raise NotImplementedError

    def model(self, view: AdversaryView) -> Answering:
        """The network that the adversary differentiates through.

        Args:
            view: what the adversary sees.

        Returns:
            The copy of the victim's, or a surrogate, trained once for the experience.
        """
        if view.victim is not None:
            return view.victim
        if "surrogate" not in view.kept:
            assert view.fresh is not None
            view.kept["surrogate"] = self._train(view, view.fresh)
        return view.kept["surrogate"]

    def _train(self, view: AdversaryView, network: Answering) -> Answering:
        target = view.scenario.experiences[self.config.target]
        samples = sampled(target.train, self.config.surrogate_samples, view.generator("surrogate samples"))
        outputs, generator = view.outputs(target.index), view.generator("surrogate order")
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        for _ in range(self.config.surrogate_steps):
            places = torch.randint(len(samples), (64,), generator=generator).to(samples.rows.device)
            x = view.normalised(samples.raw_pixels(places).float() / LEVELS)
            loss = functional.cross_entropy(network(x, target.index, outputs), samples.targets[places] - outputs.start)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        return network

    def poison(self, view: AdversaryView) -> Examples:
        """Craft the chosen examples, batch by batch.

        Args:
            view: what the adversary sees.

        Returns:
            The altered examples.
        """
        objective = self.objective(view, self.model(view), 0)
        if objective is None:
            return view.examples
        positions = self.chosen(view)
        order = torch.randperm(len(positions), generator=view.generator("batches")).to(positions.device)
        batches = positions[order].split(self.config.batch_size)
        shared = self._shared(view, objective, batches) if self.config.universal else None
        altered = []
        for number, part in enumerate(batches):
            pixels = view.examples.raw_pixels(part)
            grey = pixels.float() / LEVELS
            if shared is None:
                delta = self._descend(objective, grey, view.examples.targets[part], view.generator("start", number))
            else:
                delta = self.ball.project(shared.expand_as(grey), grey)
            altered.append(self.ball.altered(delta, pixels))
        return view.examples.altered(torch.cat(batches), torch.cat(altered))

    def perturb(self, batch: Batch, view: AdversaryView) -> Batch:
        """Craft a batch, or a share of it; of mixed batches, the present experience's examples.

        Args:
            batch: the batch.
            view: what the adversary sees at this step.

        Returns:
            The altered batch.
        """
        objective = self.objective(view, self.model(view), view.step)
        own = torch.nonzero(batch.tasks == view.experience.index).flatten()
        count = round(self.config.fraction * len(own))
        if objective is None or not count:
            return batch
        order = torch.randperm(len(own), generator=view.generator("chosen", view.step))[:count].sort().values
        chosen = own[order.to(own.device)]
        storage = view.examples.storage
        pixels = ((batch.x[chosen] - storage.shift) / storage.scale).round().clamp(0, LEVELS).to(torch.uint8)
        delta = self._descend(objective, pixels.float() / LEVELS, batch.y[chosen], view.generator("start", view.step))
        altered = self.ball.altered(delta, pixels)
        seen = storage.preprocess(altered) if storage.preprocess else altered
        return batch._replace(x=batch.x.index_copy(0, chosen, storage.normalise(seen)))

    def _descend(self, objective: Objective, pixels: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
        start = None
        if self.config.random_start:
            share = torch.rand(pixels.shape, generator=generator).to(pixels)
            start = share * self.ball.random(pixels, generator)
        return descend(objective, pixels, targets, self.ball, steps=self.steps, size=self.size, momentum=self.config.momentum, start=start)

    def _shared(self, view: AdversaryView, objective: Objective, batches: tuple[Tensor, ...]) -> Tensor:
        # [1, C, H, W]: each step of descent follows the next batch.
        shape = (1, *view.scenario.input_shape)
        delta = torch.zeros(shape, device=view.examples.rows.device)
        for step in range(self.steps):
            part = batches[step % len(batches)]
            pixels = view.examples.raw_pixels(part).float() / LEVELS
            change = delta.requires_grad_(True)
            altered = (pixels + change).clamp(0, 1)
            (slope,) = torch.autograd.grad(objective(altered, pixels, view.examples.targets[part]), change)
            delta = delta.detach() - self.ball.step(slope, self.size)
            delta = self.ball.project(delta, torch.full_like(delta, 0.5)) if self.ball.radius <= 0.5 else delta.clamp(-1, 1)
        return delta


def sampled(examples: Examples, count: int | None, generator: torch.Generator) -> Examples:
    """Draw examples.

    Args:
        examples: from which.
        count: how many; None for all.
        generator: on the CPU.

    Returns:
        Those examples.
    """
    order = torch.randperm(len(examples), generator=generator)
    return examples.select(order[:count].to(examples.rows.device))
