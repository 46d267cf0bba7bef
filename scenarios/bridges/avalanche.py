"""Streams between Avalanche (avalanche-lib >= 0.6) and here.

`avalanche:NAME` is a scenario of any of Avalanche's classic benchmarks (`avalanche:SplitMNIST`): its images are read once, without its
transforms, into one uint8 tensor, and its experiences become selections of it. `from_benchmark` does the same with a benchmark that was
made in Python, and `to_benchmark` hands one of our streams to Avalanche.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from scenarios.bridges.foreign import as_bytes, library
from scenarios.errors import UserError, nearest
from scenarios.experience import Examples, Scenario
from scenarios.images import ImageSet
from scenarios.options import option
from scenarios.sources.loader import data_root
from scenarios.streams.cutting import Cut, StreamConfig, build_stream
from scenarios.streams.request import Request


@dataclass(frozen=True, kw_only=True)
class AvalancheConfig(StreamConfig):
    """Options of `avalanche:BENCHMARK`.

    Attributes:
        tasks: experiences, for benchmarks that ask for their number (n_experiences).
        options: further arguments of the benchmark, for instance scenario.options.seed=1.
    """

    tasks: int = option(5, low=1)
    options: Mapping[str, Any] = field(default_factory=dict)


class AvalancheBenchmark:
    """A classic benchmark of Avalanche."""

    Config = AvalancheConfig

    @staticmethod
    def make(config: AvalancheConfig, request: Request) -> Scenario:
        """Build the stream.

        Args:
            config: its options.
            request: name, seed, data root.

        Returns:
            The scenario.

        Raises:
            UserError: Avalanche is not installed, or has no such benchmark, or cannot make it.
        """
        if request.data is not None:
            raise UserError("a benchmark of Avalanche brings its own data; leave --data out, or take split-SET")
        classic = library("avalanche.benchmarks.classic")
        name = request.parts["benchmark"]
        known = {each.lower(): each for each in dir(classic) if each[0].isupper()}
        if name.lower() not in known:
            raise UserError(f"Avalanche has no benchmark '{name}'{nearest(name, known.values())}")
        maker = getattr(classic, known[name.lower()])
        taken = inspect.signature(maker).parameters
        given = {"n_experiences": config.tasks, "dataset_root": data_root(request.data_root), "seed": request.seed, "return_task_id": False}
        try:
            benchmark = maker(**{key: value for key, value in given.items() if key in taken} | dict(config.options))
        except (TypeError, ValueError, AssertionError, OSError, RuntimeError) as error:
            raise UserError(f"Avalanche cannot make {known[name.lower()]}: {error!r}") from error
        return from_benchmark(benchmark, config=config, request=request)


def from_benchmark(benchmark: Any, *, config: StreamConfig | None = None, request: Request | None = None) -> Scenario:
    """Take over a benchmark of Avalanche.

    Args:
        benchmark: with a `train_stream` and a `test_stream` of classification datasets.
        config: setting and the like; None for setting task where classes come once, domain where they come again.
        request: name and seed; None for the benchmark's class name.

    Returns:
        The scenario.

    Raises:
        UserError: its experiences have neither classes of their own nor all the same.
    """
    classes = [sorted(map(int, experience.classes_in_this_experience)) for experience in benchmark.train_stream]
    names = sorted({label for each in classes for label in each})
    own = len(names) == sum(map(len, classes))
    if not own and any(each != classes[0] for each in classes):
        raise UserError("experiences must have classes of their own, or all the same classes; this benchmark's are neither")
    request = request or Request(name=f"avalanche:{type(benchmark).__name__}", parts={})
    config = config or StreamConfig(setting="task" if own else "domain")
    train, test = (_images(getattr(benchmark, f"{side}_stream"), request.name, names, own) for side in ("train", "test"))
    if own:
        cuts = [Cut(classes=tuple(map(names.index, each))) for each in classes]
    else:
        # Classes that come again are one class for each experience here: build_stream cuts by class.
        cuts = [Cut(classes=tuple(range(i * len(names), (i + 1) * len(names))), name=f"experience {i}") for i in range(len(classes))]
    return build_stream(config, request, train, test, cuts)


def _images(stream: Any, name: str, names: Sequence[int], own: bool) -> ImageSet:
    pixels, labels = [], []
    for index, experience in enumerate(stream):
        data = experience.dataset
        bare = data.replace_current_transform_group((None, None)) if hasattr(data, "replace_current_transform_group") else data
        for position in range(len(bare)):
            image, label = bare[position][:2]
            pixels.append(image)
            labels.append(names.index(int(label)) + (0 if own else index * len(names)))
    images = as_bytes(pixels)
    fingerprint = hashlib.sha256(images.numpy().tobytes() + torch.tensor(labels).numpy().tobytes()).hexdigest()
    count = len(names) * (1 if own else len(list(stream)))
    called = tuple(str(names[label % len(names)]) for label in range(count))
    return ImageSet(name, images, torch.tensor(labels), called, "real", fingerprint)


class Pairs(Dataset[tuple[Tensor, int]]):
    """A selection of ours as Avalanche wants it: pairs, with the list of all targets.

    They come in the data set's own order, as in Avalanche's benchmarks, not class by class: some of its methods (EWC) measure a data set
    batch by batch as it lies.

    Args:
        examples: the selection.
    """

    def __init__(self, examples: Examples) -> None:
        batch = examples.batch(examples.rows.argsort(stable=True))
        self.x = batch.x
        self.targets: list[int] = batch.y.tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.x[index], self.targets[index]


def to_benchmark(scenario: Scenario) -> Any:
    """Hand a stream to Avalanche: the same pixels, normalised, and the same targets.

    Args:
        scenario: a stream of ours.

    Returns:
        A benchmark with `train_stream` and `test_stream`; with task labels in setting `task`.
    """
    scenarios_of, utils = library("avalanche.benchmarks.scenarios"), library("avalanche.benchmarks.utils")
    labelled = scenario.setting == "task"
    # Avalanche's plug-ins make their memories by this function too: it is the only one whose sets know targets and task labels.
    wrap = utils._make_taskaware_classification_dataset
    streams = {
        side: [wrap(Pairs(getattr(each, side)), task_labels=each.index if labelled else 0) for each in scenario.experiences]
        for side in ("train", "test")
    }
    benchmark = scenarios_of.benchmark_from_datasets(**streams)
    if labelled:
        benchmark = scenarios_of.with_task_labels(benchmark)
    benchmark = library("avalanche.benchmarks.scenarios.supervised").with_classes_timeline(benchmark)
    # iCaRL reads these, from each experience.
    classes = [sorted(map(int, each.classes_in_this_experience)) for each in benchmark.train_stream]
    for each in benchmark.train_stream:
        each.benchmark = benchmark
    benchmark.n_classes_per_exp, benchmark.classes_order = [len(each) for each in classes], [label for each in classes for label in each]
    return benchmark
