"""Episodes between learn2learn (0.2) and here.

`learn2learn:NAME` is a scenario of one of its benchmarks (`learn2learn:omniglot`). `from_tasksets` takes its tasksets, its meta-datasets,
or any data set of pairs (image, label) for it: their images are read once into uint8 tables, and episodes are drawn from these by number,
as from any set here. `to_metadataset` hands the classes of one of our streams of episodes to learn2learn.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import TensorDataset

from scenarios.bridges.foreign import as_bytes, library
from scenarios.episodes.class_splits import ClassPart, ClassSplit
from scenarios.episodes.episodes import EpisodeStream
from scenarios.episodes.episodic import EpisodicScenario
from scenarios.episodes.few_shot import EpisodicConfig, build_episodic
from scenarios.errors import UserError, nearest
from scenarios.images import ImageSet
from scenarios.sources.loader import data_root
from scenarios.streams.request import Request

SAMPLING = {"NWays", "KShots", "FusedNWaysKShots", "LoadData", "RemapLabels", "ConsecutiveLabels"}
"""Task transforms that say how an episode is drawn: ways, shots and queries are options here, and labels always are 0..ways-1."""
TURNING = "RandomClassRotation"
"""The task transform that turns classes by quarters: here the turns are classes of their own."""


@dataclass(frozen=True, kw_only=True)
class Learn2LearnConfig(EpisodicConfig):
    """Options of `learn2learn:BENCHMARK`: those of all scenarios of episodes."""


class Learn2LearnBenchmark:
    """A benchmark of learn2learn."""

    Config = Learn2LearnConfig

    @staticmethod
    def make(config: Learn2LearnConfig, request: Request) -> EpisodicScenario:
        """Build the scenario; the library may download its data into the data root.

        Args:
            config: its options.
            request: name, seed, data root.

        Returns:
            The scenario.

        Raises:
            UserError: learn2learn is not installed, has no such benchmark, or cannot make it.
        """
        if request.data is not None:
            raise UserError("a benchmark of learn2learn brings its own data; leave --data out, or take one of our scenarios of episodes")
        benchmarks, name, root = library("learn2learn.vision.benchmarks"), request.parts["benchmark"], data_root(request.data_root)
        if name not in benchmarks.list_tasksets():
            raise UserError(f"learn2learn has no benchmark '{name}'{nearest(name, benchmarks.list_tasksets())}")
        before = random.getstate()
        random.seed(config.split_seed)  # its division of Omniglot's characters is drawn from Python's own generator
        try:
            tasksets = benchmarks.get_tasksets(name, root=str(root))
        except Exception as error:
            what = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
            raise UserError(f"learn2learn cannot make {name} in {root} ({what})") from error
        finally:
            random.setstate(before)
        return from_tasksets(*tasksets, config=config, request=request)


def from_tasksets(
    train: Any, validation: Any, test: Any, *, config: EpisodicConfig | None = None, request: Request | None = None
) -> EpisodicScenario:
    """Take over tasksets of learn2learn, or what they are made of.

    Args:
        train: a taskset, a meta-dataset, or a data set of pairs (image, label): the classes to meta-train on.
        validation: the same of the classes to select on.
        test: the same of the classes to test on.
        config: what episodes are composed of; None for the defaults, with the ways of the tasksets.
        request: name and seed; None for the name `learn2learn`.

    Returns:
        The scenario of one domain.
    """
    request = request or Request(name="learn2learn", parts={})
    parts = {"train": train, "validation": validation, "test": test}
    asked = {side: set(filter(None, (_ways(each) for each in _transforms(part)))) for side, part in parts.items()}
    config = config or EpisodicConfig(
        ways=max(asked["train"], default=EpisodicConfig.ways), test_ways=max(asked["test"], default=EpisodicConfig.test_ways)
    )
    turned = {any(type(each).__name__ == TURNING for each in _transforms(part)) for part in parts.values()}
    split = ClassSplit(request.name, **{side: _part(part, f"{request.name} {side}") for side, part in parts.items()})
    return build_episodic(config, request, [split.turned() if True in turned else split])


def _transforms(taskset: Any) -> Sequence[Any]:
    # Only tasksets have any.
    return getattr(taskset, "task_transforms", ())


def _ways(transform: Any) -> int | None:
    found: int | None = getattr(transform, "n", None)
    return found


def _part(given: Any, name: str) -> ClassPart:
    for transform in _transforms(given):
        known = type(transform).__name__
        if known not in SAMPLING and known != TURNING:
            raise UserError(f"the task transform {known} has no counterpart here; known are {', '.join(sorted(SAMPLING))}, {TURNING}")
        if known == TURNING and set(transform.degrees) != {0.0, 90.0, 180.0, 270.0}:
            raise UserError(f"{TURNING} by {transform.degrees} has no counterpart here, only by quarter turns")
    data = given.dataset if hasattr(given, "task_transforms") else given
    if not hasattr(data, "labels_to_indices"):
        data = library("learn2learn.data").MetaDataset(data)
    pixels, labels = [], []
    classes = sorted(data.labels_to_indices)
    for number, label in enumerate(classes):
        rows = data.labels_to_indices[label]
        pixels += [data[row][0] for row in rows]
        labels += [number] * len(rows)
    images = as_bytes(pixels)
    fingerprint = hashlib.sha256(images.numpy().tobytes() + torch.tensor(labels).numpy().tobytes()).hexdigest()
    table = ImageSet(name, images, torch.tensor(labels), tuple(map(str, classes)), "real", fingerprint)
    return ClassPart(table, tuple(range(len(classes))), tuple(torch.tensor(labels).bincount().tolist()))


def to_metadataset(stream: EpisodeStream) -> Any:
    """Hand the classes of a stream of episodes to learn2learn.

    Args:
        stream: one side of a domain, for instance `scenario.experiences[0].train`.

    Returns:
        A `learn2learn.data.MetaDataset` of pairs (float image, normalised as here; class), from which it makes tasksets.
    """
    storage, table = stream.storage, stream.table
    images = storage.normalise(storage.images.images[torch.from_numpy(np.ascontiguousarray(table.rows))])
    labels = torch.from_numpy(np.arange(len(table)).repeat(table.sizes))
    by_class = {c: list(range(start, start + size)) for c, (start, size) in enumerate(zip(table.starts.tolist(), table.sizes.tolist()))}
    return library("learn2learn.data").MetaDataset(TensorDataset(images, labels), labels_to_indices=by_class)
