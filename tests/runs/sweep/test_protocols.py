"""Options are chosen on selection seeds and validation examples; no test example is read meanwhile; the protocol and its cost are told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runs import plan
from runs.held_out import held_out
from runs.recording.directories import find
from runs.simulation import simulate
from runs.sweep import protocols, specification
from runs.sweep.space import Point
from runs.sweep.specification import Select, Sweep
from runs.sweep.sweeping import How, run
from runs.sweep.trials import Trial
from scenarios.errors import UserError
from tests.runs.sweep.test_executors import BASE
from tests.runs.test_guarded_streams import Guarded


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    made = plan.make_scenario

    def make(*arguments: Any) -> Any:
        scenario = made(*arguments)
        return replace(scenario, experiences=tuple(replace(each, test=Guarded()) for each in scenario.experiences))

    monkeypatch.setattr(plan, "make_scenario", make)


def asked(selection: str | None, **more: Any) -> dict[str, Any]:
    base = {**BASE, "scenario": {**BASE["scenario"], "validation_share": 0.2}, "strategy": {"name": "naive"}, **more}
    return {**base, **({"selection": selection} if selection else {})}


@pytest.mark.parametrize("selection", ["final", "first-1", "target-only"])
def test_no_test_example_is_read_while_options_are_selected(selection: str, guarded: None) -> None:
    from runs.showing.progress import Progress
    from runs.simulation import carry_out

    result = carry_out(plan.make_plan(asked(selection), Progress()), None, resume=False, progress=Progress())
    assert result.matrix.shape == ((1, 1) if selection == "first-1" else (2, 2))
    with pytest.raises(AssertionError, match="the test stream was read"):
        carry_out(plan.make_plan(asked(None), Progress()), None, resume=False, progress=Progress())


def test_learners_of_episodes_are_selected_on_validation_classes(guarded: None) -> None:
    from runs.showing.progress import Progress
    from runs.simulation import carry_out

    request = {
        "scenario": {"name": "digits", "queries": 3, "test_episodes": 6},
        "strategy": {"name": "protonet", "meta_batch": 2},
        "network": {"name": "mlp", "hidden": "8"},
        "train": {"iterations": 2},
        "evaluate": {"validate_every": 0},
        "selection": "final",
    }
    result = carry_out(plan.make_plan(request, Progress()), None, resume=False, progress=Progress())
    assert result.summary["few_shot_accuracy"]["episodes"] == 6


def test_a_stream_without_validation_examples_or_too_short_is_refused() -> None:
    scenario = simulate(scenario=BASE["scenario"], strategy="naive", train={"epochs": 1}).scenario
    with pytest.raises(UserError, match="add scenario.validation_share=0.1"):
        held_out(scenario, "final")
    with pytest.raises(UserError, match="first-3 needs 3 experiences"):
        held_out(scenario, "first-3")
    with pytest.raises(UserError, match="no selection protocol 'finl'; did you mean final"):
        held_out(scenario, "finl")


SELECT = Select(protocol="final", selection_seeds=(0, 1), report_seeds=(2, 3))
SWEEP = Sweep(
    base=BASE,
    vary=({"strategy": ("naive", "si"), "train.learning_rate": (1e-6, 1e-2)},),
    seeds=SELECT.report_seeds,
    select=SELECT,
)


def test_what_is_chosen_is_reported_on_other_seeds_with_protocol_and_cost(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    run(SWEEP, folder, How(jobs=2, quiet=True))
    found = json.loads((folder / "selection.json").read_text())
    assert found["protocol"] == "final" and found["selection_seeds"] == [0, 1] and found["cost"]["runs"] == 8
    assert found["cost"]["seconds"] == pytest.approx(
        sum(json.loads(path.read_text())["wall_seconds"] for path in folder.glob("selection/*/*/summary.json"))
    )
    for group in found["groups"]:
        means = {each["label"]: each["mean"] for each in group["candidates"]}
        assert group["winner"] == max(means, key=lambda label: means[label])
    winners = {group["winner"] for group in found["groups"]}
    assert {path.parent.name for path in folder.glob("report/*/seed-*")} == winners
    assert {path.name for path in folder.glob("report/*/seed-*")} == {"seed-2", "seed-3"}
    assert {path.name for path in folder.glob("selection/*/seed-*")} == {"seed-0", "seed-1"}
    table = (folder / "table.md").read_text()
    assert "selected by protocol final on seeds 0, 1 and validation examples, in 8 runs" in table
    assert "Chosen: naive on split-digits: train.learning_rate=" in table
    assert "selection" not in (next(folder.glob("report/*/seed-2/config.yaml"))).read_text()
    assert {found.directory.parts[-3] for found in find([folder])} == {"report"} and len(find([folder / "selection"])) == 8
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/*/*/summary.json")}
    run(specification.read(folder / "sweep.yaml"), folder, How(jobs=2, quiet=True))
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("*/*/*/summary.json")}


def made_up(folder: Path, matrices: dict[float, list[list[float]]]) -> tuple[list[Trial], dict[str, Path], list[Point]]:
    names = {"scenario": "split-x", "strategy": "ewc"}
    points = [Point(f"ewc-{strength}", {}, names, {"strategy.strength": strength}) for strength in matrices]
    trials, done = [], {}
    for point, matrix in zip(points, matrices.values()):
        trial = Trial(point, 0, folder / point.label, stage=protocols.SELECTION)
        trial.place.mkdir()
        last = matrix[-1]
        summary = {"accuracy_matrix": matrix, "average_accuracy": sum(last) / len(last), "wall_seconds": 2.0}
        (trial.place / "summary.json").write_text(json.dumps(summary))
        trials.append(trial)
        done[trial.name] = trial.place
    return trials, done, points


MATRICES = {1.0: [[0.9, 0.1], [0.2, 0.9]], 10.0: [[0.9, 0.1], [0.6, 0.8]], 100.0: [[0.9, 0.1], [0.9, 0.3]]}


@pytest.mark.parametrize(
    ("options", "winner"),
    [
        ({"protocol": "final"}, "ewc-10.0"),
        ({"protocol": "target-only"}, "ewc-1.0"),
        ({"protocol": "target-only", "stability": "strategy.strength"}, "ewc-10.0"),
        ({"protocol": "target-only", "stability": "strategy.strength", "tolerance": 0.5}, "ewc-100.0"),
        ({"protocol": "target-only", "stability": "strategy.strength", "tolerance": 0.0}, "ewc-1.0"),
    ],
)
def test_each_protocol_looks_at_what_it_may(options: dict[str, Any], winner: str, tmp_path: Path) -> None:
    trials, done, points = made_up(tmp_path, MATRICES)
    chosen = protocols.choose(trials, done, points, Select(**options))
    assert chosen.labels == (winner,) and chosen.content["cost"] == {"runs": 3, "seconds": 6.0}


def test_a_candidate_that_failed_is_not_chosen(tmp_path: Path) -> None:
    trials, done, points = made_up(tmp_path, MATRICES)
    del done["selection/ewc-10.0/seed-0"]
    assert protocols.choose(trials, done, points, Select()).labels == ("ewc-100.0",)
    with pytest.raises(UserError, match="every candidate of ewc failed"):
        protocols.choose(trials, {}, points, Select())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{protocol: best}", "no selection protocol 'best'"),
        ("{selection_seeds: [1, 2], report_seeds: [2, 3]}", "2 are in both lists"),
        ("{stability: strategy.strength}", "select.stability is of target-only"),
        ("{protocl: final}", "unknown option select.protocl; did you mean protocol"),
        ("final", "select holds options"),
    ],
)
def test_a_mistake_in_a_selection_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(f"base: {{scenario: split-digits, strategy: ewc}}\nvary: {{strategy.strength: [1, 2]}}\nselect: {text}\n")
    with pytest.raises(UserError, match=message):
        specification.read(file)
    file.write_text("base: {scenario: split-digits, strategy: ewc}\nselect: {selection_seeds: 2, report_seeds: 3}\n")
    select = specification.read(file).select
    assert select is not None and (select.selection_seeds, select.report_seeds) == ((0, 1), (2, 3, 4))
