"""Finished runs made up on the spot: directories with all the files that tables and figures are made from."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy
import torch
import yaml

from metrics.continual import summarise
from runs.showing.tables import write_matrix

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def accuracies(experiences: int, seed: int, *, decay: float, setting: str) -> tuple[numpy.ndarray, numpy.ndarray]:
    """An initial row and a matrix that decays towards chance."""
    noise = numpy.random.default_rng(seed)
    chance = 0.5 if setting == "task" else 0.0
    peak = noise.uniform(0.86, 0.97, experiences)
    age = numpy.arange(experiences)[:, None] - numpy.arange(experiences)[None]
    matrix = chance + (peak - chance) * numpy.exp(-decay * age.clip(0)) + noise.normal(0, 0.02, age.shape)
    unseen = (chance + noise.normal(0, 0.03, age.shape)) if setting == "task" else numpy.full(age.shape, math.nan)
    initial = (chance + noise.normal(0, 0.03, experiences)) if setting == "task" else numpy.full(experiences, math.nan)
    return initial.clip(0, 1), numpy.where(age >= 0, matrix, unseen).clip(0, 1)


def make_run(
    directory: Path,
    *,
    strategy: str = "naive",
    seed: int = 0,
    experiences: int = 5,
    setting: str = "task",
    decay: float = 0.3,
    scenario: str = "split-cifar10",
    fingerprint: str = "f00d",
    options: dict[str, Any] | None = None,
    extra: dict[str, Any] | None = None,
) -> Path:
    """Write a run's directory; `options` are flat (`train.epochs`), `extra` goes into the summary."""
    directory.mkdir(parents=True)
    initial, matrix = accuracies(experiences, seed, decay=decay, setting=setting)
    names = [f"permutation {i}" for i in range(experiences)]
    if experiences == 5:
        names = [", ".join(CLASSES[2 * i : 2 * i + 2]) for i in range(5)]
    config: dict[str, Any] = {"scenario": {"name": scenario}, "strategy": {"name": strategy}, "train": {"epochs": 5}, "seed": seed}
    for path, value in (options or {}).items():
        section, _, name = path.partition(".")
        if name:
            config.setdefault(section, {})[name] = value
        else:
            config[section] = value
    summary = {
        "scenario": scenario,
        "strategy": strategy,
        "experiences": names,
        "setting": setting,
        "seed": seed,
        "data": {"name": "generated", "origin": "generated", "fingerprint": fingerprint},
        **summarise(torch.from_numpy(matrix), torch.from_numpy(initial)),
        "wall_seconds": 60.0 + seed,
        "peak_memory_bytes": 500 * 2**20,
        **(extra or {}),
    }
    (directory / "config.yaml").write_text(yaml.safe_dump(config))
    (directory / "summary.json").write_text(json.dumps(summary))
    write_matrix(directory / "accuracy_matrix.csv", names, initial, matrix)
    return directory
