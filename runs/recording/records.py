"""Records of runs: for every run behind a published number, one line in `runs/records/RECIPE.jsonl`.

A line holds the run's row in its recipe, its resolved configuration, its summary without bulk, the environment (versions, device, threads,
and the code's commit and whether the tree had changes), and a digest of everything that was measured. Lines are only ever added.
`RESULTS.md` is made of them alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from runs.config import ASIDE
from runs.recording import files
from runs.recording.code import ROOT
from runs.recording.directories import flat
from scenarios.errors import UserError

FOLDER = Path(__file__).parents[1] / "records"
MOST_BYTES = 4096
"""A line is no longer than this."""
MOST_VALUES = 16
"""Lists in a summary that are longer, and lists of lists, are bulk."""

@dataclass(frozen=True, eq=False)
class Record:
    """One recorded run.

    Attributes:
        scale: of its recipe.
        row: its label in the recipe.
        seed: of the run.
        config: its resolved configuration, without the places where things lie.
        summary: what `summary.json` held, without bulk.
        environment: versions, device, threads, code, and when it began.
        measured: SHA-256 of `metrics.jsonl`; the same for a run that is repeated bit for bit.
        line: where it stands in its file, from 1; 0 before it is written.
    """

    scale: str
    row: str
    seed: int
    config: dict[str, Any]
    summary: dict[str, Any]
    environment: dict[str, Any]
    measured: str
    line: int = 0

    @property
    def machine(self) -> str:
        """What the run was made on, in words: runs of one seed differ between two of these by rounding alone."""
        device, threads = self.environment["device"], self.environment["threads"]
        return f"{device['name']}, {threads} thread{'s' if threads > 1 else ''}, torch {self.environment['torch']}"

    @property
    def code(self) -> str:
        """The code in a word: its commit, marked where the tree had changes; of a resumed run all of them."""
        marks = {True: " with changes", False: "", None: " with unknown changes"}
        codes = [*self.environment.get("resumed_from", []), self.environment["code"]]
        return " and ".join((code["commit"] or code["version"])[:7] + marks[code["dirty"]] for code in codes)

    def number(self, metric: str) -> float | None:
        """A number of the summary.

        Args:
            metric: its name; dots lead into nested entries and, with a place from 0, into lists (routing.oracle_accuracy.1).

        Returns:
            The number, or None where the summary has none of the name.
        """
        at: Any = self.summary
        for key in metric.split("."):
            if isinstance(at, list) and key.isdecimal():
                at = at[int(key)] if int(key) < len(at) else None
            else:
                at = at.get(key) if isinstance(at, Mapping) else None
        return float(at) if isinstance(at, (int, float)) else None


def read(recipe: str, folder: Path | None = None) -> list[Record]:
    """Read a recipe's records.

    Args:
        recipe: its name.
        folder: where the files lie; by default those of the repository.

    Returns:
        The records in the order in which they were added; none where there is no file.

    Raises:
        UserError: a line is no record.
    """
    path = (folder or FOLDER) / f"{recipe}.jsonl"
    if not path.exists():
        return []
    found = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            found.append(Record(**json.loads(text), line=number))
        except (ValueError, TypeError) as error:
            raise UserError(f"{path}:{number} is no record of a run ({error}); take the file as it was committed") from error
    return found


def of_directory(directory: Path, scale: str, row: str) -> Record:
    """Make a record of a finished run.

    Args:
        directory: the run's.
        scale: the recipe's scale that it belongs to.
        row: its label in the recipe.

    Returns:
        The record.
    """
    import yaml

    config = yaml.safe_load((directory / "config.yaml").read_text(encoding="utf-8"))
    summary, environment = (json.loads((directory / f"{name}.json").read_text(encoding="utf-8")) for name in ("summary", "environment"))
    kept = ("code", "resumed_from", "python", "torch", "torchvision", "numpy", "device", "threads", "started")
    return Record(
        scale,
        row,
        int(config["seed"]),
        {key: value for key, value in config.items() if key not in ASIDE},
        without_bulk(summary),
        {key: environment[key] for key in kept if key in environment},
        hashlib.sha256((directory / "metrics.jsonl").read_bytes()).hexdigest(),
    )


def without_bulk(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of a summary what is long: matrices, and values by step or epoch.

    Args:
        summary: a run's.

    Returns:
        The rest.
    """

    def short(value: Any) -> bool:
        return not isinstance(value, list) or (len(value) <= MOST_VALUES and not any(isinstance(part, (list, dict)) for part in value))

    return {key: without_bulk(value) if isinstance(value, Mapping) else value for key, value in summary.items() if short(value)}


def home(out: Path) -> Path:
    """Where records are added: in the repository or, where the package is installed without one, beside the runs.

    Args:
        out: the folder of a recipe's runs.

    Returns:
        A folder.
    """
    return FOLDER if (ROOT / "pyproject.toml").exists() else out / "records"


def append(recipe: str, record: Record, folder: Path | None = None, metrics: Sequence[str] = ()) -> bool:
    """Add a record to its recipe's file. A run that stands there already is not added again.

    Args:
        recipe: its name.
        record: the record.
        folder: where the files lie; by default those of the repository.
        metrics: numbers of the summary that have to stay, however long the line.

    Returns:
        Whether it was added.
    """
    if any(_same_run(record, other) for other in read(recipe, folder)):
        return False
    path = (folder or FOLDER) / f"{recipe}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    files.append(path, to_line(record, metrics))
    return True


def to_line(record: Record, metrics: Sequence[str] = ()) -> str:
    """Write a record as one line of JSON.

    Args:
        record: the record.
        metrics: numbers of the summary that have to stay, dots lead into nested entries.

    Returns:
        The line, of at most `MOST_BYTES` bytes: the longest nested entries of the summary give way, but for the metrics in them, and their
        names stand under `left_out`.
    """
    summary: dict[str, Any] = dict(record.summary)
    while True:
        content = {**vars(record), "summary": summary}
        del content["line"]
        text = json.dumps(content, separators=(",", ":")) + "\n"
        kept = ("data", "left_out", *summary.get("left_out", []))
        nested = [key for key, value in summary.items() if isinstance(value, (dict, list)) and key not in kept]
        if len(text.encode()) <= MOST_BYTES or not nested:
            return text
        longest = max(nested, key=lambda key: len(json.dumps(summary[key])))
        summary = {key: value for key, value in summary.items() if key != longest} | _only(metrics, longest, record)
        summary["left_out"] = [*summary.get("left_out", []), longest]


def _only(metrics: Sequence[str], entry: str, record: Record) -> dict[str, Any]:
    # Of one nested entry of the summary what leads to the metrics, and nothing else.
    kept: dict[str, Any] = {}
    for metric in metrics:
        *path, last = metric.split(".")
        if path[:1] == [entry] and (number := record.number(metric)) is not None:
            at = kept
            for key in path:
                at = at.setdefault(key, {})
            at[last] = number
    return kept


def outdated(record: Record, request: Mapping[str, Any]) -> list[str]:
    """Hold a record against the whole configuration that its recipe gives today.

    An option that did not exist when the run was made counts as having had its default of today. The device is no part of a recipe.

    Args:
        record: the record.
        request: the recipe's request of its row today.

    Returns:
        What differs, in words; empty where the run would be asked for in the same way.
    """
    from scenarios.recommended import for_episodes, for_streams

    if "shape" not in record.summary["data"]:
        return ["the version that made it did not write down what its recommendations follow from"]
    recommend = for_episodes if record.summary["setting"] == "episodic" else for_streams
    # The seed decides no option, so all seeds of a row share what they resolve to.
    asked = json.dumps({name: value for name, value in request.items() if name != "seed"})
    today, defaults = _resolved(asked, json.dumps(recommend(record.summary["data"])))
    was = {path: value for path, value in flat(record.config) if path not in ("seed", "device")}
    found = []
    for path in sorted(today.keys() | was.keys()):
        now, then = today.get(path), was.get(path, defaults.get(path))
        if path not in today and then is not None:
            found.append(f"{path} was {then} and is gone")
        elif now != then:
            found.append(f"{path} was {then}, is {now}")
    return found


@cache
def _resolved(request: str, recommended: str) -> tuple[dict[str, Any], dict[str, Any]]:
    # A request's whole configuration and the defaults of all its options, by path: the tables of all recipes ask for each many times.
    from runs.resolution import resolve, scalars
    from scenarios.options import describe

    asked = json.loads(request)
    resolved = resolve(asked, json.loads(recommended))
    beside = {name: value for name, value in scalars(asked).items() if name not in ASIDE}
    today = dict(flat(json.loads(json.dumps({**resolved.as_dict(), **beside}))))
    sections = {"scenario": resolved.scenario, "strategy": resolved.strategy, "network": resolved.network, **resolved.optional}
    options = {name: choice.options for name, choice in sections.items()} | {"train": resolved.train, "evaluate": resolved.evaluation}
    defaults = {f"{name}.{option}": value for name, each in options.items() for option, _, value, _ in describe(type(each))}
    return today, json.loads(json.dumps(defaults))


def _same_run(one: Record, other: Record) -> bool:
    def key(record: Record) -> tuple[Any, ...]:
        return record.scale, record.row, record.seed, record.measured, record.environment["started"]

    return key(one) == key(other)
