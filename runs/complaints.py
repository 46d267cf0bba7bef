"""What a command says when it ends before its time: one line, and an exit code."""

from __future__ import annotations

import typer

from runs.parallel import launch
from runs.stopping import INTERRUPTED, MISTAKE, NO_ROOM, STOPPED, in_words, too_little_memory
from scenarios.errors import UserError, shortened


def in_one_line(error: BaseException) -> int:
    """Print what has gone wrong, or raise it again where it is no mistake of the user's.

    Args:
        error: what ended the command.

    Returns:
        The exit code.
    """
    stopped = getattr(error, "exit_code", None)
    if isinstance(error, UserError):
        return complain(str(error), MISTAKE)
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return complain("interrupted", INTERRUPTED)
    if isinstance(error, OSError):
        return complain(in_words(error), STOPPED if error.errno in NO_ROOM else MISTAKE)
    if hasattr(error, "format_message"):
        # A wrong flag: the class is click's, which typer may bring along under a name of its own.
        from runs.showing import hints

        message = error.format_message()
        hint = hints.of_flag(message) if "No such option" in message else hints.of_command(message)
        said = message.split(" (Possible")[0].rstrip(".")
        return complain(f"{shortened(said, 300)}; {hint or '`simulate --help` shows the flags'}", MISTAKE)
    if isinstance(stopped, int):
        return complain(str(error), stopped)
    if too_little_memory(error):
        return complain("there is too little memory; choose a smaller network, train.batch_size or evaluate.batch_size", STOPPED)
    raise error


def complain(line: str, code: int) -> int:
    """Print a line on standard error.

    Args:
        line: what has gone wrong.
        code: of the exit.

    Returns:
        The same code.
    """
    if launch.local() > 0 and code in (MISTAKE, INTERRUPTED):
        # The first process of each machine says the same.
        return code
    # A folder's name may hold a line break.
    line = "".join(letter if letter.isprintable() else "?" for letter in line)
    typer.echo(f"error: {line}" if code != INTERRUPTED else line, err=True)
    return code
