"""Processes of this machine that stay alive from run to run: each is forked from one that has imported torch, so that a start is paid once.

The one that has imported torch (multiprocessing's fork server) computes nothing, so it has no threads that a fork would lose. A process
that dies is replaced, and what it was doing is told as `died`. A process whose parent is gone ends at once: the last checkpoint counts.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import connection
from typing import TYPE_CHECKING, Any

from runs.sweep.executor import Event, Outcome, Task
from runs.sweep.sharing import Sharing

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess


SERVICE = "runs.sweep.service"
"""What the fork server imports: all that a run needs."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Processes:
    """Processes that carry out runs side by side.

    Args:
        jobs: how many.
        threads: of each; None for torch's own number.

    Attributes:
        jobs: how many at most.
        sharing: the GPUs that runs share; None where they compute on the CPU.
    """

    def __init__(self, jobs: int, threads: int | None) -> None:
        self.sharing: Sharing | None = None
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([SERVICE])
        self._threads, self.jobs = threads, jobs
        self._workers: list[_Worker] = []

    @property
    def free(self) -> int:
        """How many more tasks are taken now."""
        idle = self.jobs - sum(worker.task is not None for worker in self._workers)
        return min(idle, self.sharing.room) if self.sharing else idle

    def call(self, function: str, *arguments: Any) -> Any:
        """Let a process compute something, so that this one need not import torch.

        Args:
            function: `module:name`.
            *arguments: of the function.

        Returns:
            What it returns. What it raises is raised; that the process died is a `ChildProcessError`.
        """
        return self._ask(self._idle(None), function, *arguments)

    def _ask(self, worker: _Worker, function: str, *arguments: Any) -> Any:
        try:
            worker.channel.send(("call", function, arguments))
            kind, *content = worker.channel.recv()
        except (EOFError, OSError) as error:
            self._workers.remove(worker)
            raise ChildProcessError(f"the process that looks for runs died ({worker.death()})") from error
        if kind == "raised":
            raise content[0]
        return content[0]

    def submit(self, task: Task) -> None:
        """Begin a task.

        Args:
            task: a run.
        """
        device = self.sharing.choose() if self.sharing else None
        if self.sharing and device is not None:
            if device not in self.sharing.available and not self.sharing.fixed:
                # Where it cannot be told one run has the GPU alone.
                self.sharing.available[device] = 0
                with suppress(ChildProcessError, RuntimeError):
                    self.sharing.available[device] = self._ask(self._idle(device), self.sharing.memory, device)
            self.sharing.running[device] += 1
        worker = self._idle(device)
        worker.task, worker.device = task, device
        # One that has just died is found out by `wait`.
        with suppress(OSError):
            worker.channel.send(("run", task, device))

    def wait(self, seconds: float) -> list[Event]:
        """Wait until something happens.

        Args:
            seconds: at most.

        Returns:
            What happened.
        """
        busy = {worker.channel: worker for worker in self._workers if worker.task is not None}
        if not busy:
            time.sleep(min(seconds, 0.01))
        return [event for channel in connection.wait(list(busy), seconds) for event in self._events(busy[channel])]

    def _events(self, worker: _Worker) -> Iterator[Event]:

        assert worker.task is not None
        name = worker.task.name
        try:
            kind, *content = worker.channel.recv()
        except (EOFError, OSError):
            self._workers.remove(worker)
            self._left(worker, Outcome("died"))
            yield Event(name, Outcome("died", f"its process died ({worker.death()})"))
            return
        if kind == "stands":
            yield Event(name, None, *content)
            return
        worker.task = None
        yield Event(name, self._left(worker, content[0]))

    def _left(self, worker: _Worker, outcome: Outcome) -> Outcome:
        # What becomes of a run that has left its GPU.
        if self.sharing and worker.device is not None:
            if outcome.kind != "no memory":
                self.sharing.ended(worker.device, int(outcome.summary.get("peak_memory_bytes", 0)))
            elif self.sharing.overflowed(worker.device):
                return Outcome("interrupted", "too little memory beside the other runs on its GPU")
        return outcome

    def interrupt(self) -> None:
        """Ask every run to save and stop."""
        for worker in self._workers:
            if worker.task is not None:
                worker.signal(signal.SIGINT)

    def close(self) -> None:
        """End at once whatever still goes on."""
        for worker in self._workers:
            worker.end()
        self._workers.clear()

    def _idle(self, device: int | None) -> _Worker:
        # What a process once had on a GPU it keeps a part of: it stays there.
        for worker in self._workers:
            if worker.task is None and (device is None or worker.device in (None, device)):
                return worker
        with _environment(self._threads):
            worker = _Worker(self._context, self._threads)
        self._workers.append(worker)
        return worker


class _Worker:
    """One process, and what it is doing."""

    def __init__(self, context: Any, threads: int | None) -> None:
        self.task: Task | None = None
        self.device: int | None = None
        self.channel, theirs = context.Pipe()
        self._lifeline, held = context.Pipe()
        arguments = (theirs, held, threads, os.getcwd(), dict(os.environ))
        self._process: ForkServerProcess = context.Process(target=serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        held.close()

    def signal(self, number: int) -> None:
        if self._process.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    def death(self) -> str:
        # How it ended, in words.
        self._process.join(5)
        code = self._process.exitcode
        self.end()
        if code == -signal.SIGKILL:
            return "killed by signal 9, as the system does where memory runs out"
        return f"killed by signal {-code}" if code is not None and code < 0 else f"exit code {code}"

    def end(self) -> None:
        self._lifeline.close()
        self.channel.close()
        self._process.join(0.5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(5)


@contextmanager
def _environment(threads: int | None) -> Iterator[None]:
    # Libraries read these when they are imported, in the fork server's process.
    before = {name: os.environ.get(name) for name in THREADS}
    if threads is not None:
        os.environ.update(dict.fromkeys(THREADS, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def serve(channel: Any, lifeline: Any, threads: int | None, folder: str, environment: dict[str, str]) -> None:
    """Carry out one task after another, in a process of its own.

    Args:
        channel: tasks come from here, and what becomes of them is sent.
        lifeline: is closed when the parent is gone.
        threads: of this process; None for torch's own number.
        folder: the parent's working directory; the fork server may have been started from another.
        environment: the parent's.
    """
    os.chdir(folder)
    os.environ.update(environment)
    from runs.sweep import service

    service.serve(channel, lifeline, threads)


