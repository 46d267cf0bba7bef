"""Rehearsal without boundaries: every batch is let into the memory as it is learned.

Later batches, also of the same experience, are joined by what is there by then. The passes over an experience count as stream, as in the
DER code's protocol. Which remembered examples join a batch, and which places its own examples take, is drawn from a generator of each step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from scenarios.batches import GeneratorFor, Shuffled, augmenter
from scenarios.experience import Batch, Examples, Experience, Origin
from scenarios.options import option
from strategies.base import Setup
from strategies.memory.buffer import ClassReservoir, class_numbers, size_of
from strategies.memory.rehearsal import Remembering
from strategies.phase import Phase, Step, Update


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """Options of methods whose memory takes up every batch.

    Attributes:
        memory: examples kept in total; 0 is fine-tuning.
        batch_size: remembered examples that join each batch (drawn anew for each of the method's terms); as many as `train.batch_size`
            unless given.
        buffer: which examples are kept: reservoir, all alike; or balanced, as many of each class.
    """

    memory: int = option(500, low=0)
    batch_size: int | None = option(None, low=1)
    buffer: Literal["reservoir", "balanced"] = "reservoir"


class StreamBuffer:
    """A memory of bounded size that is filled batch by batch.

    Args:
        size: examples kept in total.
        policy: reservoir or balanced.
        setup: of the learner.
        extras: what is kept beside each example: an empty tensor [0, ...] of its shape and type, by name.
    """

    def __init__(self, size: int, policy: str, setup: Setup, extras: dict[str, Tensor]) -> None:
        self.size, self.policy = size, policy
        self._setup = setup
        self.met = 0
        self.filled = 0
        self.classes = ClassReservoir(size, len(setup.scenario) * setup.scenario.num_outputs)
        number = torch.zeros(0, dtype=torch.int64, device=setup.device)
        kinds = {"rows": number, "targets": number, "tasks": number, **extras}
        self.kept = {name: kind.new_zeros(size, *kind.shape[1:]) for name, kind in kinds.items()}

    def __len__(self) -> int:
        return self.filled

    def draw(self, number: int, generator: torch.Generator) -> Tensor:
        """Draw remembered examples.

        Args:
            number: how many, all different; all of them where there are fewer.
            generator: where the choice comes from.

        Returns:
            int64 [min(number, len(self))], places on the device.
        """
        return torch.randperm(self.filled, generator=generator)[:number].to(self._setup.device)

    def take_up(self, key: int, new: dict[str, Tensor]) -> None:
        """Let a batch in.

        Args:
            key: seed of the choice.
            new: for every name that is kept, [B, ...].
        """
        count = len(new["rows"])
        generator = torch.Generator().manual_seed(key)
        if self.policy == "balanced":
            scenario = self._setup.scenario
            examples = Examples(scenario.experiences[0].train.storage, new["rows"], new["targets"], new["tasks"])
            owners = self.classes.take_up(class_numbers(examples, scenario).tolist(), generator, self.filled)
            places = torch.nonzero(owners >= self.filled).flatten()
            chosen = owners[places] - self.filled
            filled = len(owners)
        else:
            numbers = torch.arange(self.met, self.met + count)
            wanted = torch.where(
                numbers < self.size, numbers, (torch.rand(count, generator=generator, dtype=torch.float64) * (numbers + 1)).long()
            )
            inside = torch.nonzero(wanted < self.size).flatten()
            # Of several that want one place the last has it.
            last = {place: who for who, place in zip(inside.tolist(), wanted[inside].tolist())}
            places, chosen = torch.tensor(list(last), dtype=torch.int64), torch.tensor(list(last.values()), dtype=torch.int64)
            filled = min(self.size, self.met + count)
        self.met += count
        self.filled = filled
        if len(places):
            places, chosen = places.to(self._setup.device), chosen.to(self._setup.device)
            for name, kept in self.kept.items():
                kept[places] = new[name].index_select(0, chosen).to(kept.dtype)

    def state_dict(self) -> dict[str, Any]:
        """What is remembered.

        Returns:
            Nested dictionaries of tensors and plain values.
        """
        return {"kept": dict(self.kept), "met": self.met, "filled": self.filled, "classes": self.classes.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved memory.

        Args:
            state: what `state_dict` gave.
        """
        self.met, self.filled = state["met"], state["filled"]
        for name, kept in self.kept.items():
            kept.copy_(state["kept"][name])
        self.classes.load_state_dict(state["classes"])

    def report(self) -> dict[str, int]:
        """The memory's size.

        Returns:
            Examples kept, the bytes that their images take, and those of what is kept beside them, by name.
        """
        beside = {f"{name}_bytes": kept[: self.filled].nbytes for name, kept in self.kept.items() if kept.ndim > 1}
        return {**size_of(self.filled, self._setup), **beside}


@dataclass(frozen=True, eq=False)
class WithStream:
    """Passes over new examples in which every batch is joined by what is remembered by then.

    Attributes:
        new: the new experience's batches.
        buffer: the memory; it changes while a pass goes on.
        portions: how many remembered examples join a batch, one number for each draw.
        by_task: whether learners ask which experiences the remembered ones are of.
    """

    new: Shuffled
    buffer: StreamBuffer
    portions: tuple[int, ...]
    by_task: bool

    def __len__(self) -> int:
        return len(self.new)

    def epoch(self, generator_for: GeneratorFor) -> Iterator[Batch]:
        """One pass over the new examples.

        Args:
            generator_for: gives the generator of a purpose for this pass.

        Yields:
            The batches, new examples first.
        """
        examples, kept = self.new.examples, self.buffer.kept
        storage, met = examples.storage, examples.present
        augment = augmenter(self.new.augmentation, generator_for("augmentation"))
        keys = torch.randint(2**62, (len(self), 2), generator=generator_for("replay")).tolist()
        for positions, (drawing, key) in zip(self.new.order(generator_for), keys):
            generator = torch.Generator().manual_seed(drawing)
            slots = torch.cat([self.buffer.draw(portion, generator) for portion in self.portions])
            rows, y, tasks = (
                torch.cat([own.index_select(0, positions), kept[name].index_select(0, slots)])
                for name, own in (("rows", examples.rows), ("targets", examples.targets), ("tasks", examples.tasks))
            )
            # Only learners with task labels look at which experiences there are; for the others the newest suffices.
            remembered = tuple(kept["tasks"][slots].unique().tolist()) if self.by_task and len(slots) else ()
            present = tuple(sorted({*met, *remembered}))
            task = present[0] if len(present) == 1 and (self.by_task or examples.task is not None and not len(slots)) else None
            x = storage.normalise(storage.pixels(rows, tasks, task, augment))
            yield Batch(x, y, tasks, task, present, Origin(len(positions), rows, slots, met, remembered, key))


class StreamLearner(Remembering):
    """Fine-tuning on new examples beside remembered ones, which are let in batch by batch."""

    Config = StreamConfig
    needs_boundaries = False
    draws = 1
    """How often remembered examples are drawn for a step."""

    def prepare(self, setup: Setup) -> None:
        """Get ready for a scenario, with nothing remembered.

        Args:
            setup: what it will meet, and how it is trained.
        """
        super().prepare(setup)
        self.buffer = StreamBuffer(self.config.memory, self.config.buffer, setup, self.extras())

    def extras(self) -> dict[str, Tensor]:
        """What the method keeps beside each example.

        Returns:
            Empty tensors [0, ...] of its shape and type, by name.
        """
        return {}

    def phases(self, experience: Experience) -> list[Phase]:
        """Train on the experience beside the memory.

        Args:
            experience: what is to be learned.

        Returns:
            One phase.
        """
        if not self.config.memory:
            return super().phases(experience)
        batches = WithStream(self.shuffled(experience.train), self.buffer, self.portions(), self.setup.scenario.setting == "task")
        update = Update(loss=self.loss_and_note, parameters=self.network.parameters, after_step=self._take_up)
        return [Phase(name="train", batches=batches, updates=(update,))]

    def portions(self) -> tuple[int, ...]:
        """How many remembered examples join a batch.

        Returns:
            One number for each draw.
        """
        return (self.config.batch_size or self.setup.train.batch_size,) * self.draws

    def loss_and_note(self, batch: Batch) -> Step:
        """The method's loss; what is to be remembered of the batch is noted, and let in after the step.

        Args:
            batch: new and remembered examples.

        Returns:
            The step.
        """
        assert batch.origin is not None
        n = batch.origin.new
        step, beside = self.rehearse(batch)
        self._noted = batch.origin.key, {"rows": batch.origin.rows[:n], "targets": batch.y[:n], "tasks": batch.tasks[:n], **beside}
        return step

    def rehearse(self, batch: Batch) -> tuple[Step, dict[str, Tensor]]:
        """The method's loss.

        Args:
            batch: new and remembered examples.

        Returns:
            The step, and what is kept beside each new example.
        """
        return self.loss(batch), {}

    def _take_up(self) -> None:
        self.buffer.take_up(*self._noted)
