"""Points drawn by Optuna: repeatable, resumable, learned from selection seeds alone, and better than chance."""

from __future__ import annotations

import importlib.util
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runs.sweep import specification
from runs.sweep.space import Point, expand
from runs.sweep.specification import Search, Select, Sweep
from runs.sweep.sweeping import How, run
from runs.sweep.values import Range
from scenarios.errors import UserError
from tests.runs.sweep.test_executors import BASE

pytest.importorskip("optuna", reason="the extra 'optuna' is not installed")

RANGE = {"strategy": ("ewc",), "strategy.strength": Range(low=1e-4, high=1e4, log=True)}
SELECT = Select(selection_seeds=(0,), report_seeds=(1,))
SWEEP = Sweep(base=BASE, vary=(RANGE,), search=Search(method="optuna", samples=24, seed=3), seeds=(1,), select=SELECT)


def score(point: Point) -> float:
    return -((math.log10(point.values["strategy.strength"]) - 2) ** 2)


def searched(sweep: Sweep, failing: int | None = None) -> list[Point]:
    scores: dict[str, float | None] = {}
    while new := [point for point in expand(sweep, scores)[0] if point.label not in scores]:
        for point in new:
            scores[point.label] = None if len(scores) == failing else score(point)
    return expand(sweep, scores)[0]


def test_points_follow_from_the_seed_and_the_scores_and_come_nearer_to_the_best() -> None:
    found = searched(SWEEP)
    assert [point.label for point in searched(SWEEP)] == [point.label for point in found] and len(found) == 24
    other = replace(SWEEP, search=replace(SWEEP.search, seed=4))
    assert not {point.label for point in searched(other)} & {point.label for point in found}
    scores = [score(point) for point in found]
    assert sum(scores[-8:]) / 8 > sum(scores[:8]) / 8 and max(scores) > -0.5
    assert len(searched(SWEEP, failing=2)) == 24


def test_names_are_combined_and_lists_whole_numbers_and_single_points_have_their_place() -> None:
    vary: dict[str, Any] = {
        "strategy": ("naive", "ewc"),
        "strategy.strength": (1.0, 10.0),
        "network.hidden": ((4,), (4, 4)),
        "train.epochs": Range(low=1, high=3, whole=True),
    }
    found = searched_like(replace(SWEEP, vary=(vary,), search=Search(method="optuna", samples=6, batch=2)))
    of = {name: [point for point in found if point.names["strategy"] == name] for name in ("naive", "ewc")}
    assert all(1 < len(points) <= 6 for points in of.values())
    assert all("strategy.strength" not in point.values for point in of["naive"])
    assert all(point.values["train.epochs"] in (1, 2, 3) and point.values["network.hidden"] in ((4,), (4, 4)) for point in found)
    alone = replace(SWEEP, vary=({"strategy": ("naive", "ewc"), "strategy.strength": (1.0, 10.0)},))
    assert [point.label for point in searched_like(alone)].count("split-digits_naive") == 1


def searched_like(sweep: Sweep) -> list[Point]:
    scores: dict[str, float | None] = {}
    while new := [point.label for point in expand(sweep, scores)[0] if point.label not in scores]:
        scores |= {label: float(len(scores)) for label in new}
    return expand(sweep, scores)[0]


def test_a_sweep_keeps_the_books_and_goes_on_with_any_number_of_jobs(tmp_path: Path) -> None:
    sweep = replace(SWEEP, search=Search(method="optuna", samples=5, batch=2))
    run(sweep, tmp_path / "sweep", How(jobs=2, quiet=True))
    chosen = json.loads((tmp_path / "sweep" / "selection.json").read_text())
    runs = {path.parent.name: path.stat().st_mtime_ns for path in (tmp_path / "sweep" / "selection").glob("*/seed-0")}
    assert chosen["search"]["method"] == "optuna" and chosen["search"]["optuna"] and chosen["cost"]["runs"] == len(runs) == 5
    assert all(path.name == "seed-1" for path in (tmp_path / "sweep" / "report").glob("*/seed-*"))
    last = max(runs, key=lambda label: runs[label])
    shutil.rmtree(tmp_path / "sweep" / "selection" / last)
    run(specification.read(tmp_path / "sweep" / "sweep.yaml"), tmp_path / "sweep", How(jobs=1, quiet=True))
    again = json.loads((tmp_path / "sweep" / "selection.json").read_text())
    assert again["groups"] == chosen["groups"] and again["search"] == chosen["search"]
    kept = {path.parent.name: path.stat().st_mtime_ns for path in (tmp_path / "sweep" / "selection").glob("*/seed-0")}
    assert {label for label in runs if runs[label] != kept[label]} == {last}


def test_what_it_needs_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "optuna" else found(name, *rest))
    (tmp_path / "sweep.yaml").write_text("base: {scenario: split-digits}\nsearch: {method: optuna, samples: 4}\n")
    with pytest.raises(UserError, match=r"pip install 'palimpsest\[optuna\]'"):
        specification.read(tmp_path / "sweep.yaml")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: True if name == "optuna" else found(name, *rest))
    with pytest.raises(UserError, match="instead of seeds give select"):
        specification.read(tmp_path / "sweep.yaml")
    with pytest.raises(UserError, match=r"search\.batch is of optuna"):
        Search(method="sobol", samples=4, batch=2)
