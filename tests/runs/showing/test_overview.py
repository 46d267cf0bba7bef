"""The page of strategies is what the components say, names them all, and a family can be listed alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from runs.showing import listing
from runs.showing.overview import KEPT_AND_COST, family, markdown
from scenarios.errors import UserError
from strategies.registry import strategies

PAGE = Path(__file__).parents[3] / "docs" / "strategies.md"


def test_the_page_is_what_the_components_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == markdown(strategies), "write it anew: python -m runs.showing.overview docs/strategies.md"


def test_every_strategy_for_streams_stands_in_it() -> None:
    others = ("meta", "disposal", "bridges")
    rows = [row for row in strategies.rows.values() if row.place.startswith("strategies.") and family(row.place) not in others]
    assert {row.name for row in rows} == set(KEPT_AND_COST)


def test_a_family_is_listed_alone(capsys: pytest.CaptureFixture[str]) -> None:
    listing.show("strategies", None, "memory")
    out = capsys.readouterr().out
    assert "der++" in out and "replay" in out and "maml" not in out and "naive" not in out
    with pytest.raises(UserError, match="no family 'memry' of strategies; did you mean memory"):
        listing.show("strategies", None, "memry")
    with pytest.raises(UserError, match="--family is for a list of one kind"):
        listing.show(None, None, "memory")
