"""Two processes that carry runs out together, as torchrun starts them, and what each of them found."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from runs.plan import make_plan
from runs.showing.progress import Progress
from runs.simulation import carry_out
from scenarios.errors import UserError
from scenarios.storage import Storage

ROOT = Path(__file__).parents[3]


def environment(rank: int, port: int) -> dict[str, str]:
    told = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return {**os.environ, **told, "TORCHELASTIC_RUN_ID": "test", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def start(*arguments: str | Path) -> list[subprocess.Popen[str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, *map(str, arguments)]
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return [subprocess.Popen(command, env=environment(rank, port), **streams) for rank in range(2)]


def carried_out(cases: Sequence[Mapping[str, Any]], folder: Path) -> list[list[dict[str, Any]]]:
    """What two processes make of requests.

    Args:
        cases: requests.
        folder: for the runs; process 0 writes them.

    Returns:
        For each process and request the matrix and the state, or the error.
    """
    folder.mkdir()
    (folder / "cases.json").write_text(json.dumps(list(cases)))
    both = start("-m", "tests.runs.parallel.both", folder)
    for process in both:
        _, error = process.communicate(timeout=240)
        assert process.returncode == 0, error
    return [torch.load(folder / f"found-{rank}.pt", weights_only=True) for rank in range(2)]


def found(request: Mapping[str, Any], place: Path | None) -> dict[str, Any]:
    """Carry a run out.

    Args:
        request: of the run.
        place: its directory.

    Returns:
        Its accuracy matrix and what its strategy keeps, or what it was refused for.
    """
    torch.set_num_threads(1)
    with double():
        return _found(request, place)


@contextmanager
def double() -> Iterator[None]:
    """While it lasts, networks and images are of double precision: what is not rounding shows."""
    normalise = Storage.normalise
    torch.set_default_dtype(torch.float64)
    Storage.normalise = lambda self, pixels: normalise(self, pixels).double()  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
        Storage.normalise = normalise  # type: ignore[method-assign]


def _found(request: Mapping[str, Any], place: Path | None) -> dict[str, Any]:
    try:
        plan = make_plan(request, Progress())
    except UserError as error:
        return {"error": str(error)}
    result = carry_out(plan, place, resume=False, progress=Progress())
    return {"matrix": result.matrix, "network": plan.strategy.network.state_dict()}


if __name__ == "__main__":
    here = Path(sys.argv[1])
    answers = [found(case, here / str(number)) for number, case in enumerate(json.loads((here / "cases.json").read_text()))]
    torch.save(answers, here / f"found-{os.environ['RANK']}.pt")
