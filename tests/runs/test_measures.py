"""Every metric that is listed can be had from a run, and says how."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import runs
from metrics.registry import metrics
from runs import measures
from scenarios.errors import UserError
from tests.runs.command import TINY, call

EVERY = [name for name, each in measures.MEASURES.items() if each.needs in ("", measures.STREAM, measures.SEVERAL)]
STREAM = {"scenario": "split-digits", "strategy": "ewc", "network": {"hidden": "8"}, "train": {"epochs": 1}}
DISPOSAL: dict[str, Any] = {
    "scenario": {"name": "transfer-split-digits", "source_examples": 200, "target_examples": 100},
    "strategy": {"name": "none"},
    "network": {"hidden": "8"},
    "train": {"epochs": 1},
    "probe": {"name": "piggyback", "per_class": [2], "steps": 6, "looks": [3], "rates": [0.1], "subsets": 1, "test_examples": 60},
}
EPISODES = {
    "scenario": {"name": "digits", "queries": 3, "test_episodes": 6},
    "strategy": {"name": "maml", "meta_batch": 2},
    "network": {"name": "mlp", "hidden": "8", "norm": "batch"},
    "train": {"iterations": 2},
}


def test_every_listed_metric_says_how_it_is_had_and_no_other_does() -> None:
    assert set(measures.MEASURES) == set(metrics.names())
    code, out, _ = call("list", "metrics")
    assert code == 0 and all(measures.told(name) in out for name in ("accuracy", "pl_accuracy", "few_shot_accuracy"))
    assert "--set evaluate.metrics=leakage" in call("list", "metrics", "leakage")[1]


def test_all_metrics_of_a_stream_are_had_and_agree_with_its_matrix(tmp_path: Path) -> None:
    names = [name for name in EVERY if name != "intransigence"]
    plain = runs.simulate(**STREAM)  # type: ignore[arg-type]
    result = runs.simulate(**STREAM, evaluate={"metrics": names}, out=tmp_path / "run")  # type: ignore[arg-type]
    assert torch.equal(plain.matrix, result.matrix)
    found = json.loads((tmp_path / "run" / "summary.json").read_text())["metrics"]
    assert list(found) == names
    counts = torch.tensor(found["confusion_matrix"])
    assert counts.diagonal().sum() / counts.sum() == pytest.approx(found["accuracy"])
    sizes = torch.tensor([len(each.test) for each in result.scenario.experiences], dtype=torch.float64)
    assert found["accuracy"] == pytest.approx(float((result.matrix[-1] * sizes).sum() / sizes.sum()))
    assert found["per_class_accuracy"] == pytest.approx((counts.diagonal() / counts.sum(1)).tolist())
    assert found["learning_accuracy"] == pytest.approx(float(result.matrix.diagonal().mean()))
    assert len(found["forgetting"]) == 4 and len(found["membership_auc"]) == len(found["linear_cka"]) == 5
    later = call("evaluate", tmp_path / "run", "--metrics", "accuracy,effective_rank")
    assert later[0] == 0 and f"accuracy: {found['accuracy']:.4f}" in later[1] and "effective_rank: " in later[1]


def test_intransigence_is_held_against_joint_training_of_the_same_request(tmp_path: Path) -> None:
    result = runs.simulate(**STREAM, evaluate={"metrics": ["intransigence"]}, out=tmp_path / "run")  # type: ignore[arg-type]
    joint = runs.simulate(**{**STREAM, "strategy": "joint"})  # type: ignore[arg-type]
    wanted = float((joint.matrix.diagonal() - result.matrix.diagonal()).mean())
    assert result.summary["metrics"]["intransigence"] == pytest.approx(wanted)


def test_those_of_probes_and_of_episodes_are_had_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALIMPSEST_CACHE", str(tmp_path / "cache"))
    asked = ("pl_accuracy", "relearn_steps")
    result = runs.simulate(**DISPOSAL, evaluate={"metrics": [*asked, "leakage"]})
    assert {name: result.summary["metrics"].get(name) for name in asked} == {
        "pl_accuracy": result.summary["pl_accuracy"]["mean"],
        "relearn_steps": result.summary["pl_accuracy"].get("relearn_steps"),
    }
    names = [name for name, each in measures.MEASURES.items() if each.needs in ("", measures.EPISODES)]
    found = runs.simulate(**EPISODES, evaluate={"metrics": names, "validate_every": 0}).summary["metrics"]  # type: ignore[arg-type]
    assert list(found) == names


@pytest.mark.parametrize(
    ("names", "setting", "resolved", "words"),
    [
        (["leakage"], "task", {"probe": {"name": "features"}}, "needs --probe piggyback"),
        (["targeted_drop"], "class", {}, "needs --attack NAME"),
        (["detection_auc"], "class", {"attack": {"name": "noise"}}, "needs --attack NAME --defence NAME"),
        (["few_shot_accuracy"], "task", {}, "is of a learner of episodes"),
        (["accuracy"], "episodic", {}, "is of streams"),
        (["forgeting"], "task", {}, "did you mean forgetting"),
    ],
)
def test_what_a_run_will_not_have_is_told_before_it_begins(names: list[str], setting: str, resolved: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        measures.check(names, setting, resolved)


def test_a_folder_of_seeds_is_tested_seed_by_seed(tmp_path: Path) -> None:
    assert call(*TINY, "--seeds", "2", "--quiet", "--out", tmp_path / "two")[0] == 0
    code, out, error = call("evaluate", tmp_path / "two", "--metrics", "learning_accuracy")
    assert code == 0, error
    assert out.count("learning_accuracy: ") == 2 and "seed-0" in out and "seed-1" in out
    (tmp_path / "two" / "seed-1" / "checkpoint.pt").unlink()
    assert "1 of 2 seeds have no checkpoint" in call("evaluate", tmp_path / "two")[1]
    code, _, error = call("evaluate", tmp_path / "nothing")
    assert code == 2 and error.count("\n") == 1
