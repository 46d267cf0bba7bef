"""What the user sees while a run is going on: where it stands, loss and accuracy, time gone by and time left.

Two lines are kept up to date on a terminal; elsewhere a line is printed for each experience. Nothing here is called more than a few times a
second.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from runs.showing.remaining import Remaining, clock_face

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from strategies.phase import Step

INTERVAL = 0.2
"""Seconds between two looks at the loss."""


class Progress:
    """Silent: what a run reports to where nobody looks.

    The terminal's version overrides the drawing.

    Attributes:
        begun: when the present run was asked for (perf_counter's seconds).
    """

    def __init__(self) -> None:
        self.begun = time.perf_counter()
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

    def start_experience(self, index: int, phases: Sequence[tuple[str, int]], done: int) -> None:
        """An experience begins or goes on.

        Args:
            index: which.
            phases: name and steps of each of its phases.
            done: phases that are done already.
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

    def tested(self, seconds: float) -> None:
        """The stream has been tested.

        Args:
            seconds: what it took.
        """

    def end_experience(self, index: int, name: str, line: str) -> None:
        """An experience is learned and all have been tested.

        Args:
            index: which.
            name: its name.
            line: how the learner stands now.
        """

    def starting(self, line: str) -> contextlib.AbstractContextManager[Any]:
        """While it lasts, the run is got ready.

        Args:
            line: what is run.

        Returns:
            A context.
        """
        return contextlib.nullcontext()

    def say(self, line: str) -> None:
        """Tell the user something.

        Args:
            line: one line.
        """

    def close(self) -> None:
        """The run is over."""


class Terminal(Progress):
    """Two lines on a terminal, lines one by one elsewhere.

    Args:
        console: where to.
        clock: seconds.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.perf_counter) -> None:
        super().__init__()
        from rich.live import Live

        self.console = console
        self.remaining = Remaining(clock)
        self._experience, self._phase, self._steps, self._step, self._note = 0, "", 0, 0, ""
        self._told = False
        self._held = ""
        self._live = Live(get_renderable=self._draw, console=console, refresh_per_second=4, transient=True)

    def start_stream(self, experiences: int, done: int) -> None:
        """Begin to draw.

        Args:
            experiences: how many there are.
            done: how many are learned already.
        """
        self.remaining.start_stream(experiences, done)
        if self.console.is_terminal:
            self._live.start()

    def start_experience(self, index: int, phases: Sequence[tuple[str, int]], done: int) -> None:
        """Note what the experience takes.

        Args:
            index: which.
            phases: name and steps of each of its phases.
            done: phases that are done already.
        """
        self._experience = index
        self.remaining.start_experience(phases)
        for _ in range(done):
            self.remaining.skip_phase()

    def start_phase(self, name: str, steps: int, done: int) -> None:
        """Show another phase.

        Args:
            name: its name.
            steps: its length.
            done: steps that are done already.
        """
        self._phase, self._steps, self._step, self._note = name, steps, done, ""
        self.remaining.start_phase(done)

    def advance(self, step: int, last: Step | None) -> None:
        """Show how far the phase has come.

        Args:
            step: steps made in this phase.
            last: the last one.
        """
        self.remaining.advance(step)
        self._step = step
        if not self.console.is_terminal:
            self._tell_length()
            return
        if last is not None:
            note = f"loss {float(last.loss.detach()):.4g}"
            if last.logits is not None and last.targets is not None:
                note += f"  accuracy {float((last.logits.detach().argmax(1) == last.targets).float().mean()):.2f}"
            self._note = note

    def tested(self, seconds: float) -> None:
        """Note what a test costs.

        Args:
            seconds: what it took.
        """
        self.remaining.tested(seconds)

    def end_experience(self, index: int, name: str, line: str) -> None:
        """Leave a line.

        Args:
            index: which experience.
            name: its name.
            line: how the learner stands now.
        """
        self.remaining.end_experience()
        self.say(f"learned {index + 1}/{self.remaining.experiences} ({name}): {line}{self._left(', about {} left')}")

    def starting(self, line: str) -> contextlib.AbstractContextManager[Any]:
        """Say so: on a terminal until it is got ready or a mistake is found, elsewhere with what is said next, if anything is.

        Args:
            line: what is run.

        Returns:
            A context.
        """
        if self.console.is_terminal:
            return self.console.status(line)
        # Whoever reads a file finds a mistake alone in it.
        self._held = line
        return contextlib.nullcontext()

    def say(self, line: str) -> None:
        """Print a line above those that are kept up to date.

        Args:
            line: one line.
        """
        for each in (self._held, line):
            if each:
                self.console.print(each, soft_wrap=True)
        self._held = ""

    def close(self) -> None:
        """Take the two lines away."""
        self._live.stop()

    def _left(self, words: str) -> str:
        left = self.remaining.left()
        return words.format(clock_face(left)) if left and left >= 1 else ""

    def _tell_length(self) -> None:
        # Where nothing is drawn, the estimate is told once, when enough has been seen to make one.
        if not self._told and self.remaining.elapsed() > 2:
            self._told = True
            self.say(f"about {clock_face(self.remaining.elapsed() + (self.remaining.left() or 0))} in all")

    def _draw(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        elapsed, left = self.remaining.elapsed(), self.remaining.left()
        where = f"experience {self._experience + 1}/{self.remaining.experiences}" if self.remaining.experiences > 1 else "episodes"
        line = f"{where}  {self._phase}  {self._step}/{self._steps}  {self._note}"
        share = elapsed / (elapsed + left) if left is not None else 0.0
        grid = Table.grid(padding=(0, 1))
        times = f"{clock_face(elapsed)} gone, {clock_face(left) if left is not None else '?'} left"
        grid.add_row(ProgressBar(total=1.0, completed=share, width=40), Text(times))
        return Group(Text(line, no_wrap=True, overflow="ellipsis"), grid)
