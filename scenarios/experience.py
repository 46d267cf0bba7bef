"""Experiences and scenarios: an ordered stream of selections from one storage of images.

Nothing is copied per experience. A scenario has one `ImageSet` to train on and one to test on; an experience, a replay buffer or a batch is
a selection (`Examples`) of rows of it: which image, which output of the head is its target, and which experience it belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from scenarios.storage import Storage

Setting = Literal["task", "domain", "class"]


class Origin(NamedTuple):
    """Where the examples of a batch come from that joins new ones with remembered ones.

    Attributes:
        new: how many are new; they stand first.
        rows: int64 [B], indices into the image set.
        slots: int64 [B - new], places in the memory that the others come from.
        met: experiences that the new ones' selection has examples of, in order.
        remembered: experiences that remembered ones are of, in order.
        key: seed of what is drawn in this step.
    """

    new: int
    rows: Tensor
    slots: Tensor
    met: tuple[int, ...]
    remembered: tuple[int, ...]
    key: int = 0


class Batch(NamedTuple):
    """One batch, on the device.

    Attributes:
        x: float [B, C, H, W], normalised.
        y: int64 [B], the output of the head that is right.
        tasks: int64 [B], the experience that each example belongs to.
        task: the experience that all of them belong to, or None where they are mixed.
        present: the experiences that examples of the selection, which the batch was made from, belong to; in order.
        origin: where the examples come from, if some are remembered and the learner asks.
    """

    x: Tensor
    y: Tensor
    tasks: Tensor
    task: int | None
    present: tuple[int, ...] = (0,)
    origin: Origin | None = None


@dataclass(frozen=True, eq=False)
class Examples(Dataset[tuple[Tensor, int]]):
    """A selection of rows of a storage: an experience's training set, its test set, a replay buffer.

    It is a `torch.utils.data.Dataset` of pairs (x, y), for loops written elsewhere; `batch` is the quick way, and the only one that knows
    the tasks of mixed selections.

    Attributes:
        storage: what the rows index.
        rows: int64 [n], which image.
        targets: int64 [n], the output of the head that is right.
        tasks: int64 [n], the experience it belongs to.
        task: the experience that all belong to, or None where they are mixed.
    """

    storage: Storage
    rows: Tensor
    targets: Tensor
    tasks: Tensor
    task: int | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        place = range(len(self))[index]
        x, y, *_ = self.batch(slice(place, place + 1))
        return x[0], int(y[0])

    def __getitems__(self, indices: list[int]) -> list[tuple[Tensor, int]]:
        # What a DataLoader calls where it is there: a batch is gathered and normalised in one go.
        x, y, *_ = self.batch(torch.tensor(indices, device=self.rows.device))
        return list(zip(x, y.tolist()))

    def __repr__(self) -> str:
        whose = f"of experience {self.task}" if self.task is not None else "of mixed experiences"
        return f"Examples: {len(self):,} of '{self.storage.images.name}' {whose}, x float32 {tuple(self.storage.images.shape)}"

    @cached_property
    def present(self) -> tuple[int, ...]:
        """The experiences that the examples belong to, in order."""
        return tuple(self.tasks.unique().tolist()) if self.task is None else (self.task,)

    def select(self, positions: Tensor) -> Examples:
        """A smaller selection.

        Args:
            positions: int64 [m], positions in this selection.

        Returns:
            Those examples, in that order.
        """
        return replace(self, rows=self.rows[positions], targets=self.targets[positions], tasks=self.tasks[positions])

    def batch(self, positions: Tensor | slice, augment: Callable[[Tensor], Tensor] | None = None) -> Batch:
        """Make one batch on the device.

        Args:
            positions: int64 [B] or a slice, positions in this selection.
            augment: a function of raw pixels, uint8 [B, C, H, W] to the same.

        Returns:
            The batch.
        """
        if isinstance(positions, slice):
            rows, targets, tasks = self.rows[positions], self.targets[positions], self.tasks[positions]
        else:
            rows, targets = self.rows.index_select(0, positions), self.targets.index_select(0, positions)
            tasks = self.tasks.index_select(0, positions) if self.task is None else self.tasks[: len(positions)]
        pixels = self.storage.pixels(rows, tasks, self.task, augment)
        return Batch(self.storage.normalise(pixels), targets, tasks, self.task, self.present)

    def raw_pixels(self, positions: Tensor | slice = slice(None)) -> Tensor:
        """Images as their experience sees them, before any defence has touched them.

        Args:
            positions: int64 [m] or a slice, positions in this selection.

        Returns:
            uint8 [m, C, H, W].
        """
        return self.storage.raw_pixels(self.rows[positions], self.tasks[positions], self.task)

    def altered(self, positions: Tensor, pixels: Tensor) -> Examples:
        """The same selection with other images in some places; the storage must have an overlay.

        Args:
            positions: int64 [m], which examples, each at most once.
            pixels: uint8 [m, C, H, W], what they show instead.

        Returns:
            The selection; all other examples are the same rows as before.
        """
        overlay = self.storage.overlay
        assert overlay is not None
        base = overlay.origin(self.rows[positions])
        origin = self.storage.raw_pixels(base, self.tasks[positions], self.task)
        return replace(self, rows=self.rows.index_copy(0, positions, overlay.add(base, pixels - origin)))

    def to(self, device: torch.device, channels_last: bool = False) -> Examples:
        """The same selection, making its batches elsewhere.

        Args:
            device: where.
            channels_last: whether batches are laid out channels last.

        Returns:
            The selection there.
        """
        return Examples(
            self.storage.to(device, channels_last), self.rows.to(device), self.targets.to(device), self.tasks.to(device), self.task
        )


def concatenate(parts: Sequence[Examples]) -> Examples:
    """Join selections of one storage.

    Args:
        parts: at least one selection, all of the same storage.

    Returns:
        All their examples, in order.
    """
    first = parts[0]
    assert all(part.storage.images is first.storage.images for part in parts)
    same = all(part.task == first.task for part in parts)
    return Examples(
        first.storage,
        torch.cat([part.rows for part in parts]),
        torch.cat([part.targets for part in parts]),
        torch.cat([part.tasks for part in parts]),
        first.task if same else None,
    )


@dataclass(frozen=True, eq=False)
class Experience:
    """One step of a stream.

    Attributes:
        index: its place in the stream, from 0; also its task label.
        name: what it is called in tables and plots.
        outputs: the outputs of the head that belong to it.
        classes: the names of its classes, in the order of its outputs.
        train: what the learner sees.
        validation: what selections may be made on; empty unless `scenario.validation_share` is above 0.
        test: what it is judged on.
        role: what it stands for where a scenario's experiences differ in that: `source`, `target` or `dispose`; else empty.
    """

    index: int
    name: str
    outputs: range
    classes: tuple[str, ...]
    train: Examples
    validation: Examples
    test: Examples
    role: str = ""

    def __repr__(self) -> str:
        held = f", {len(self.validation):,} to select on" if len(self.validation) else ""
        return (
            f"Experience {self.index} ({self.name}): outputs {self.outputs.start} to {self.outputs.stop - 1}, "
            f"{len(self.train):,} examples to learn{held}, {len(self.test):,} to test"
        )


def shape_in_words(data: Mapping[str, Any], shape: tuple[int, int, int]) -> str:
    """Say what a learner sees.

    Args:
        data: of a scenario; `kind` is `features` where it has those.
        shape: of one image, (C, H, W).

    Returns:
        The shape of an image, or the number of features.
    """
    return f"{shape[0]} features" if data.get("kind") == "features" else f"images {tuple(shape)}"


@dataclass(frozen=True, eq=False)
class Scenario:
    """A stream of experiences to learn, and the same stream's test sets to judge by.

    Attributes:
        name: what the user typed.
        setting: `task`, `domain` or `class`.
        experiences: the stream.
        data: `name`, `origin`, `fingerprint` and `verified` of the data.
        input_shape: shape of one image, (C, H, W).
        recommended: options of a run (path to value) that suit this scenario where the user says nothing.
        online: whether examples come once, in their order, and nobody says where an experience ends.
    """

    name: str
    setting: Setting
    experiences: tuple[Experience, ...]
    data: dict[str, Any]
    input_shape: tuple[int, int, int]
    recommended: dict[str, Any] = field(default_factory=dict)
    online: bool = False

    def __len__(self) -> int:
        return len(self.experiences)

    def __repr__(self) -> str:
        head = (
            f"Scenario {self.name}, setting {self.setting}: {len(self)} experiences of {self.data['name']} ({self.data['origin']} data), "
            f"{shape_in_words(self.data, self.input_shape)}, {self.num_outputs} outputs"
        )
        return "\n".join([head, *(f"  {experience}" for experience in self.experiences)])

    @property
    def blocks(self) -> tuple[range, ...]:
        """The blocks of the head: the outputs that come with each experience; one block for all in setting `domain`."""
        edges = {edge for experience in self.experiences for edge in (experience.outputs.start, experience.outputs.stop)}
        return tuple(range(*edge) for edge in pairwise(sorted(edges)))

    @property
    def num_outputs(self) -> int:
        """Width of the head."""
        return max(block.stop for block in self.blocks)

    def in_play(self, index: int) -> range:
        """The outputs that the loss looks at while an experience is learned.

        Args:
            index: the experience.

        Returns:
            Its own outputs in settings `task` and `domain`, all seen so far in setting `class`; there, of an online stream, simply all,
            for which of them have been seen would tell its boundaries.
        """
        if self.online:
            return range(0, self.num_outputs)
        outputs = self.experiences[index].outputs
        return range(0, outputs.stop) if self.setting == "class" else outputs

    def task_mask(self) -> Tensor:
        """Which outputs belong to which experience.

        Returns:
            bool [experiences, outputs].
        """
        mask = torch.zeros(len(self), self.num_outputs, dtype=torch.bool)
        for experience in self.experiences:
            mask[experience.index, experience.outputs.start : experience.outputs.stop] = True
        return mask

    def to(self, device: torch.device, channels_last: bool = False) -> Scenario:
        """The same scenario, making its batches on a device.

        Args:
            device: where.
            channels_last: whether batches are laid out channels last.

        Returns:
            The scenario there.
        """
        moved = tuple(
            replace(
                experience,
                train=experience.train.to(device, channels_last),
                validation=experience.validation.to(device, channels_last),
                test=experience.test.to(device, channels_last),
            )
            for experience in self.experiences
        )
        return replace(self, experiences=moved)
