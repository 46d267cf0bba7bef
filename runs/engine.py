"""The engine: the one loop over experiences, phases, passes and steps.

A strategy declares phases; the engine carries them out. Progress, timing, checkpoints, interrupts and the divergence guard are here and
nowhere else. All randomness of a pass is keyed by (experience, phase, pass), so that a run resumed at a pass boundary repeats the same
bits. An interrupt stops between two steps: its checkpoint also holds the step, up to which the resumed pass draws its batches anew without
learning from them, and the state of the global generator.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from runs import optimizers
from runs.parallel.ranks import Ranks
from runs.recording.training import TrainingLog
from runs.showing.progress import Progress
from scenarios.errors import UserError
from scenarios.experience import Batch
from scenarios.random import Randomness
from strategies.base import Strategy
from strategies.phase import Optimizer, Phase, Step, TrainConfig, Update


class DivergenceError(Exception):
    """A loss, a weight or an answer became NaN or infinite."""


class InterruptedRunError(Exception):
    """The user asked to stop; a checkpoint has been saved."""


@dataclass
class Position:
    """Where a run stands: everything before it is done.

    Attributes:
        experience: index of the experience that is being learned.
        phase: index of the phase.
        epoch: passes of the phase that are done.
        step: steps of the next pass that are done; above 0 only after an interrupt.
    """

    experience: int = 0
    phase: int = 0
    epoch: int = 0
    step: int = 0

    @property
    def fresh(self) -> bool:
        """Whether the phase has not begun."""
        return self.epoch == 0 and self.step == 0


class Saver(Protocol):
    """Takes a checkpoint; called at every boundary, and decides itself whether it is time."""

    def __call__(self, position: Position, *, boundary: bool) -> None:
        """Save the run.

        Args:
            position: what is done.
            boundary: whether an experience or a phase has just ended.
        """


class Hooks(Protocol):
    """What stands between the stream and the learner, and between backward and step: adversaries and defences."""

    def arrive(self, experience: Any, *, fresh: bool) -> Any:
        """An experience is about to be learned, or to be gone on with.

        Args:
            experience: as the stream gives it.
            fresh: whether nothing of it has been learned yet.

        Returns:
            What the learner gets.
        """

    def batch(self, batch: Batch) -> Batch:
        """A batch is about to be learned from.

        Args:
            batch: as the phase gives it.

        Returns:
            What the updates get.
        """

    def gradient(self, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
        """Gradients of an update's loss are there; penalties have not been added.

        Args:
            batch: what they are of.
            optimizer: that moves the parameters.
        """

    def leave(self, experience: Any) -> None:
        """An experience has been learned.

        Args:
            experience: what `arrive` gave.
        """


@dataclass
class Engine:
    """Carries out the phases of a strategy.

    Attributes:
        strategy: the learner, prepared.
        train: how networks are trained.
        randomness: of the run.
        device: where it computes.
        progress: is told what is going on.
        save: takes a checkpoint.
        optimizers: those that live on from phase to phase, by name.
        own: those of the present phase alone, where it starts afresh.
        train_seconds: time spent in phases so far.
        phase_seconds: the same, by the phases' names.
        stopping: set from outside (by a signal) to stop after the step that is being made.
        hooks: an adversary and a defence; None where there are none.
        log: keeps losses and accuracies.
        ranks: the processes that share each batch; None where this one is alone.
    """

    strategy: Strategy
    train: TrainConfig
    randomness: Randomness
    device: torch.device
    progress: Progress
    save: Saver
    optimizers: dict[str, torch.optim.Optimizer] = field(default_factory=dict)
    own: dict[str, torch.optim.Optimizer] = field(default_factory=dict)
    train_seconds: float = 0.0
    phase_seconds: dict[str, float] = field(default_factory=dict)
    stopping: bool = False
    hooks: Hooks | None = None
    log: TrainingLog = field(default_factory=TrainingLog)
    ranks: Ranks | None = None
    _waiting: dict[str, dict[str, Any]] = field(default_factory=lambda: {"kept": {}, "own": {}})
    _generator: Tensor | None = None

    def learn(self, experience: Any, start: Position) -> None:
        """Learn one experience.

        Args:
            experience: what is learned.
            start: where to begin; its experience is this one.

        Raises:
            DivergenceError: numbers are no longer finite.
            UserError: a checkpoint stands at a phase that there is not.
        """
        if self.train.reset_optimizer and start.phase == 0 and start.fresh:
            self.optimizers.clear()
            self._waiting["kept"].clear()
        if self.hooks:
            experience = self.hooks.arrive(experience, fresh=start.phase == 0 and start.fresh)
        phases = self.strategy.phases(experience)
        if start.phase > max(len(phases) - 1, 0):
            raise UserError(f"the checkpoint stands at phase {start.phase + 1} of {len(phases)}; start again in another --out")
        lengths = [(phase.name, phase_length(phase, self.train)[1]) for phase in phases]
        self.progress.start_experience(experience.index, lengths, start.phase)
        for number, phase in enumerate(phases):
            if number < start.phase:
                continue
            position = start if number == start.phase else Position(experience.index, number)
            clock, before = time.perf_counter(), self.train_seconds
            try:
                self._carry_out(phase, position)
            except torch.linalg.LinAlgError as error:
                raise DivergenceError(f"a matrix of numbers out of range cannot be decomposed: {_where(phase, position)}") from error
            self.train_seconds += time.perf_counter() - clock
            self.phase_seconds[phase.name] = self.phase_seconds.get(phase.name, 0.0) + self.train_seconds - before
            if number + 1 < len(phases):
                self.save(Position(experience.index, number + 1), boundary=True)
        if self.hooks:
            self.hooks.leave(experience)

    def _carry_out(self, phase: Phase, position: Position) -> None:
        if position.fresh and phase.begin:
            self._seed(position, "begin")
            phase.begin()
        passes, steps = phase_length(phase, self.train)
        moving = [(update, *self._optimizer(update, "own" if phase.fresh else "kept")) for update in phase.updates]
        done = position.epoch * len(phase.batches)
        self.progress.start_phase(phase.name, steps, done)
        where = (position.experience, phase.name)
        self.log.start_phase(*where, steps, done + position.step, {update.name: optimizer for update, optimizer, _ in moving})
        for epoch in range(position.epoch, passes):
            here = position if epoch == position.epoch else Position(position.experience, position.phase, epoch)
            self._one_pass(phase, moving, here, steps)
            if epoch + 1 < passes:
                clock = time.perf_counter()
                self.save(Position(position.experience, position.phase, epoch + 1), boundary=False)
                self.train_seconds -= time.perf_counter() - clock
        if moving:
            self.guard_weights(_where(phase, position))
            self.log.end_phase()
        if phase.end:
            self._seed(position, "end")
            phase.end()
        self.own.clear()
        self.progress.end_phase()

    def _one_pass(
        self, phase: Phase, moving: list[tuple[Update, torch.optim.Optimizer, Optimizer]], position: Position, steps: int
    ) -> None:
        def generator_for(purpose: str) -> torch.Generator:
            return self.randomness.generator(purpose, position.experience, position.phase, position.epoch)

        self._seed(position, position.epoch)
        if moving:
            self.strategy.train_mode()
        last: Step | None = None
        start = position.epoch * len(phase.batches)
        step = start
        for batch in phase.batches.epoch(generator_for):
            if step == steps:
                break
            step += 1
            if step <= start + position.step:
                if step == start + position.step:
                    assert self._generator is not None
                    torch.set_rng_state(self._generator)
                continue
            if phase.observe:
                phase.observe(batch)
            if self.hooks and moving:
                batch = self.hooks.batch(batch)
            for update, optimizer, spec in moving:
                if not spec.schedule.constant:
                    optimizers.set_rate(optimizer, spec, step - 1, steps)
                last = self._step(batch, update, optimizer, first=step == start + 1)
                if step == start + 1:
                    optimizers.check_layouts(optimizer)
                self.log.add(update.name, last)
            if moving:
                self.log.end_step()
            if self.progress.due():
                self._guard(phase, position, step)
                self.progress.advance(step, last)
            if moving and (self.ranks.stop if self.ranks else self.stopping):
                self._guard(phase, position, step)
                self.save(Position(position.experience, position.phase, position.epoch, step - start), boundary=True)
                raise InterruptedRunError
            # Let go of before the next one is made: its memory is used again, and is in the processor's cache.
            del batch
        self._guard(phase, position, step)
        self.progress.advance(step, last)

    def _step(self, batch: Batch, update: Update, optimizer: torch.optim.Optimizer, *, first: bool) -> Step:
        if self.ranks:
            with self.ranks.share(batch) as share:
                result = self._forward(share, update, optimizer)
                result = self.ranks.backward(result, optimizer, first=first, stopping=self.stopping)
        else:
            result = self._forward(batch, update, optimizer)
            result.loss.backward()
        if self.hooks:
            self.hooks.gradient(batch, optimizer)
        if update.after_backward:
            update.after_backward()
        optimizer.step()
        if update.after_step:
            update.after_step()
        if update.proximal:
            update.proximal(optimizer.param_groups[0]["lr"])
        return result

    def _forward(self, batch: Batch, update: Update, optimizer: torch.optim.Optimizer) -> Step:
        if self.train.precision == "bf16":
            with torch.autocast(self.device.type, dtype=torch.bfloat16):
                result = update.loss(batch)
        else:
            result = update.loss(batch)
        # As the optimiser's own zero_grad, whose bookkeeping costs a twentieth of a small network's step.
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None
        return result

    def stop_here(self) -> bool:
        """Whether to stop between two experiences, where all processes of a run ask each other.

        Returns:
            True where one of them was asked to.
        """
        return self.ranks.any(self.stopping) if self.ranks else self.stopping

    def _guard(self, phase: Phase, position: Position, step: int) -> None:
        if not self.log.finite():
            where = f"{_where(phase, position)}, pass {position.epoch + 1}, at or before step {step}"
            raise DivergenceError(f"the loss is no longer a finite number: {where}")
        self.log.flush()

    def guard_weights(self, where: str) -> None:
        """Stop a run whose last step, which no loss comes after, made numbers that are not finite.

        Args:
            where: for the message.

        Raises:
            DivergenceError: a parameter that an optimiser moves is NaN or infinite.
        """
        optimizers = (*self.optimizers.values(), *self.own.values())
        if not finite([parameter for each in optimizers for group in each.param_groups for parameter in group["params"]]):
            raise DivergenceError(f"a weight is no longer a finite number: {where}")

    def _seed(self, position: Position, what: int | str) -> None:
        # Dropout and sampling inside networks draw from the global generators: keyed like everything else.
        # Not torch.manual_seed: where CUDA could be used and is not, that notes down the stack for later, two milliseconds each time.
        key = self.randomness.key("global", position.experience, position.phase, what)
        torch.default_generator.manual_seed(key)
        if self.device.type == "cuda":
            torch.cuda.manual_seed_all(key)

    def _optimizer(self, update: Update, where: str) -> tuple[torch.optim.Optimizer, Optimizer]:
        spec = update.optimizer or Optimizer.of(self.train)
        living = self.own if where == "own" else self.optimizers
        if update.name not in living:
            living[update.name] = optimizers.make(spec, update.parameters())
        optimizer = living[update.name]
        if update.name in self._waiting[where]:
            optimizers.restore(optimizer, self._waiting[where].pop(update.name))
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        return optimizer, spec

    def state_dict(self) -> dict[str, Any]:
        """The optimisers' state, also of those not needed since the run was resumed, and the global generator's.

        Returns:
            Nested dictionaries of tensors and plain values.
        """
        states = {}
        for where, living in (("kept", self.optimizers), ("own", self.own)):
            states[where] = {**self._waiting[where], **{name: optimizer.state_dict() for name, optimizer in living.items()}}
        return {"optimizers": states, "generator": torch.get_rng_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state; each optimiser is filled when its phase makes it.

        Args:
            state: what `state_dict` gave.
        """
        self._waiting = {where: dict(state["optimizers"][where]) for where in ("kept", "own")}
        self._generator = state["generator"]
        # Told now and not in the middle of a pass: a state that no generator can take.
        torch.Generator().set_state(self._generator)


@torch.no_grad()
def finite(value: Any) -> bool:
    """Whether all tensors are free of NaN and infinities.

    Args:
        value: nested dictionaries, lists and tuples of tensors and other values.

    Returns:
        True where no tensor holds such a number.
    """
    # A sum that holds a NaN or an infinity is not finite itself, and in double precision finite single ones do not add up to one.
    sums = [tensor.sum(dtype=torch.float64) for tensor in {id(each): each for each in _tensors(value)}.values()]
    return not sums or bool(torch.isfinite(torch.stack(sums)).all())


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, (dict, list, tuple)):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _tensors(each)


def _where(phase: Phase, position: Position) -> str:
    return f"experience {position.experience}, phase '{phase.name}'"


def phase_length(phase: Phase, train: TrainConfig) -> tuple[int, int]:
    """How long a phase is.

    Args:
        phase: the phase.
        train: how networks are trained, where the phase does not say itself.

    Returns:
        Passes (the last may be cut short) and steps.
    """
    length = len(phase.batches)
    iterations = phase.iterations if phase.iterations or phase.epochs else train.iterations
    if not phase.updates and not phase.iterations:
        iterations = None
    if iterations:
        return -(-iterations // length), iterations
    epochs = phase.epochs or (train.epochs if phase.updates else 1)
    return epochs, epochs * length


