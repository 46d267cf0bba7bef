"""The table of mutants, read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Mutant:
    """One change that some test must notice."""

    name: str
    file: str
    old: str
    new: str
    tests: list[str]


def read() -> list[Mutant]:
    """All rows of the table."""
    rows = yaml.safe_load((ROOT / "tests/mutants/table.yaml").read_text(encoding="utf-8"))
    return [Mutant(**{**row, "tests": row["tests"].split()}) for row in rows]
