"""Runs of a sweep on a Ray cluster: each in a temporary folder of its node, its files gathered into the sweep's folder when it ends.

Nodes need this package and the data, and no file system in common. A run whose node dies is begun again on another, from what the sweep's
folder holds of it. Ray is imported here alone.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from runs.recording import files
from runs.sweep.executor import Event, Outcome, Task
from scenarios.errors import UserError, shortened

TRIES = 5
"""How often Ray begins a run again whose node or process has died."""
LAST = "summary.json"
"""The file that makes a run finished; it is written after all others."""


def perform_away(task: Task, content: Mapping[str, bytes], threads: int) -> tuple[Outcome, dict[str, bytes]]:
    """Carry a run out on another node.

    Args:
        task: the run; its place is the sweep's and is not looked at.
        content: what its directory holds so far, by name.
        threads: of the run.

    Returns:
        What became of it, and what its directory holds now.
    """
    import torch

    from runs.sweep import work

    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "run"
        unpack(content, place)
        outcome = work.perform(replace(task, place=place), lambda where, left: None)
        return outcome, pack(place)


def pack(place: Path) -> dict[str, bytes]:
    """Read a run's directory.

    Args:
        place: the directory.

    Returns:
        Its files by relative name; none where it is not there.
    """
    found = [path for path in place.rglob("*") if path.is_file() and path.name != ".lock" and not path.name.endswith(".part")]
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in found}


def unpack(content: Mapping[str, bytes], place: Path) -> None:
    """Write a run's directory, what makes it finished last.

    Args:
        content: its files by relative name.
        place: the directory.
    """
    for name in sorted(content, key=lambda name: (name == LAST, name)):
        path = place / name
        with files.making(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(path) as file:
            file.write(content[name])


class OnRay:
    """Carries tasks out on a Ray cluster.

    Args:
        address: of the cluster (`auto`, `ray://HOST:10001`); None to start one on this machine.
        jobs: runs side by side at most; None for as many as the cluster has processors for.
        threads: of each run.
        gpu: whether each run takes a GPU.

    Raises:
        UserError: Ray is not installed, or there is no such cluster.
    """

    def __init__(self, address: str | None, jobs: int | None, threads: int, *, gpu: bool) -> None:
        try:
            import ray
        except ImportError:
            raise UserError("--executor ray needs Ray: pip install 'palimpsest[ray]'") from None
        self._ray = ray
        self._ours = not ray.is_initialized()
        if self._ours:
            try:
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, ValueError, RuntimeError) as error:
                why = shortened(error, 200)
                raise UserError(f"there is no Ray cluster at {address} ({why}); start one, or leave --address out") from None
        self._jobs = jobs or max(int(ray.cluster_resources().get("GPU" if gpu else "CPU", 1)) // (1 if gpu else threads), 1)
        self._threads = threads
        remote = ray.remote(num_cpus=threads, num_gpus=int(gpu), max_retries=TRIES)
        self._perform = remote(perform_away)
        self._running: dict[Any, Task] = {}
        self._stopping = False

    @property
    def free(self) -> int:
        """How many more tasks are taken now."""
        return self._jobs - len(self._running)

    def submit(self, task: Task) -> None:
        """Begin a task.

        Args:
            task: a run.
        """
        self._running[self._perform.remote(task, pack(task.place), self._threads)] = task

    def wait(self, seconds: float) -> list[Event]:
        """Wait until something happens.

        Args:
            seconds: at most.

        Returns:
            What happened.
        """
        if not self._running:
            time.sleep(min(seconds, 0.01))
            return []
        if self._stopping:
            stopped = [Event(task.name, Outcome("interrupted")) for task in self._running.values()]
            self._running.clear()
            return stopped
        ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=seconds)
        return [self._over(reference) for reference in ready]

    def _over(self, reference: Any) -> Event:
        task = self._running.pop(reference)
        try:
            outcome, content = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            return Event(task.name, Outcome("died", f"Ray lost it ({type(error).__name__}: {shortened(error, 200)})"))
        unpack(content, task.place)
        return Event(task.name, outcome)

    def interrupt(self) -> None:
        """Stop every run; what was learned away from here since it began is lost, and it begins again from what the folder holds."""
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._stopping = True

    def close(self) -> None:
        """End at once whatever still goes on; a cluster that was there before stays."""
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._running.clear()
        if self._ours:
            self._ray.shutdown()
