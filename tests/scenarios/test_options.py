"""Options are typed, bounded and checked; a mistake names the option and the nearest ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from scenarios.errors import UserError
from scenarios.options import build, describe, option


@dataclass(frozen=True, kw_only=True)
class Example:
    """Options of an example.

    Attributes:
        count: how many;
            at least one.
        rate: a step size.
        mode: fast or slow.
        widths: of layers.
        order: natural, or a list.
        flag: a switch.
        cap: a limit, or none.
        step: a size.
    """

    count: int = option(3, low=1)
    rate: float = option(0.1, low=0, high=1)
    mode: Literal["fast", "slow"] = "fast"
    widths: tuple[int, ...] = (4, 4)
    order: Literal["natural"] | tuple[int, ...] = "natural"
    flag: bool = False
    cap: int | None = None
    step: float = option(0.1, above=0)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("count", "7", 7),
        ("count", "1e2", 100),
        ("rate", "1e-4", 1e-4),
        ("mode", "Slow", "slow"),
        ("widths", "8,16", (8, 16)),
        ("widths", "[8, 16]", (8, 16)),
        ("widths", [1, 2], (1, 2)),
        ("widths", "5", (5,)),
        ("order", "natural", "natural"),
        ("order", "2,0,1", (2, 0, 1)),
        ("flag", "yes", True),
        ("flag", False, False),
        ("cap", "none", None),
        ("cap", "3", 3),
    ],
)
def test_text_becomes_a_value_of_the_fields_type(name: str, text: object, value: object) -> None:
    built = getattr(build(Example, {name: text}, "strategy"), name)
    assert built == value
    assert type(built) is type(value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cuont": 1}, r"unknown option strategy\.cuont; did you mean count\?"),
        ({"count": "two"}, "strategy.count must be a whole number, not 'two'"),
        ({"count": 2.5}, "strategy.count must be a whole number"),
        ({"count": 0}, "strategy.count must be at least 1, not 0"),
        ({"count": True}, "strategy.count must be a whole number"),
        ({"rate": "nan"}, "strategy.rate must be a number"),
        ({"rate": "inf"}, "strategy.rate must be a finite number"),
        ({"rate": 10**400}, "strategy.rate must be a finite number, not '10+\\.\\.\\.0+'"),
        ({"step": 0}, "strategy.step must be above 0, not 0.0"),
        ({"widths": ""}, "strategy.widths is empty"),
        ({"order": []}, "strategy.order is empty"),
        ({"mode": ["fast"]}, "strategy.mode must be one of fast, slow, not a list"),
        ({"flag": {"a": 1}}, "strategy.flag must be true or false, not a mapping"),
        ({"rate": 2}, "strategy.rate must be at most 1, not 2"),
        ({"rate": "-1"}, "strategy.rate must be at least 0"),
        ({"mode": "slwo"}, "strategy.mode must be one of fast, slow, not 'slwo'"),
        ({"flag": "maybe"}, "strategy.flag must be true or false"),
        ({"widths": "4,x"}, "strategy.widths must be a whole number, not 'x'"),
    ],
)
def test_a_wrong_option_is_named_with_what_to_do_instead(values: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(Example, values, "strategy")


def test_options_are_described_by_their_docstring() -> None:
    rows = {name: (kind, default, text) for name, kind, default, text in describe(Example)}
    assert rows["count"] == ("whole number", 3, "how many; at least one.")
    assert rows["order"][0] == "natural or whole number,..."
    assert rows["cap"][0] == "whole number or none"
    assert rows["widths"][1:] == ((4, 4), "of layers.")


@pytest.mark.parametrize("name", ["count", "rate", "mode", "flag", "order", "widths", "cap"])
def test_a_value_of_any_size_is_refused_at_once_in_a_line_that_can_be_read(name: str) -> None:
    bomb: list = ["x"]
    for _ in range(60):
        bomb = [bomb, bomb]
    for value in (bomb, "a\nb" * 20_000, "\x1b[31m" * 9):
        with pytest.raises(UserError, match=f"strategy.{name} ") as caught:
            build(Example, {name: value}, "strategy")
        assert str(caught.value).isprintable() and len(str(caught.value)) < 200


def test_whatever_a_message_quotes_it_is_one_line() -> None:
    line = str(UserError("cannot read 'a\nb\tc' " + "d" * 50_000 + " the end"))
    assert line.startswith("cannot read 'a b c' d") and line.endswith("d the end") and len(line) == 1000
