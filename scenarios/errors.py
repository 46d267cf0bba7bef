"""The one exception that stands for a mistake of the user's: one line that says what to do instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST_LINE, LONGEST_VALUE = 1000, 60


class UserError(ValueError):
    """A mistake in what was asked for. The command line prints it as one line and exits with code 2.

    Whatever the message quotes, it stays one line of a readable length.

    Args:
        line: what is wrong, and what to do instead.
    """

    def __init__(self, line: str) -> None:
        super().__init__(shortened(line, LONGEST_LINE))


class DataUnavailableError(UserError):
    """A data set is neither on disk nor to be downloaded."""


def shortened(value: object, length: int = LONGEST_VALUE) -> str:
    r"""Bring text of the user's own into one line that can be read.

    Args:
        value: any text, or what has one.
        length: the most letters; of longer text the middle is left out.

    Returns:
        The text with its runs of white space and unprintable letters made single spaces, shortened.

    Example:
        >>> shortened("a\nb" + 100 * "c", 12)
        'a bcc...cccc'
    """
    try:
        text = str(value)
    except (ValueError, RecursionError):  # a whole number of thousands of digits; lists in lists in lists
        text = f"a {type(value).__name__}"
    kept = text if len(text) <= 4 * length else text[: 2 * length] + text[-2 * length :]
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in kept).split())
    if len(line) <= length:
        return line
    head = (length - 3) // 2 + (length - 3) % 2
    return f"{line[:head]}...{line[len(line) - (length - 3 - head) :]}"


def shown(value: object) -> str:
    """Say in a message what the user gave; containers are named, not printed, for they may be of any size.

    Args:
        value: what was given.

    Returns:
        A short text.

    Example:
        >>> shown("two"), shown([1, 2])
        ("'two'", 'a list')
    """
    if isinstance(value, (list, tuple, set, dict)):
        return {"dict": "a mapping"}.get(type(value).__name__, f"a {type(value).__name__}")
    return f"'{shortened(value)}'"


def nearest(word: str, known: Iterable[str]) -> str:
    """Say which known names come closest to a misspelt one.

    Args:
        word: what the user wrote; initials will do.
        known: the names that exist.

    Returns:
        `"; did you mean a, b?"`, or the known names if none is close.

    Example:
        >>> nearest("naiv", ["naive", "joint"]), nearest("lr", ["learning_rate", "epochs"])
        ('; did you mean naive?', '; did you mean learning_rate?')
    """
    names = sorted(set(known))
    word = word[: 2 * LONGEST_VALUE]
    initials = [name for name in names if len(word) > 1 and word == "".join(part[:1] for part in name.split("_"))]
    close = initials or difflib.get_close_matches(word, names, n=3, cutoff=0.55)
    if close:
        return f"; did you mean {', '.join(close)}?"
    return f"; known: {', '.join(names)}" if names else ""
