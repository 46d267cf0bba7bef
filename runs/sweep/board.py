"""What the user sees of a sweep: what runs, waits and has failed, and the time left. Where nobody looks, a line for each run that ends."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from runs.showing.remaining import clock_face

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from runs.sweep.executor import Event, Outcome
    from runs.sweep.trials import Trial

MOST_ROWS = 12
"""Runs and failures that are shown at once."""


class Board:
    """A table that is kept up to date on a terminal.

    Args:
        console: where to.
        trials: all runs of the sweep.
        jobs: how many run side by side.
        clock: seconds.
    """

    def __init__(self, console: Console, trials: Sequence[Trial], jobs: int, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.live import Live

        self.console, self.clock, self.jobs = console, clock, jobs
        self.waiting = {trial.name: trial for trial in trials if trial.state != "done"}
        self.total, self.found = len(trials), len(trials) - len(self.waiting)
        self.done = self.found
        self.running: dict[str, tuple[Trial, float]] = {}
        self.standing: dict[str, Event] = {}
        self.failures: list[tuple[str, str]] = []
        self._took: dict[tuple[str, ...], list[float]] = defaultdict(list)
        self._live = Live(get_renderable=self._draw, console=console, auto_refresh=False, transient=True)
        self._drawn = 0.0

    def __enter__(self) -> Board:
        if self.console.is_terminal and not self.console.quiet:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()

    def say(self, line: str) -> None:
        """Print a line above the table.

        Args:
            line: one line.
        """
        self.console.print(line, soft_wrap=True)

    def began(self, trial: Trial) -> None:
        """A run begins or goes on.

        Args:
            trial: the run.
        """
        self.waiting.pop(trial.name, None)
        self.running[trial.name] = (trial, self.clock())

    def stands(self, event: Event) -> None:
        """A run is getting on.

        Args:
            event: where it stands.
        """
        self.standing[event.name] = event

    def ended(self, trial: Trial, outcome: Outcome) -> None:
        """A run is over, or its process is.

        Args:
            trial: the run.
            outcome: what became of it.
        """
        _, since = self.running.pop(trial.name)
        self.standing.pop(trial.name, None)
        took = self.clock() - since
        if outcome.kind == "done":
            self.done += 1
            self._took[_kind(trial)].append(took)
            accuracy = outcome.summary.get("average_accuracy")
            told = f": average accuracy {100 * accuracy:.2f} %" if accuracy is not None else ""
            line = f"[{self.done + len(self.failures)}/{self.total}] {trial.name}{told} ({took:.1f} s)"
        elif outcome.kind in ("failed", "died"):
            self.failures.append((trial.name, outcome.line))
            line = f"[{self.done + len(self.failures)}/{self.total}] {trial.name} FAILED: {outcome.line}"
        else:
            return
        left = self.left()
        if not self._live.is_started:
            self.say(line + (f", about {clock_face(left)} left" if left and left >= 1 else ""))

    def again(self, trial: Trial) -> None:
        """A run whose process has died waits again.

        Args:
            trial: the run.
        """
        self.running.pop(trial.name)
        self.standing.pop(trial.name, None)
        self.waiting[trial.name] = trial

    def left(self) -> float | None:
        """Seconds to the end of the sweep.

        Returns:
            The estimate; None as long as nothing is known.
        """
        known = [seconds for several in self._took.values() for seconds in several]
        mean = sum(known) / len(known) if known else None

        def whole(trial: Trial) -> float | None:
            took = self._took.get(_kind(trial))
            return sum(took) / len(took) if took else trial.seconds if trial.seconds is not None else mean

        parts = [whole(trial) for trial in self.waiting.values()]
        now = self.clock()
        for name, (trial, since) in self.running.items():
            told = self.standing.get(name)
            expected = whole(trial)
            remaining = max(expected - (now - since), 0.0) if expected is not None else None
            parts.append(told.left if told is not None and told.left is not None else remaining)
        counted = [part for part in parts if part is not None]
        if len(counted) < len(parts):
            return None
        return max(sum(counted) / max(min(self.jobs, len(counted)), 1), max(counted, default=0.0) if not self.waiting else 0.0)

    def refresh(self) -> None:
        """Draw the table anew, at most four times a second."""
        if self._live.is_started and self.clock() > self._drawn + 0.25:
            self._drawn = self.clock()
            self._live.refresh()

    def _draw(self) -> RenderableType:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        left = self.left()
        counts = f"{self.done} of {self.total} done" + (f" ({self.found} found finished)" if self.found else "")
        title = f"{counts}, {len(self.running)} running, {len(self.waiting)} waiting, {len(self.failures)} failed"
        title += f"; {clock_face(left) if left is not None else '?'} left"
        table = Table(title=Text(title), title_justify="left", header_style="", box=box.SIMPLE_HEAD)
        for heading in ("run", "stands at", "gone", "left"):
            table.add_column(heading, overflow="fold")
        now = self.clock()
        for name, (_, since) in list(self.running.items())[:MOST_ROWS]:
            told = self.standing.get(name)
            remaining = clock_face(told.left) if told and told.left is not None else "?"
            table.add_row(Text(name), Text(told.where if told else "starting"), clock_face(now - since), remaining)
        for name, line in self.failures[-MOST_ROWS:]:
            table.add_row(Text(name), Text(f"failed: {line}"), "", "")
        for name in list(self.waiting)[:3]:
            table.add_row(Text(name, style="dim"), Text("waits", style="dim"), "", "")
        return table


def _kind(trial: Trial) -> tuple[str, ...]:
    return (trial.point.names["scenario"], trial.point.names["strategy"])
