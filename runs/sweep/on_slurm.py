"""Runs of a sweep as a Slurm job array, through submitit. The sweep's folder lies where all nodes see it, as Slurm's folders do.

`--address` gives Slurm's parameters joined by commas: `time` in minutes, and any that `sbatch` knows (`partition=gpu,account=me,time=60`).
`cluster=local` lets submitit start processes of this machine instead, to try things out. Submitit is imported here alone.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from runs.sweep.executor import Event, Outcome, Task
from scenarios.errors import UserError, shortened

POLL = 0.5
"""Seconds between two looks at the queue."""


def perform_there(task: Task, threads: int) -> Outcome:
    """Carry a run out on a node, in its own directory.

    Args:
        task: the run.
        threads: of the run.

    Returns:
        What became of it.
    """
    import torch

    from runs.sweep import work

    torch.set_num_threads(threads)
    return work.perform(task, lambda where, left: None)


class OnSlurm:
    """Carries tasks out as jobs of Slurm.

    Args:
        folder: for what jobs print.
        parameters: of Slurm, `name=value` joined by commas.
        jobs: that run at once at most; None for as many as Slurm lets run.
        threads: of each run.
        gpu: whether each run takes a GPU.

    Raises:
        UserError: submitit is not installed, a parameter is not of this form, or there is no Slurm here.
    """

    def __init__(self, folder: Path, parameters: str | None, jobs: int | None, threads: int, *, gpu: bool) -> None:
        try:
            import submitit
        except ImportError:
            raise UserError("--executor slurm needs submitit: pip install 'palimpsest[slurm]'") from None
        given = dict(_pair(text) for text in (parameters or "").split(",") if text.strip())
        cluster, minutes = given.pop("cluster", "slurm"), given.pop("time", "60")
        if not minutes.isdigit():
            raise UserError(f"time is given to Slurm in minutes, not '{shortened(minutes)}'")
        try:
            self._executor = submitit.AutoExecutor(folder=str(folder), cluster=cluster)
        except (RuntimeError, ValueError) as error:
            raise UserError(f"jobs cannot be given to '{shortened(cluster)}' here ({shortened(error, 200)})") from None
        slurm: dict[str, Any] = {f"slurm_{name}": value for name, value in given.items()}
        if jobs is not None:
            slurm["slurm_array_parallelism"] = jobs
        self._executor.update_parameters(timeout_min=int(minutes), cpus_per_task=threads, gpus_per_node=int(gpu), **slurm)
        self._threads = threads
        # A job array is held back by Slurm itself; submitit's own processes are not.
        self._most = jobs if cluster == "local" and jobs is not None else 1_000
        self._waiting: list[Task] = []
        self._running: dict[str, tuple[Any, Task]] = {}

    @property
    def free(self) -> int:
        """How many more tasks are taken now."""
        return self._most - len(self._running) - len(self._waiting)

    def submit(self, task: Task) -> None:
        """Put a task into the next job array.

        Args:
            task: a run.
        """
        self._waiting.append(task)

    def wait(self, seconds: float) -> list[Event]:
        """Hand the job array in, and wait until something happens.

        Args:
            seconds: at most.

        Returns:
            What happened.
        """
        if self._waiting:
            with self._executor.batch():
                jobs = [self._executor.submit(perform_there, task, self._threads) for task in self._waiting]
            self._running |= {task.name: (job, task) for job, task in zip(jobs, self._waiting)}
            self._waiting.clear()
        time.sleep(min(seconds, POLL))
        over = [name for name, (job, _) in self._running.items() if job.done()]
        return [Event(name, _outcome(self._running.pop(name)[0])) for name in over]

    def interrupt(self) -> None:
        """Take every job out of the queue; the last checkpoint of each counts."""
        for job, _ in self._running.values():
            job.cancel()

    def close(self) -> None:
        """End at once whatever still goes on."""
        self.interrupt()
        self._running.clear()


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.strip().partition("=")
    if not equals or not name.isidentifier() or not value:
        raise UserError(f"--address of Slurm takes parameters like partition=gpu,time=60, not '{shortened(text)}'")
    return name, value


def _outcome(job: Any) -> Outcome:
    try:
        return job.result()
    except Exception as error:  # submitit's own kinds, and whatever a job that was cut off leaves behind
        return Outcome("died", f"its job ended before it did ({type(error).__name__}: {shortened(error, 200)})")
