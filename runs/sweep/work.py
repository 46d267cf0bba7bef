"""One run of a sweep, in the process that carries it out: what becomes of it is told as an outcome, never raised."""

from __future__ import annotations

import gc
import time
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from metrics import resources
from runs.engine import DivergenceError, InterruptedRunError
from runs.plan import make_plan
from runs.recording.store import InUseError
from runs.showing.progress import Progress
from runs.showing.remaining import Remaining
from runs.simulation import carry_out
from runs.stopping import NO_ROOM, in_words, too_little_memory
from runs.sweep.executor import Outcome, Task
from scenarios.errors import UserError, shortened

if TYPE_CHECKING:
    from strategies.phase import Step

PATIENCE = 10.0
"""Seconds to wait for a process that still holds a run's directory, as one that is being killed does."""
TOLD = ("average_accuracy", "wall_seconds", "train_seconds", "evaluate_seconds", "peak_memory_bytes")
"""Entries of a summary that an outcome holds."""


def perform(task: Task, tell: Callable[[str, float | None], None]) -> Outcome:
    """Carry a run out, from its beginning or from its last checkpoint.

    Args:
        task: the run.
        tell: is told where it stands, and how many seconds it will still take where that is known.

    Returns:
        What became of it.
    """
    resources.forget_peak_memory()
    try:
        return _patiently(task, Relay(tell))
    except (InterruptedRunError, KeyboardInterrupt):
        return Outcome("interrupted")
    except DivergenceError as error:
        return Outcome("failed", f"diverged: {error}")
    except UserError as error:
        return Outcome("failed", str(error))
    except OSError as error:
        return Outcome("no room" if error.errno in NO_ROOM else "failed", in_words(error))
    except Exception as error:
        if too_little_memory(error):
            return Outcome("no memory", "there is too little memory; choose fewer --jobs, a smaller network or train.batch_size")
        return Outcome("failed", f"{type(error).__name__}: {shortened(error, 300)}", traceback.format_exc())
    finally:
        gc.collect()
        if torch.cuda.is_initialized():
            # What the allocator still holds others may need.
            torch.cuda.empty_cache()


def _patiently(task: Task, progress: Progress) -> Outcome:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            result = carry_out(make_plan(task.request, progress), task.place, resume=True, progress=progress)
            return Outcome("done", summary={name: result.summary[name] for name in TOLD if name in result.summary})
        except InUseError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


class Relay(Progress):
    """Tells another process how a run is getting on.

    Args:
        tell: is told where it stands and how many seconds are left.
    """

    def __init__(self, tell: Callable[[str, float | None], None]) -> None:
        super().__init__()
        self._tell, self._remaining, self._where = tell, Remaining(), ""

    def start_stream(self, experiences: int, done: int) -> None:
        """The run begins or goes on.

        Args:
            experiences: how many there are.
            done: how many are learned already.
        """
        self._remaining.start_stream(experiences, done)

    def start_experience(self, index: int, phases: Sequence[tuple[str, int]], done: int) -> None:
        """An experience begins or goes on.

        Args:
            index: which.
            phases: name and steps of each of its phases.
            done: phases that are done already.
        """
        self._where = f"experience {index + 1}/{self._remaining.experiences}"
        self._remaining.start_experience(phases)
        for _ in range(done):
            self._remaining.skip_phase()

    def start_phase(self, name: str, steps: int, done: int) -> None:
        """A phase begins or goes on.

        Args:
            name: its name.
            steps: its length.
            done: steps that are done already.
        """
        self._remaining.start_phase(done)
        self._tell(f"{self._where}, {name}", self._remaining.left())

    def advance(self, step: int, last: Step | None) -> None:
        """Some steps have been made.

        Args:
            step: steps made in this phase.
            last: the last one.
        """
        self._remaining.advance(step)
        name, steps = self._remaining.phases[self._remaining.phase]
        self._tell(f"{self._where}, {name} {step}/{steps}", self._remaining.left())

    def tested(self, seconds: float) -> None:
        """The stream has been tested.

        Args:
            seconds: what it took.
        """
        self._remaining.tested(seconds)

    def end_experience(self, index: int, name: str, line: str) -> None:
        """An experience is learned and all have been tested.

        Args:
            index: which.
            name: its name.
            line: how the learner stands now.
        """
        self._remaining.end_experience()
