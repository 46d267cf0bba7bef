"""Batches of single images of the classes that training episodes are drawn from: what a network is pre-trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from scenarios.batches import GeneratorFor
from scenarios.episodes.episodes import EpisodeStream
from scenarios.experience import Batch


@dataclass(frozen=True, eq=False)
class BaseClasses:
    """Passes of a fixed number of batches over the labelled images of one or more domains' training classes.

    Images come in shuffled rounds through all of them, whatever the length of a pass. Labels count the classes of all domains, in order.

    Attributes:
        streams: a stream of episodes of each domain; all of one shape of images.
        batch_size: images a batch; all where there are fewer.
        batches: batches a pass.
    """

    streams: tuple[EpisodeStream, ...]
    batch_size: int
    batches: int

    def __len__(self) -> int:
        return self.batches

    def epoch(self, generator_for: GeneratorFor) -> Iterator[Batch]:
        """One pass.

        Args:
            generator_for: gives the generator of a purpose for this pass.

        Yields:
            The batches, their images sorted by domain.
        """
        rows, targets, domains = self._index()
        size = min(self.batch_size, len(rows))
        rounds = -(-size * self.batches // len(rows))
        generator = generator_for("order")
        order = torch.cat([torch.randperm(len(rows), generator=generator) for _ in range(rounds)])[: size * self.batches]
        for positions in order.split(size):
            # Sorted, so that each domain's images are fetched from its own storage at once.
            chosen = positions[domains[positions].argsort(stable=True)]
            counts = domains[chosen].bincount(minlength=len(self.streams)).tolist()
            parts = rows[chosen].split(counts)
            x = torch.cat([_images(stream, part) for stream, part in zip(self.streams, parts) if len(part)])
            yield Batch(x, targets[chosen].to(x.device), domains[chosen].to(x.device), None)

    def _index(self) -> tuple[Tensor, Tensor, Tensor]:
        # Of every labelled image its row, its class among all, and its domain.
        rows, targets, domains, before = [], [], [], 0
        for number, stream in enumerate(self.streams):
            table = stream.table
            for label, (start, count) in enumerate(zip(table.starts.tolist(), table.labelled.tolist())):
                rows.append(torch.from_numpy(table.rows[start : start + count]))
                targets.append(torch.full((count,), before + label))
                domains.append(torch.full((count,), number))
            before += len(table)
        return torch.cat(rows), torch.cat(targets), torch.cat(domains)


def _images(stream: EpisodeStream, rows: Tensor) -> Tensor:
    storage = stream.storage
    return storage.normalise(storage.images.images_on(storage.device).index_select(0, rows.to(storage.device)))
