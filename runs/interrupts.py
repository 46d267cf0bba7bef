"""Ctrl-C. Outside a run it ends the command; in one, the first asks the engine to stop between two steps and save."""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from runs.parallel import launch
from runs.stopping import INTERRUPTED

if TYPE_CHECKING:
    from runs.engine import Engine


class OneInterrupt:
    """Turns Ctrl-C into one `KeyboardInterrupt`, as long as it lasts; what ends already is not interrupted again.

    Attributes:
        pressed: when it was (time.monotonic's seconds).
        telling: whether the user is being told how the command ended.
    """

    def __init__(self) -> None:
        self.pressed: float | None = None
        self.telling = False
        self._previous: Any = None
        self._hook = sys.unraisablehook

    def __enter__(self) -> OneInterrupt:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._press)
            sys.unraisablehook = self._lost
            if launch.size() > 1:
                signal.signal(signal.SIGTERM, self._end)
        return self

    def _end(self, number: int, frame: Any) -> None:
        # So torchrun ends the others when one has failed: they say how to go on, unless they do already.
        if not self.telling:
            self._press(number, frame)

    def _press(self, number: int, frame: Any) -> None:
        now = time.monotonic()
        if self.pressed is None:
            self.pressed = now
            raise KeyboardInterrupt
        # A second later, whatever swallowed the first one, or cannot come to an end, is not waited for.
        if now > self.pressed + 1:
            os.write(2, b"interrupted\n")
            os._exit(INTERRUPTED)

    def _lost(self, what: Any) -> None:
        # It struck where Python lets nothing out (a destructor): once more, in a moment.
        if not isinstance(what.exc_value, KeyboardInterrupt):
            self._hook(what)
            return
        self.pressed = None
        threading.Timer(0.005, self._again).start()

    def _again(self) -> None:
        if sys.unraisablehook == self._lost:
            _thread.interrupt_main()

    def __exit__(self, *exception: object) -> None:
        sys.unraisablehook = self._hook
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous if self.pressed is None else signal.SIG_IGN)


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
