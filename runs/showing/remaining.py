"""How long a run will still take: from the steps made, the phases to come, and what a test has cost.

Each phase's steps have a price of their own (a curvature pass costs more than a training step). Experiences to come are taken to have the
phases of the present one; phases whose price is not known yet are taken at the mean price. A test costs what tests have cost on average.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence


class Remaining:
    """Keeps the books of one run.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.started = clock()
        self.experiences, self.learned = 1, 0
        self.phases: list[tuple[str, int]] = []
        self.phase = 0
        self.prices: dict[str, tuple[int, float]] = {}
        self.tests: list[float] = []
        self._step, self._since = 0, self.started

    def start_stream(self, experiences: int, learned: int) -> None:
        """Note how many experiences there are.

        Args:
            experiences: in all.
            learned: that are learned already.
        """
        self.experiences, self.learned = experiences, learned

    def start_experience(self, phases: Sequence[tuple[str, int]]) -> None:
        """Note what an experience takes.

        Args:
            phases: name and steps of each.
        """
        self.phases, self.phase = list(phases), -1

    def start_phase(self, done: int) -> None:
        """The next phase begins.

        Args:
            done: steps of it that are done already.
        """
        self.phase += 1
        self._step, self._since = done, self.clock()

    def skip_phase(self) -> None:
        """The next phase was carried out before the run was taken up."""
        self.phase += 1

    def advance(self, step: int) -> None:
        """Steps of the present phase have been made.

        Args:
            step: how many, in all.
        """
        now, name = self.clock(), self.phases[self.phase][0]
        if step > self._step:
            steps, seconds = self.prices.get(name, (0, 0.0))
            self.prices[name] = (steps + step - self._step, seconds + now - self._since)
            self._step, self._since = step, now

    def tested(self, seconds: float) -> None:
        """A test of the stream is over.

        Args:
            seconds: what it took.
        """
        self.tests.append(seconds)

    def end_experience(self) -> None:
        """An experience is learned and tested."""
        self.learned += 1
        self.phase = len(self.phases)

    def elapsed(self) -> float:
        """Seconds since the run began or was taken up.

        Returns:
            Seconds.
        """
        return self.clock() - self.started

    def left(self) -> float | None:
        """Seconds to the end.

        Returns:
            The estimate; None as long as no step has been made.
        """
        known = [price for price in self.prices.values() if price[0]]
        if not known:
            return None
        mean = sum(seconds for _, seconds in known) / sum(steps for steps, _ in known)

        def cost(name: str, steps: int) -> float:
            made, seconds = self.prices.get(name, (0, 0.0))
            return steps * (seconds / made if made else mean)

        whole = sum(cost(name, steps) for name, steps in self.phases)
        present = 0.0
        if 0 <= self.phase < len(self.phases):
            name, steps = self.phases[self.phase]
            present = cost(name, steps - self._step) + sum(cost(*phase) for phase in self.phases[self.phase + 1 :])
        test = sum(self.tests) / len(self.tests) if self.tests else 0.0
        to_come = self.experiences - self.learned
        learning = present + whole * max(to_come - 1, 0) if self.phase < len(self.phases) else whole * to_come
        since = self.clock() - self._since if self.phase < len(self.phases) else 0.0
        return max(learning - since, 0.0) + test * to_come


def clock_face(seconds: float) -> str:
    """Write a time down as people read it.

    Args:
        seconds: not negative.

    Returns:
        m:ss, or h:mm:ss from an hour on.

    Example:
        >>> clock_face(65.2), clock_face(3725)
        ('1:05', '1:02:05')
    """
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
