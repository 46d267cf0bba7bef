"""What was typed behind a flag."""

from __future__ import annotations

from typing import Any

from scenarios.errors import UserError, shortened


def whole(text: Any, name: str, least: int) -> int | None:
    """Read a whole number that the user has typed.

    Args:
        text: as it was typed; None where it was not.
        name: the flag.
        least: the least number.

    Returns:
        The number, or None.

    Raises:
        UserError: it is no such number.
    """
    if text is None:
        return None
    try:
        number = int(str(text))
    except ValueError:
        number = least - 1
    if number < least:
        raise UserError(f"{name} must be a whole number from {least}, not '{shortened(text)}'")
    return number
