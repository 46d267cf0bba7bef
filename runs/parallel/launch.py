"""What a process knows of the others that were started with it by torchrun. Imports no torch."""

from __future__ import annotations

import os

from scenarios.errors import UserError


def size() -> int:
    """How many processes carry this run out.

    Returns:
        What torchrun says; 1 where it did not start this process. `WORLD_SIZE` alone, which clusters set for jobs of all kinds, counts not.
    """
    return int(os.environ.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def rank() -> int:
    """Which of them this is.

    Returns:
        From 0; process 0 alone writes and prints.
    """
    return int(os.environ["RANK"]) if size() > 1 else 0


def local() -> int:
    """Which of those on this machine this is.

    Returns:
        From 0.
    """
    return int(os.environ["LOCAL_RANK"]) if size() > 1 else 0


def refuse(what: str) -> None:
    """Refuse what several processes would each do for themselves.

    Args:
        what: that was asked for.

    Raises:
        UserError: torchrun has started several processes.
    """
    if size() > 1:
        raise UserError(f"torchrun carries out one run on several devices, not {what}; start this without torchrun")
