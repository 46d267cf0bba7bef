"""Standard output as it comes: closed, piped into something that stops reading, on a full disk, poorly encoded. None of it ends a run."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

from scenarios.errors import shortened

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 140
"""Columns where there is no terminal to ask."""


def console(quiet: bool = False) -> Console:
    """What everything is printed through: text as it is, no markup, no emoji.

    Args:
        quiet: print nothing.

    Returns:
        A console on standard output.
    """
    from rich.console import Console

    return Console(quiet=quiet, width=None if sys.stdout.isatty() else WIDTH, markup=False, emoji=False, highlight=False)


class Steady:
    """A stream whose failure is remembered and not raised; after it, what is written goes nowhere.

    Args:
        stream: the stream.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.failure: OSError | None = None

    def write(self, text: str) -> int:
        """Write, if that is possible.

        Args:
            text: what is written.

        Returns:
            Its length.
        """
        if self.failure is None:
            try:
                self.stream.write(text)
            except OSError as error:
                self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """Flush, if that is possible."""
        if self.failure is None:
            try:
                self.stream.flush()
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.failure = error
        # What is left in the stream's buffer would fail once more when the interpreter ends.
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def steady() -> Iterator[None]:
    """While it lasts, printing never fails and a warning is a line; at its end, a failure that matters is told on standard error."""
    before, form = (sys.stdout, sys.stderr), warnings.formatwarning
    warnings.formatwarning = lambda message, *rest, **more: f"warning: {shortened(message, 500)}\n"
    _fill_closed()
    nowhere = open(os.devnull, "w", encoding="utf-8")
    out, error = (Steady(stream or nowhere) for stream in before)
    for stream in (out, error):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.reconfigure(errors="replace")
    sys.stdout, sys.stderr = out, error
    try:
        yield
    finally:
        out.flush()
        # A reader that has seen enough is no failure.
        if out.failure is not None and out.failure.errno not in (errno.EPIPE, errno.EINVAL):
            error.write(f"warning: standard output could not be written ({out.failure.strerror})\n")
        error.flush()
        sys.stdout, sys.stderr = before
        warnings.formatwarning = form
        nowhere.close()


def _fill_closed() -> None:
    # A file of the run's own must not take the number of a closed standard stream: what others print would end up in it.
    while True:
        number = os.open(os.devnull, os.O_RDWR)
        if number > 2:
            os.close(number)
            return
