"""What a process of `runs.sweep.processes` does; the fork server imports this, and with it torch and all that a run needs."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import Any

import torch

from runs.sweep import known, work
from runs.sweep.executor import Outcome, Task
from strategies.networks import networks
from strategies.registry import strategies

__all__ = ["known", "serve"]

INTERVAL = 0.5
"""Seconds between two messages on where a run stands."""
USUAL = ((strategies, "naive"), (networks, "mlp"), (networks, "conv"))
"""Components that most runs need."""

for registry, name in USUAL:
    registry.load(name)
gc.collect()
gc.freeze()


def serve(channel: Any, lifeline: Any, threads: int | None) -> None:
    """Carry out one task after another, until the parent is gone or asks for an end.

    Args:
        channel: tasks come from here, and what becomes of them is sent.
        lifeline: is closed when the parent is gone.
        threads: of this process; None for torch's own number.
    """
    # Ctrl-C on the terminal is the parent's, who hands it on.
    os.setpgrp()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")
    threading.Thread(target=_until_alone, args=(lifeline,), daemon=True).start()
    if threads is not None:
        torch.set_num_threads(threads)
    with suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            kind, *content = channel.recv()
            channel.send(("over", _run(content[0], content[1], channel)) if kind == "run" else _call(*content))


def _until_alone(lifeline: Any) -> None:
    with suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os._exit(1)


def _run(task: Task, device: int | None, channel: Any) -> Outcome:
    due = time.monotonic()
    if device is not None and torch.cuda.is_available():
        # The run's `cuda` is this one then.
        torch.cuda.set_device(device)

    def tell(where: str, left: float | None) -> None:
        nonlocal due
        if (now := time.monotonic()) >= due:
            due = now + INTERVAL
            channel.send(("stands", where, left))

    return work.perform(task, tell)


def _call(function: str, arguments: tuple[Any, ...]) -> tuple[str, Any]:
    module, _, name = function.partition(":")
    try:
        return "gave", getattr(importlib.import_module(module), name)(*arguments)
    except Exception as error:
        return "raised", error
