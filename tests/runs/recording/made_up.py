"""Records made up on the spot."""

from __future__ import annotations

import json
from typing import Any

from runs.recording.recipe import requests
from runs.recording.records import Record
from runs.resolution import resolve, scalars
from scenarios.recommended import for_streams
from tests.runs.recording.test_recipe import EXAMPLE

DATA = {"name": "digits", "origin": "embedded", "fingerprint": "f00d", "verified": True, "shape": [1, 8, 8], "examples": 1438}


def environment(**changes: Any) -> dict[str, Any]:
    whole = {
        "code": {"version": "0.1.0", "commit": "0123456789", "dirty": False},
        "torch": "2.9",
        "device": {"type": "cpu", "name": "a chip"},
        "threads": 1,
        "started": "2026-01-01T00:00:00+00:00",
    }
    return {**whole, **changes}


def made(row: str, seed: int, value: float, *, line: int = 1, recipe: dict = EXAMPLE, config: dict | None = None, **changes: Any) -> Record:
    """A record of a row of a recipe, whose average accuracy is `value`; `config` replaces options (flat)."""
    request = next(each for each in requests(recipe, "small")[row] if each["seed"] == seed)
    data = changes.get("summary", {}).get("data", DATA)
    whole = {**resolve(request, for_streams(data)).as_dict(), **scalars(request), "seed": seed, "device": "cpu"}
    resolved = json.loads(json.dumps(whole))
    for path, new in (config or {}).items():
        section, name = path.split(".")
        resolved[section].pop(name, None)
        if new is not None:
            resolved[section][name] = new
    summary = {"setting": "task", "data": DATA, "average_accuracy": value, "cpu_seconds": 90.0, **changes.pop("summary", {})}
    return Record("small", row, seed, resolved, summary, environment(**changes), f"{row}{seed}{value}", line)
