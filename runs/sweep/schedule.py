"""The loop of a sweep: hands runs out, takes up what became of them, tries again what died, and stops without losing anything."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runs import stopping
from runs.recording import files
from runs.stopping import StoppedError
from runs.sweep.executor import Task

if TYPE_CHECKING:
    from runs.sweep.board import Board
    from runs.sweep.executor import Event, Executor, Outcome
    from runs.sweep.trials import Trial

FAILURES = "failures.json"
ATTEMPTS = 3
"""How often a run is begun or taken up whose process dies."""


@dataclass
class Tally:
    """What became of the runs of a sweep.

    Attributes:
        done: names of those that are over, each with its directory.
        failed: names of those that failed, with why.
    """

    done: dict[str, Path] = field(default_factory=dict)
    failed: dict[str, Outcome] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write down what failed; where nothing did, an older list of failures is taken away.

        Args:
            folder: the sweep's.
        """
        path = folder / FAILURES
        if self.failed:
            told: dict[str, Any] = {}
            for name, outcome in self.failed.items():
                trace = {"trace": outcome.trace.splitlines()} if outcome.trace else {}
                told[name] = {"error": outcome.line, "kind": outcome.kind, **trace}
            files.write_json(path, told)
        else:
            path.unlink(missing_ok=True)


def carry_out(trials: Sequence[Trial], executor: Executor, board: Board, folder: Path, tally: Tally) -> None:
    """Carry out the runs of a sweep that are not over yet.

    Args:
        trials: the runs.
        executor: who does it.
        board: shows how it goes.
        folder: the sweep's.
        tally: takes up what becomes of the runs.

    Raises:
        StoppedError: the disk is full.
        KeyboardInterrupt: the user asked to stop; what was under way has been saved.
    """
    loop = _Loop(trials, executor, board, folder, tally)
    try:
        loop.run()
    except KeyboardInterrupt:
        board.say("stopping as soon as the runs can go on from there; Ctrl-C again stops at once")
        loop.drain()
        raise
    if loop.full:
        tally.write(folder)
        raise StoppedError(f"{loop.full}; {len(tally.done)} runs are kept, the same command goes on", stopping.STOPPED)


class _Loop:
    """One sweep's runs, waiting, under way and over."""

    def __init__(self, trials: Sequence[Trial], executor: Executor, board: Board, folder: Path, tally: Tally) -> None:
        self.executor, self.board, self.folder, self.tally = executor, board, folder, tally
        self.waiting = deque(trial for trial in trials if trial.state != "done")
        self.running: dict[str, Trial] = {}
        self.attempts: Counter[str] = Counter()
        self.full = ""
        tally.done |= {trial.name: trial.place for trial in trials if trial.state == "done"}

    def run(self) -> None:
        while self.running or (self.waiting and not self.full):
            while self.waiting and self.executor.free > 0 and not self.full:
                self._begin(self.waiting.popleft())
            for event in self.executor.wait(0.25):
                self._take(event)
            self.board.refresh()

    def drain(self) -> None:
        self.executor.interrupt()
        while self.running:
            for event in self.executor.wait(0.25):
                if event.outcome is not None and (trial := self.running.pop(event.name, None)) and event.outcome.kind == "done":
                    self.tally.done[trial.name] = trial.place
            self.board.refresh()

    def _begin(self, trial: Trial) -> None:

        self.attempts[trial.name] += 1
        self.running[trial.name] = trial
        self.board.began(trial)
        self.executor.submit(Task(trial.name, trial.request, trial.place))

    def _take(self, event: Event) -> None:
        if event.outcome is None:
            self.board.stands(event)
            return
        trial, outcome = self.running.pop(event.name), event.outcome
        if outcome.kind == "done":
            self.tally.done[trial.name] = trial.place
        elif outcome.kind == "no room":
            self.full = self.full or outcome.line
            self.executor.interrupt()
        elif outcome.kind == "interrupted" and self.full:
            pass
        elif outcome.kind in ("died", "interrupted") and self.attempts[trial.name] < ATTEMPTS:
            self.board.say(f"{trial.name}: {outcome.line or 'it was interrupted'}; it goes on in another process")
            self.waiting.appendleft(trial)
            self.board.again(trial)
            return
        else:
            self.tally.failed[trial.name] = outcome
            self.tally.write(self.folder)
        self.board.ended(trial, outcome)
