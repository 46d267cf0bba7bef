"""Ctrl-C: the first asks the engine to stop between two steps and save, the second stops at once."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import Any

from runs.engine import Engine


class Interrupts:
    """While it lasts, the first Ctrl-C stops after a step and saves; the second stops at once.

    Args:
        engine: what is stopped.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.previous: Any = None

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self.previous = signal.signal(signal.SIGINT, self._stop)

    def _stop(self, number: int, frame: Any) -> None:
        if self.engine.stopping:
            if callable(self.previous):
                self.previous(number, frame)
            raise KeyboardInterrupt
        self.engine.stopping = True
        # Struck in the middle of a print, another is refused.
        with contextlib.suppress(RuntimeError):
            self.engine.progress.say("stopping as soon as the run can go on from there; Ctrl-C again stops at once")

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self.previous is not None:
            signal.signal(signal.SIGINT, self.previous)
            # Pressed too late for the engine to see: whoever called has more to do that is not wanted.
            if kind is None and self.engine.stopping:
                raise KeyboardInterrupt
