"""Episodes: few-shot tasks drawn by number from a stream, a meta-batch at a time.

Episode i of a stream is a pure function of (seed, stream, i): the same in any batch, replayable, and exact after a resume. A meta-batch is
drawn as index tensors (`draw`) and gathered at once from the uint8 storage (`gather`); no image is a Python object. The order in which an
episode's classes are drawn is their labelling, so a class has another label every time (a fixed order would let a network know the answer
before it adapts).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scenarios.batches import GeneratorFor
from scenarios.counter_rng import CounterRandomness, Whole
from scenarios.episodes.class_table import ClassTable
from scenarios.episodes.composition import Flags, lay_out, num_queries, num_shots, num_ways
from scenarios.errors import UserError
from scenarios.options import option
from scenarios.storage import Storage

PADDED = -100
"""The label of padding, which `torch.nn.functional.cross_entropy` ignores by default."""

_CLASSES, _IMAGES, _UNLABELLED = 0, 1, 2
_PURPOSE = {"train": "training", "test": "the test"}


class EpisodeBatch(NamedTuple):
    """A meta-batch of episodes, on the device. Images are normalised; labels are 0..ways-1.

    With `S` support, `Q` query and `U` unlabelled images an episode. Padding (where ways or shots vary) is all zeros, has the label
    `PADDED`, and stands behind the real images.

    Attributes:
        support_x: float [E, S, C, H, W].
        support_y: int64 [E, S].
        query_x: float [E, Q, C, H, W].
        query_y: int64 [E, Q].
        unlabelled_x: float [E, U, C, H, W]; None where the specification has no unlabelled images.
        support_mask: bool [E, S], true for real images; None where nothing is padded.
        query_mask: bool [E, Q], likewise.
        ways: the width of the head: the greatest number of classes.
        unlabelled_y: int64 [E, U], -1 for distractors. For diagnostics; a learner must not look at it.
    """

    support_x: Tensor
    support_y: Tensor
    query_x: Tensor
    query_y: Tensor
    unlabelled_x: Tensor | None
    support_mask: Tensor | None
    query_mask: Tensor | None
    ways: int
    unlabelled_y: Tensor | None

    def present(self) -> Tensor:
        """Which labels an episode has.

        Returns:
            bool [E, ways].
        """
        return (self.support_y[:, :, None] == torch.arange(self.ways, device=self.support_y.device)).any(1)


@dataclass(frozen=True, kw_only=True)
class EpisodeSpec:
    """What an episode is composed of.

    Attributes:
        ways: classes of an episode, or the most that it has.
        shots: support images a class, or the most that it has.
        queries: query images a class; the mean where they are imbalanced.
        unlabelled: unlabelled images a class.
        distractors: further classes, of which an episode has only unlabelled images.
        imbalance: of the queries: none; fixed (1, ..., 2 queries - 1, evenly spaced, in random order); or dirichlet proportions.
        concentration: of the Dirichlet distribution (2 in Veilleux et al. 2021); the smaller, the less balanced.
        min_ways: the fewest classes; ways are then uniform between this and `ways`. none for always `ways`.
        min_shots: the fewest support images a class; shots then differ from class to class by Meta-Dataset's rule. none for always `shots`.
        label_ratio: share of each class's images that may be support or query, the others being unlabelled for good; at 1 all
            are drawn from one pool.
    """

    ways: int = option(5, low=2)
    shots: int = option(1, low=1)
    queries: int = option(15, low=1)
    unlabelled: int = option(0, low=0)
    distractors: int = option(0, low=0)
    imbalance: Literal["none", "fixed", "dirichlet"] = "none"
    concentration: float = option(2.0, low=0.01)
    min_ways: int | None = option(None, low=2)
    min_shots: int | None = option(None, low=1)
    label_ratio: float = option(1.0, low=0.01, high=1)

    def __post_init__(self) -> None:
        if self.min_ways is not None and self.min_ways > self.ways:
            raise UserError(f"scenario.min_ways={self.min_ways} exceeds scenario.ways={self.ways}; choose at most that")
        if self.min_shots is not None and self.min_shots > self.shots:
            raise UserError(f"scenario.min_shots={self.min_shots} exceeds scenario.shots={self.shots}; choose at most that")
        if self.distractors and not self.unlabelled:
            raise UserError("distractors are unlabelled images of other classes; set scenario.unlabelled as well")
        if self.min_ways is not None and self.unlabelled:
            raise UserError("unlabelled images need a fixed number of ways; leave scenario.min_ways out")


class Draw(NamedTuple):
    """A meta-batch of episodes as indices; shapes as in `EpisodeBatch`.

    Attributes:
        classes: [E, ways + distractors], the class table's classes in the order of their labels.
        support: [E, S], rows of the storage.
        query: [E, Q], likewise.
        unlabelled: [E, U], likewise; None where there are none.
        support_y: [E, S].
        query_y: [E, Q].
        unlabelled_y: [E, U], -1 for distractors; None where there are none.
        support_mask: [E, S]; None where nothing is padded.
        query_mask: [E, Q]; None where nothing is padded.
    """

    classes: Whole
    support: Whole
    query: Whole
    unlabelled: Whole | None
    support_y: Whole
    query_y: Whole
    unlabelled_y: Whole | None
    support_mask: Flags | None
    query_mask: Flags | None


@dataclass(frozen=True, eq=False)
class EpisodeStream:
    """All episodes over some classes, by number.

    Attributes:
        storage: the images.
        table: the classes and which rows of the storage are theirs.
        spec: what an episode is composed of.
        key: of the stream's randomness: `Randomness(seed).key("episodes", name)`.
    """

    storage: Storage
    table: ClassTable
    spec: EpisodeSpec
    key: int

    def __post_init__(self) -> None:
        spec, table = self.spec, self.table
        name = f"'{self.storage.images.name}'" + (f", part for {_PURPOSE.get(table.part, table.part)}" if table.part else "")
        if len(table) < spec.ways + spec.distractors:
            asked = f"scenario.ways={spec.ways} and {spec.distractors} distractors" if spec.distractors else f"scenario.ways={spec.ways}"
            raise UserError(f"{name}: {asked} exceed its {len(table)} classes; choose at most {len(table)} together")
        behind = 0 if spec.label_ratio < 1 else spec.unlabelled
        need = spec.shots + spec.queries + behind
        least = int(table.labelled.argmin())
        if table.labelled[least] < need:
            parts = [f"{spec.shots} shots", f"{spec.queries} queries", *([f"{behind} unlabelled"] if behind else [])]
            have = f"{table.sizes[least]} images" + (f", {table.labelled[least]} of them labelled" if spec.label_ratio < 1 else "")
            if table.in_all and table.in_all[least] != table.sizes[least]:
                have += f" there ({table.in_all[least]} in all)"
            fewer = "scenario.queries" if table.part == "train" else "scenario.test_queries"
            line = f"{name}: class '{table.names[least]}' has {have}, but an episode needs {need} images a class ({', '.join(parts)})"
            raise UserError(f"{line}; ask for fewer ({fewer}, scenario.shots)")
        if spec.label_ratio < 1 and int((table.sizes - table.labelled).min()) < spec.unlabelled:
            raise UserError(f"too few images are unlabelled at scenario.label_ratio={spec.label_ratio}; choose less of it or of unlabelled")

    def to(self, device: torch.device, channels_last: bool = False) -> EpisodeStream:
        """The same stream, making its batches elsewhere.

        Args:
            device: where.
            channels_last: whether images are laid out channels last.

        Returns:
            The stream there.
        """
        return replace(self, storage=self.storage.to(device, channels_last))

    def batch(self, first: int, count: int) -> EpisodeBatch:
        """Make a meta-batch.

        Args:
            first: the number of its first episode.
            count: how many episodes.

        Returns:
            Episodes first, ..., first + count - 1.
        """
        return self.gather(self.draw(first, count))

    def draw(self, first: int, count: int) -> Draw:
        """Choose the classes and images of a meta-batch.

        Args:
            first: the number of its first episode.
            count: how many episodes.

        Returns:
            The choice.
        """
        spec, table = self.spec, self.table
        randomness = CounterRandomness(self.key, first, count)
        all_classes = np.full((count, 1), len(table))
        classes = randomness.sample(_CLASSES, all_classes, spec.ways + spec.distractors)[:, 0]
        own = classes[:, : spec.ways]
        behind = 0 if spec.label_ratio < 1 else spec.unlabelled
        ways = num_ways(spec.min_ways, spec.ways, randomness)
        shots = num_shots(spec.min_shots, spec.shots, ways, table.sizes[own], randomness)
        room = table.labelled[own] - shots - behind
        queries = num_queries(spec.imbalance, spec.concentration, spec.queries, ways, room, randomness)
        images = randomness.sample(_IMAGES, table.labelled[classes], behind + int((shots + queries).max()))
        images = images + table.starts[classes][:, :, None]
        support_y, support_at, support_filled = lay_out(shots, spec.ways * spec.shots)
        query_y, query_at, query_filled = lay_out(queries, spec.ways * spec.queries)
        query_at = query_at + behind + np.take_along_axis(shots, query_y, 1)
        episodes = np.arange(count)[:, None]
        unlabelled, unlabelled_y = self._unlabelled(randomness, classes, images, shots) if spec.unlabelled else (None, None)
        return Draw(
            classes,
            table.rows[images[episodes, support_y, support_at]],
            table.rows[images[episodes, query_y, query_at]],
            unlabelled,
            np.where(support_filled, support_y, PADDED),
            np.where(query_filled, query_y, PADDED),
            unlabelled_y,
            support_filled if spec.min_ways is not None or spec.min_shots is not None else None,
            query_filled if spec.min_ways is not None else None,
        )

    def gather(self, draw: Draw) -> EpisodeBatch:
        """Fetch the images of a meta-batch and normalise them, all at once.

        Args:
            draw: the choice.

        Returns:
            The episodes, on the device.
        """
        storage = self.storage
        chosen = [rows for rows in (draw.support, draw.query, draw.unlabelled) if rows is not None]
        rows = self._send(np.concatenate([part.ravel() for part in chosen]))
        images = storage.normalise(storage.images.images_on(storage.device).index_select(0, rows))
        blocks = [block.unflatten(0, part.shape) for block, part in zip(images.split([part.size for part in chosen]), chosen)]
        masks = [None if mask is None else self._send(mask) for mask in (draw.support_mask, draw.query_mask)]
        for block, mask in zip(blocks, masks):
            if mask is not None:
                block.masked_fill_(~mask[:, :, None, None, None], 0)
        return EpisodeBatch(
            blocks[0],
            self._send(draw.support_y),
            blocks[1],
            self._send(draw.query_y),
            blocks[2] if draw.unlabelled is not None else None,
            masks[0],
            masks[1],
            self.spec.ways,
            None if draw.unlabelled_y is None else self._send(draw.unlabelled_y),
        )

    def _send(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.storage.device, non_blocking=True)

    def _unlabelled(self, randomness: CounterRandomness, classes: Whole, images: Whole, shots: Whole) -> tuple[Whole, Whole]:
        spec, table = self.spec, self.table
        labels = np.arange(spec.ways + spec.distractors)
        labels[spec.ways :] = -1
        if spec.label_ratio < 1:
            first, sizes = table.labelled[classes], table.sizes[classes]
            chosen = (table.starts[classes] + first)[:, :, None] + randomness.sample(_UNLABELLED, sizes - first, spec.unlabelled)
        else:
            places = np.pad(shots, ((0, 0), (0, spec.distractors)))[:, :, None] + np.arange(spec.unlabelled)
            chosen = np.take_along_axis(images, places, 2)
        rows = table.rows[chosen].reshape(len(classes), -1)
        return rows, np.tile(labels.repeat(spec.unlabelled), (len(classes), 1))


@dataclass(frozen=True, eq=False)
class EpisodeBatches:
    """Meta-batches for a training phase: fresh episodes in every pass.

    A pass draws a number from its own generator, from which its episodes are counted; so episode k of a pass is a pure function of the
    run's seed, the pass and k.

    Attributes:
        stream: where episodes come from.
        meta_batch: episodes a batch.
        batches: batches a pass.
    """

    stream: EpisodeStream
    meta_batch: int
    batches: int

    def __len__(self) -> int:
        return self.batches

    def epoch(self, generator_for: GeneratorFor) -> Iterator[EpisodeBatch]:
        """One pass.

        Args:
            generator_for: gives the generator of a purpose for this pass.

        Yields:
            The meta-batches.
        """
        base = int(torch.randint(1 << 62, (), generator=generator_for("episodes")))
        for i in range(self.batches):
            yield self.stream.batch(base + i * self.meta_batch, self.meta_batch)
