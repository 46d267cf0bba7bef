"""Finished runs, read back from their directories: what tables and figures are made from. Torch is imported for artefacts alone."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runs import yaml_files
from runs.config import ASIDE
from runs.showing import tables
from scenarios.errors import UserError, shortened
from strategies.registry import strategies

if TYPE_CHECKING:
    import numpy

@dataclass(frozen=True, eq=False)
class Run:
    """A finished run.

    Attributes:
        directory: where it lies.
        summary: what `summary.json` holds.
        options: what `config.yaml` holds, flat (`train.epochs` to its value), without the seed and the places where things lie.
    """

    directory: Path
    summary: dict[str, Any]
    options: dict[str, Any]

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.summary["seed"])

    @property
    def strategy(self) -> str:
        """Name of the strategy."""
        return str(self.summary["strategy"])

    @property
    def shown(self) -> str:
        """The strategy's name with what must stand beside it."""
        return strategies.shown(self.strategy)

    @property
    def data(self) -> str:
        """The data in words: name and origin."""
        name, origin = self.summary["data"]["name"], self.summary["data"]["origin"]
        return f"{name} data" if name == origin else f"{name} ({origin} data)"

    def matrix(self) -> tuple[list[str], numpy.ndarray, numpy.ndarray] | None:
        """The accuracy matrix.

        Returns:
            Names, initial row and matrix as `tables.read_matrix` gives them, or None where the scenario has none.
        """
        path = self.directory / "accuracy_matrix.csv"
        return tables.read_matrix(path) if path.exists() else None

    def artefacts(self) -> dict[str, Any]:
        """Tensors that the method left for its own figures.

        Returns:
            Names to tensors; empty where there are none.
        """
        import torch

        path = self.directory / "artefacts.pt"
        return torch.load(path, weights_only=True) if path.exists() else {}


def read(directory: Path) -> Run:
    """Read one run.

    Args:
        directory: the run's own directory.

    Returns:
        The run.

    Raises:
        UserError: it is not a run's directory, or the run is not finished.
    """
    directory = Path(directory)
    if not (directory / "config.yaml").is_file():
        raise UserError(f"{directory} is not a run's directory; name one that `simulate` has written, or a folder of such")
    if not (directory / "summary.json").is_file():
        raise UserError(f"the run {directory} is not finished; finish it with: simulate resume {directory}")
    try:
        summary = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
        options = yaml_files.load(directory / "config.yaml", "it was changed")
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"the run {directory} cannot be read ({shortened(error, 300)}): repeat it") from error
    needed = {"scenario", "strategy", "setting", "seed", "data"}
    if not isinstance(summary, dict) or not isinstance(options, dict) or not needed <= summary.keys():
        raise UserError(f"the run {directory} cannot be read (its summary needs {', '.join(sorted(needed))}): repeat it")
    return Run(directory, summary, {key: value for key, value in flat(options) if key not in ("seed", *ASIDE)})


def find(directories: Iterable[Path]) -> list[Run]:
    """Read runs, and all finished runs in folders of runs.

    Args:
        directories: runs' directories, or folders with runs somewhere inside.

    Returns:
        The runs, each once, in the order named; inside a folder, by name. Unfinished runs inside a folder are left out with a warning, and
        runs on which options were selected where there are others.

    Raises:
        UserError: a directory is not there, is not finished, or has no finished run inside.
    """
    found: dict[Path, Run] = {}
    for directory in map(Path, directories):
        if not directory.is_dir():
            raise UserError(f"there is no directory {directory}; name a run's directory or a folder of runs")
        finished, unfinished = within(directory)
        unfinished = [path for path in unfinished if path != directory]
        if unfinished and not finished:
            raise UserError(f"no run in {directory} is finished; finish one with: simulate resume {unfinished[0]}")
        if unfinished:
            warnings.warn(f"left out as unfinished: {', '.join(map(str, unfinished))}", stacklevel=2)
        runs = [read(path) for path in finished or [directory]]
        # Runs on which options were selected were tested on validation examples: beside runs on test streams they are no rivals.
        reported = [run for run in runs if "selection" not in run.options]
        for run in reported or runs:
            found.setdefault(run.directory.resolve(), run)
    return list(found.values())


def within(directory: Path) -> tuple[list[Path], list[Path]]:
    """Find the runs of a folder.

    Args:
        directory: a folder with runs somewhere inside, or one run's directory.

    Returns:
        The directories of finished and of unfinished runs, by name; a run alone is its own. A run inside a run's directory (an attacked
        run's controls) belongs to that run.
    """
    alone = (directory / "config.yaml").is_file()
    inside = [] if alone else sorted(path.parent for path in directory.glob("*/**/config.yaml"))
    found = [directory] if alone else [path for path in inside if not _within_a_run(path, directory)]
    finished = [path for path in found if (path / "summary.json").is_file()]
    return finished, [path for path in found if path not in finished]


def learned(names: Sequence[str], matrix: numpy.ndarray) -> tuple[list[str], numpy.ndarray]:
    """Cut an accuracy matrix to the experiences that were learned.

    Args:
        names: the experiences' names.
        matrix: [rows, columns], as it is read.

    Returns:
        As many names as rows, and the square matrix.
    """
    size = min(matrix.shape)
    return list(names[:size]), matrix[:size, :size]


def _within_a_run(path: Path, top: Path) -> bool:
    return any((parent / "config.yaml").is_file() for parent in path.parents if parent.is_relative_to(top))


def flat(options: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Flatten a configuration.

    Args:
        options: nested dictionaries.
        prefix: stands before every path.

    Yields:
        Paths (`train.epochs`) and values.
    """
    for key, value in options.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
