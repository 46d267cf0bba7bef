"""The values that an option takes in a sweep, as they are written.

On the command line (`--set`) and in text, `;` separates values of any option; `,` does too where the option takes one value, as in
`strategy.l1=1e-5,1e-4`. Where the option's value is a list itself, `,` belongs to the list: `network.hidden=100,100` is one value,
`network.hidden=100,100;400,400` are two. In YAML a list holds the values; of an option whose value is a list, a list of lists does.
A range, `{low: 1e-4, high: 0.1, log: true}`, is drawn from by a random or Sobol search.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runs import config
from runs.sweep.components import COMPONENTS, is_list
from scenarios.errors import UserError, shown

NAMED = (*COMPONENTS, "data", "test_scenario")
"""What may vary beside options: names."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """All numbers between two, from which a search draws.

    Attributes:
        low: the least.
        high: the greatest.
        log: drawn evenly in the logarithm.
        whole: whole numbers alone.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def at(self, share: float) -> float | int:
        """A number of the range; of four digits, so that it can be written down and read.

        Args:
            share: in [0, 1), how far from low to high.

        Returns:
            The number.

        Example:
            >>> Range(low=1e-4, high=1.0, log=True).at(0.5), Range(low=1, high=4, whole=True).at(0.99)
            (0.01, 4)
        """
        high = self.high + 1 if self.whole else self.high
        if self.log:
            number = math.exp(math.log(self.low) + share * (math.log(high) - math.log(self.low)))
        else:
            number = self.low + share * (high - self.low)
        return math.floor(number) if self.whole else rounded(number, self)

    def as_dict(self) -> dict[str, Any]:
        """The range as YAML holds it.

        Returns:
            Plain values.
        """
        return {"low": self.low, "high": self.high, "log": self.log}


def rounded(number: float, held: Range) -> float:
    """A number of a range to four digits, so that it can be written down and read.

    Args:
        number: the number.
        held: the range.

    Returns:
        The number, still of the range.
    """
    return min(max(float(f"{number:.4g}"), held.low), held.high)


Values = tuple[Any, ...] | Range
"""What an option varies over."""


def read(path: str, given: Any, request: Mapping[str, Any]) -> Values:
    """Read what an option varies over.

    Args:
        path: the option (`strategy.strength`), or a name (`strategy`).
        given: as YAML or a `--set` gives it.
        request: what is asked for beside; tells which component's option it is.

    Returns:
        Values, each once, or a range.

    Raises:
        UserError: there is none.
    """
    if isinstance(given, Mapping):
        return _range(path, given)
    if isinstance(given, str):
        values: Any = split(path, given, request)
    elif isinstance(given, (list, tuple)):
        one = path not in NAMED and is_list(path, request) and not any(isinstance(value, (list, tuple, str)) for value in given)
        values = [list(given)] if one else list(given)
    else:
        values = [given]
    if not values:
        raise UserError(f"{path} has no values to vary over; give it at least one")
    return tuple(values[i] for i in range(len(values)) if values[i] not in values[:i])


def split(path: str, text: str, request: Mapping[str, Any]) -> list[str]:
    """Take a text apart into values.

    Args:
        path: the option, or a name.
        text: as the user wrote it.
        request: what is asked for beside.

    Returns:
        The values; one where it is one.
    """
    if ";" in text:
        parts = text.split(";")
    elif "," in text and not (config.OWN.match(text) if path in NAMED else is_list(path, request)):
        parts = text.split(",")
    else:
        parts = [text]
    return [part.strip() for part in parts if part.strip()]


def _range(path: str, given: Mapping[str, Any]) -> Range:
    numbers = [given.get("low"), given.get("high")]
    known = set(given) <= {"low", "high", "log"} and isinstance(given.get("log", False), bool)
    low, high = map(_number, numbers) if known else (math.nan, math.nan)
    if not low < high or math.isinf(high - low):
        raise UserError(f"{path} varies over a list, or over a range like {{low: 1e-4, high: 0.1, log: true}}, not {shown(given)}")
    if given.get("log") and low <= 0:
        raise UserError(f"{path}.low must be above 0 where the range is logarithmic")
    return Range(low=low, high=high, log=bool(given.get("log")), whole=all(isinstance(number, int) for number in numbers))


def _number(value: Any) -> float:
    try:
        return math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return math.nan
