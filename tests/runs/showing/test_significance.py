"""What is said of groups of runs that are held against each other."""

from __future__ import annotations

from runs.showing.significance import judge, sentence


def test_groups_that_are_equal_on_every_seed_are_told_in_words() -> None:
    verdict = judge([{0: 0.75, 1: 0.5}, {0: 0.75, 1: 0.5}], higher=True)
    assert verdict is not None
    assert sentence("accuracy", ["one", "two"], verdict) == "accuracy: one is best, not told apart from two (equal on every seed)."
