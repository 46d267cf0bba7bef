"""Who carries out the runs of a sweep: processes of this machine, or another engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Task:
    """What a process is asked to carry out.

    Attributes:
        name: of the run in its sweep.
        request: what is asked for.
        place: the run's directory.
    """

    name: str
    request: Mapping[str, Any]
    place: Path


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        kind: `done`; `failed`; `no memory`, a failure for lack of it; `interrupted`; `no room`, where the disk is full; `died`, where its
            process ended before it did.
        line: what went wrong.
        trace: where in the code, for an error that is no mistake of the user's.
        summary: some numbers of a run that is done.
    """

    kind: str
    line: str = ""
    trace: str = ""
    summary: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """Something that happened to a run.

    Attributes:
        name: of the run.
        outcome: what became of it; None while it goes on.
        where: where it stands.
        left: seconds that it will still take; None where that is not known.
    """

    name: str
    outcome: Outcome | None = None
    where: str = ""
    left: float | None = None


class Executor(Protocol):
    """Carries out tasks."""

    @property
    def free(self) -> int:
        """How many more tasks it takes now."""

    def submit(self, task: Task) -> None:
        """Begin a task.

        Args:
            task: a run.
        """

    def wait(self, seconds: float) -> list[Event]:
        """Wait until something happens.

        Args:
            seconds: at most.

        Returns:
            What happened.
        """

    def interrupt(self) -> None:
        """Ask every run to save and stop."""

    def close(self) -> None:
        """End at once whatever still goes on."""
