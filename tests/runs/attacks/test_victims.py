"""The victims' table, its figures, and what a terminal shows of an attacked run."""

from __future__ import annotations

from pathlib import Path

import pytest

from runs import plots, session
from runs.plots import attacks
from runs.recording import directories
from runs.recording.groups import collect
from scenarios.errors import UserError

ASKED = {
    "scenario": {"name": "permuted-digits", "tasks": 2, "train_examples": 60, "test_examples": 60},
    "train": {"epochs": 1, "batch_size": 16},
    "network": {"hidden": "16"},
    "attack": {"name": "task-poison", "steps": 1},
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("victims") / "table"
    session.run({**ASKED, "strategy": {"name": "rescl,ewc,si"}}, folder, number="2", quiet=True, resume=False)
    return folder


def test_every_victim_has_its_runs_and_one_that_cannot_be_a_victim_is_named(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = collect([table])
    assert [(group.label, len(group.runs)) for group in found] == [("ewc", 2), ("si", 2)]
    assert all("drop" in run.summary["attack"] for group in found for run in group.runs)
    text = (table / "table" / "table.md").read_text()
    assert "target, attacked %" in text and "ewc" in text
    assert (table / "table" / "target_curves.png").exists()
    session.run({**ASKED, "strategy": {"name": "rescl,ewc,si"}}, table, number="2", quiet=False, resume=True)
    assert "not a victim here: rescl: strategy 'rescl' does not work in setting 'domain'" in capsys.readouterr().out


def test_several_strategies_without_an_attack_are_refused(tmp_path: Path) -> None:
    asked = {name: value for name, value in ASKED.items() if name != "attack"}
    with pytest.raises(UserError, match="add --attack NAME"):
        session.run({**asked, "strategy": {"name": "ewc,si"}}, tmp_path / "x", number=None, quiet=True, resume=False)


def test_an_attacked_run_draws_its_target_and_its_pictures(table: Path) -> None:
    run = directories.read(table / "ewc" / "seed-0")
    assert {"target_curve", "poisoned_pictures"} <= set(plots.PLOTS)
    for name in ("target_curve", "poisoned_pictures"):
        assert (run.directory / "plots" / f"{name}.png").exists()
    assert attacks.detection(run) is None


def test_defences_make_a_heat_map_and_radii_a_curve(table: Path, tmp_path: Path) -> None:
    attack = ASKED["attack"]
    assert isinstance(attack, dict)
    more = {
        "agem": {"defence": {"name": "agem"}},
        "known": {"defence": {"name": "agem"}, "attack": {**attack, "adaptive": True}},
        "small": {"attack": {**attack, "epsilon": 0.01}},
    }
    for name, asked in more.items():
        session.run({**ASKED, "strategy": {"name": "ewc"}, **asked}, tmp_path / name, number=None, quiet=True, resume=False)
    groups = collect([table / "ewc", *(tmp_path / name for name in more)])
    drawn = attacks.compared(groups)
    assert {"victims_defences", "drop_epsilon", "target_curves"} == set(drawn)
    columns = [label.get_text() for label in drawn["victims_defences"].subfigs[1].axes[0].get_xticklabels()]
    assert sorted(columns) == ["agem", "agem, known", "none"]
