"""The one exception that stands for a mistake of the user's: one line that says what to do instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in what was asked for. The command line prints it as one line and exits with code 2."""


class DataUnavailableError(UserError):
    """A data set is neither on disk nor to be downloaded."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Say which known names come closest to a misspelt one.

    Args:
        word: what the user wrote.
        known: the names that exist.

    Returns:
        `"; did you mean a, b?"`, or the known names if none is close.

    Example:
        >>> nearest("naiv", ["naive", "joint"])
        '; did you mean naive?'
    """
    names = sorted(set(known))
    close = difflib.get_close_matches(word, names, n=3, cutoff=0.55)
    if close:
        return f"; did you mean {', '.join(close)}?"
    return f"; known: {', '.join(names)}" if names else ""
