"""What ends a command before its time: each in one line, with an exit code."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import struct
from collections.abc import Iterator
from pathlib import Path
from pickle import PickleError

from scenarios.errors import UserError, shortened

DONE, MISTAKE, STOPPED, INTERRUPTED = 0, 2, 3, 130
"""Exit codes: all is well; the user has to ask for something else; a run stopped, and can go on; Ctrl-C."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a system says when there is no room: on the disk, in the user's share of it, or in a file."""
HINTS = {
    **dict.fromkeys(NO_ROOM, "make room"),
    errno.EMFILE: "raise the number of open files (`ulimit -n`)",
    errno.ENFILE: "raise the number of open files (`ulimit -n`)",
    errno.EACCES: "change its permissions, or name another",
    errno.EPERM: "change its permissions, or name another",
    errno.EROFS: "name a place that can be written",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EEXIST: "name a directory",
    errno.ENOTDIR: "name a directory",
    errno.ELOOP: "it is a link that leads back to itself",
}


MISSHAPEN = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError),
    *(PickleError, RuntimeError, TypeError, ValueError, struct.error),
)
"""What reading a file raises whose values are of another kind than those that were written."""


class StoppedError(Exception):
    """A run stopped before its end.

    Args:
        line: what to tell the user.
        exit_code: `INTERRUPTED` or `STOPPED`.
    """

    def __init__(self, line: str, exit_code: int) -> None:
        super().__init__(line)
        self.exit_code = exit_code


@contextlib.contextmanager
def as_written(what: str) -> Iterator[None]:
    """While it lasts, what is read was written by a run; where it has another form, somebody has changed it since.

    Args:
        what: the files' directory.

    Raises:
        UserError: a file does not have the form that a run gives it.
    """
    try:
        yield
    except UserError:
        raise
    except MISSHAPEN as error:
        found = f"{type(error).__name__}: {shortened(error, 100)}"
        raise UserError(f"the files in {shortened(what, 300)} are not as a run writes them ({found}); repeat the run") from error


def in_words(error: OSError) -> str:
    """Say what the system has refused, and what may help.

    Args:
        error: what was raised.

    Returns:
        One line.

    Example:
        >>> in_words(OSError(errno.ENOSPC, "No space left on device", "run/checkpoint.pt"))
        'run/checkpoint.pt: No space left on device; make room'
    """
    if not error.filename and error.strerror == os.strerror(errno.ENOENT):
        return "the folder in which this was started is gone; change to another"
    where = f"{shortened(error.filename, 300)}: " if error.filename else ""
    hint = HINTS.get(error.errno or 0)
    return f"{where}{error.strerror or error}" + (f"; {hint}" if hint else "")


def command(words: str, folder: Path) -> str:
    """A command that the user can type.

    Args:
        words: its beginning.
        folder: its last argument.

    Returns:
        The command in backquotes.

    Example:
        >>> command("simulate resume", Path("my runs/one"))
        "`simulate resume 'my runs/one'`"
    """
    return f"`{words} {shlex.quote(str(folder))}`"


def going_on(folder: Path, again: str) -> str:
    """Say how to go on with a run that stopped.

    Args:
        folder: its directory.
        again: the command that goes on with it, in backquotes.

    Returns:
        The end of a line.
    """
    if (folder / "checkpoint.pt").exists():
        return f"go on from the last checkpoint with {again}"
    if (folder / "config.yaml").exists():
        return f"it had no checkpoint yet: begin it again with {again}"
    return "it had not begun: give the same command again"


def too_little_memory(error: BaseException) -> bool:
    """Whether an error says that memory could not be had.

    Args:
        error: any error.

    Returns:
        True for Python's and torch's own, on any device.
    """
    words = ("can't allocate memory", "out of memory", "not enough memory")
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words))
