"""The rows of `training.jsonl` and `metrics.jsonl` in further forms, written while a run goes on: `--log csv`, `--log tensorboard`.

Loggers of Avalanche are told them as well: `--log avalanche:LOGGER` (`runs.recording.avalanche_log`). The JSON lines stay the truth: when
a run begins or goes on, the other forms are made anew of them, so that nothing stands there twice.
"""

from __future__ import annotations

import csv
import importlib.util
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from runs.recording import files
from scenarios.errors import UserError, nearest, shortened

Rows = Sequence[Mapping[str, Any]]
AVALANCHE = "avalanche:"
"""What the names of Avalanche's loggers begin with; they are not imported before one is asked for."""


class Export(Protocol):
    """A further form of a run's rows."""

    def begin(self, training: Rows, metrics: Rows) -> None:
        """Start with the rows that there are.

        Args:
            training: of `training.jsonl`.
            metrics: of `metrics.jsonl`.
        """

    def training(self, rows: Rows) -> None:
        """Add rows.

        Args:
            rows: of `training.jsonl`.
        """

    def metrics(self, rows: Rows) -> None:
        """Add rows.

        Args:
            rows: of `metrics.jsonl`.
        """

    def close(self) -> None:
        """The run stops."""


class Csv:
    """The training log as `training.csv`; what was measured is in `accuracy_matrix.csv` already.

    Args:
        folder: the run's directory.
    """

    COLUMNS = ("experience", "phase", "update", "step", "phase_step", "loss", "accuracy", "learning_rate")

    def __init__(self, folder: Path) -> None:
        self.path = folder / "training.csv"

    def begin(self, training: Rows, metrics: Rows) -> None:
        """Write the file anew.

        Args:
            training: the rows that there are.
            metrics: not needed.
        """
        files.write_text(self.path, self._lines([dict(zip(self.COLUMNS, self.COLUMNS)), *training]))

    def training(self, rows: Rows) -> None:
        """Add rows.

        Args:
            rows: of the training log.
        """
        files.append(self.path, self._lines(rows))

    def metrics(self, rows: Rows) -> None:
        """Nothing is added.

        Args:
            rows: not needed.
        """

    def close(self) -> None:
        """Nothing is open."""

    def _lines(self, rows: Rows) -> str:
        text = io.StringIO()
        csv.DictWriter(text, self.COLUMNS, extrasaction="ignore", lineterminator="\n").writerows(rows)
        return text.getvalue()


class TensorBoard:
    """Event files in `tensorboard/`: losses, accuracies and step sizes by phase, and each test's rows by experience.

    Args:
        folder: the run's directory.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "tensorboard"
        self._writer: Any = None

    def begin(self, training: Rows, metrics: Rows) -> None:
        """Write the events anew.

        Args:
            training: the rows that there are.
            metrics: those of what was measured.
        """
        from torch.utils.tensorboard import SummaryWriter

        for old in self.folder.glob("events.out.tfevents.*"):
            old.unlink()
        self._writer = SummaryWriter(str(self.folder), flush_secs=5)
        self.training(training)
        self.metrics(metrics)

    def training(self, rows: Rows) -> None:
        """Add rows, by the steps of the whole run.

        Args:
            rows: of the training log.
        """
        for row in rows:
            where = row["phase"] if row["update"] == "network" else f"{row['phase']}/{row['update']}"
            for name in ("loss", "accuracy", "learning_rate"):
                if name in row:
                    self._writer.add_scalar(f"{where}/{name}", row[name], row["step"])
            for name, value in row.get("parts", {}).items():
                self._writer.add_scalar(f"{where}/loss of {name}", value, row["step"])

    def metrics(self, rows: Rows) -> None:
        """Add rows, by the number of experiences learned, or by the meta-iteration.

        Args:
            rows: of what was measured.
        """
        for row in rows:
            learned = 0 if row.get("after_experience") == "initial" else row.get("after_experience", 0) + 1
            where = f"{row['metric']}/experience {row['on_experience']}" if "on_experience" in row else row["metric"]
            if isinstance(row.get("value"), int | float):
                self._writer.add_scalar(where, row["value"], row.get("iteration", learned))

    def close(self) -> None:
        """Write what waits."""
        if self._writer is not None:
            self._writer.close()


FORMS: dict[str, Callable[[Path], Export]] = {"csv": Csv, "tensorboard": TensorBoard}
"""What `--log` takes, beside loggers of Avalanche."""


def make(name: str, folder: Path) -> Export:
    """Make a further form of a run's rows.

    Args:
        name: as `check` lets it pass.
        folder: the run's directory.

    Returns:
        The form; nothing is written yet.
    """
    if name.startswith(AVALANCHE):
        from runs.recording import avalanche_log

        return avalanche_log.AvalancheLog(name.removeprefix(AVALANCHE), folder)
    return FORMS[name](folder)


def check(log: str) -> list[str]:
    """Take a `--log` apart.

    Args:
        log: names joined by commas.

    Returns:
        The names, each once.

    Raises:
        UserError: there is no such form, or its package is not installed.
    """
    names = list(dict.fromkeys(name.strip() for name in log.split(",")))
    for name in names:
        if name.startswith(AVALANCHE):
            from runs.recording import avalanche_log

            avalanche_log.logger(name.removeprefix(AVALANCHE))
        elif name not in FORMS:
            raise UserError(f"--log {shortened(name)} does not exist{nearest(name, FORMS)}")
    if "tensorboard" in names and importlib.util.find_spec("tensorboard") is None:
        raise UserError("--log tensorboard needs a package that is not installed: `pip install tensorboard`")
    return names
