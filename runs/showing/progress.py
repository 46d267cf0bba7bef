"""What the user sees while a run is going on: one bar for the stream, one for the phase, with loss and accuracy.

Bars are drawn on a terminal only; elsewhere a line is printed for each experience. Nothing here is called more than a few times a second.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from strategies.phase import Step

INTERVAL = 0.2
"""Seconds between two looks at the loss."""


class Progress:
    """Silent: what a run reports to where nobody looks.

    The terminal's version overrides the drawing.
    """

    def __init__(self) -> None:
        self._next = 0.0

    def due(self) -> bool:
        """Whether it is time for a look at the loss.

        Returns:
            True at most once in `INTERVAL` seconds.
        """
        now = time.perf_counter()
        if now < self._next:
            return False
        self._next = now + INTERVAL
        return True

    def start_stream(self, experiences: int, done: int) -> None:
        """The run begins or goes on.

        Args:
            experiences: how many there are.
            done: how many are learned already.
        """

    def start_phase(self, name: str, steps: int, done: int) -> None:
        """A phase begins or goes on.

        Args:
            name: its name.
            steps: its length.
            done: steps that are done already.
        """

    def advance(self, step: int, last: Step | None) -> None:
        """Some steps have been made.

        Args:
            step: steps made in this phase.
            last: the last one.
        """

    def end_phase(self) -> None:
        """The phase is over."""

    def end_experience(self, index: int, name: str, line: str) -> None:
        """An experience is learned and all have been tested.

        Args:
            index: which.
            name: its name.
            line: how the learner stands now.
        """

    def say(self, line: str) -> None:
        """Tell the user something.

        Args:
            line: one line.
        """

    def close(self) -> None:
        """The run is over."""


class Terminal(Progress):
    """Bars on a terminal, lines elsewhere.

    Args:
        console: where to.
    """

    def __init__(self, console: Console) -> None:
        super().__init__()
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        self.console = console
        self._total = 0
        self._phase: Any = None
        self._stream: Any = None
        self._bars = Bars(
            TextColumn("{task.description:<24}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]:<30}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def start_stream(self, experiences: int, done: int) -> None:
        """Draw the bar of the stream.

        Args:
            experiences: how many there are.
            done: how many are learned already.
        """
        self._total = experiences
        self._bars.start()
        self._stream = self._bars.add_task("experiences", total=experiences, completed=done, note="")

    def start_phase(self, name: str, steps: int, done: int) -> None:
        """Draw the bar of a phase.

        Args:
            name: its name.
            steps: its length.
            done: steps that are done already.
        """
        self._phase = self._bars.add_task(f"  {name}", total=steps, completed=done, note="")

    def advance(self, step: int, last: Step | None) -> None:
        """Move the bar of the phase.

        Args:
            step: steps made in this phase.
            last: the last one.
        """
        if self._bars.disable:
            return
        note = ""
        if last is not None:
            note = f"loss {float(last.loss.detach()):.4g}"
            if last.logits is not None and last.targets is not None:
                note += f"  accuracy {float((last.logits.detach().argmax(1) == last.targets).float().mean()):.2f}"
        self._bars.update(self._phase, completed=step, note=note)

    def end_phase(self) -> None:
        """Take the bar of the phase away."""
        self._bars.remove_task(self._phase)

    def end_experience(self, index: int, name: str, line: str) -> None:
        """Move the bar of the stream and leave a line.

        Args:
            index: which experience.
            name: its name.
            line: how the learner stands now.
        """
        self.say(f"learned {index + 1}/{self._total} ({name}): {line}")
        self._bars.update(self._stream, completed=index + 1)

    def say(self, line: str) -> None:
        """Print a line above the bars.

        Args:
            line: one line.
        """
        self.console.print(line, highlight=False, markup=False)

    def close(self) -> None:
        """Take the bars away."""
        self._bars.stop()
