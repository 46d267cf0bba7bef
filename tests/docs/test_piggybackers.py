"""The table of piggybackers' speed is the one that its records make."""

from __future__ import annotations

from tests.benchmarks.piggyback import PAGE, page


def test_the_table_in_the_page_is_that_of_the_records() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text
