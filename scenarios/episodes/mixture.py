"""Meta-batches of episodes of several domains, for training on all of them at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from scenarios.batches import GeneratorFor
from scenarios.episodes.episodes import EpisodeBatch, EpisodeStream


@dataclass(frozen=True, eq=False)
class MixedEpisodes:
    """Meta-batches whose episodes are each of a domain drawn anew, all domains alike.

    Of one domain these are the meta-batches of `EpisodeBatches`.

    Attributes:
        streams: a stream of episodes of each domain, all of one composition and one shape of images.
        meta_batch: episodes a batch.
        batches: batches a pass.
    """

    streams: tuple[EpisodeStream, ...]
    meta_batch: int
    batches: int

    def __len__(self) -> int:
        return self.batches

    def epoch(self, generator_for: GeneratorFor) -> Iterator[EpisodeBatch]:
        """One pass.

        Args:
            generator_for: gives the generator of a purpose for this pass.

        Yields:
            The meta-batches, their episodes sorted by domain.
        """
        base = int(torch.randint(1 << 62, (), generator=generator_for("episodes")))
        choice = generator_for("domains")
        for i in range(self.batches):
            domains = torch.randint(len(self.streams), (self.meta_batch,), generator=choice)
            counts = domains.bincount(minlength=len(self.streams)).tolist()
            first = base + i * self.meta_batch
            yield joined([stream.batch(first, count) for stream, count in zip(self.streams, counts) if count])


def joined(batches: Sequence[EpisodeBatch]) -> EpisodeBatch:
    """Put meta-batches of one composition one after another.

    Args:
        batches: at least one.

    Returns:
        All their episodes.
    """
    ways = batches[0].ways
    parts = zip(*(batch._replace(ways=None) for batch in batches))  # type: ignore[arg-type]
    return EpisodeBatch(*(None if part[0] is None else torch.cat(part) for part in parts))._replace(ways=ways)  # type: ignore[arg-type]
