"""The table of mutants fits the code: what a row would change stands there, and its tests exist."""

from __future__ import annotations

import ast

import pytest

from tests.mutants.table import ROOT, Mutant, read

MUTANTS = read()


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_a_mutant_changes_what_stands_in_the_code(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    assert mutant.old in text, f"{mutant.file} has changed: bring the row up to date"
    changed = text.replace(mutant.old, mutant.new)
    ast.parse(changed)
    assert changed != text
    for test in mutant.tests:
        assert (ROOT / test.split("::")[0]).is_file(), test


def test_no_two_mutants_are_the_same() -> None:
    assert len({(mutant.file, mutant.old, mutant.new) for mutant in MUTANTS}) == len(MUTANTS)
