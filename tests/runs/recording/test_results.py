"""Our numbers stand beside the published ones, in tables made of recorded runs alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runs.recording import recipe, results
from scenarios.errors import UserError
from tests.runs.recording.test_recipe import EXAMPLE


def test_the_table_holds_our_mean_against_the_papers_number(tmp_path: Path) -> None:
    for seed, value in ((3, 0.55), (4, 0.61)):
        folder = tmp_path / "one" / f"seed-{seed}"
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text(json.dumps({"average_accuracy": value}))
    first, second = results.table(EXAMPLE, tmp_path, "small")
    assert first.ours == pytest.approx(0.58)
    assert (first.seeds, first.paper, first.verdict) == (2, 0.5, "yes")
    assert (second.label, second.ours, second.seeds) == ("two", None, 0)
    near = {**EXAMPLE, "expected": [{**EXAMPLE["expected"][0], "tolerance": 0.01}]}
    assert results.table(near, tmp_path, "small")[0].verdict == "no (+8.0 points)"
    near["expected"][0]["sem"] = 0.03
    assert results.table(near, tmp_path, "small")[0].verdict == "yes"
    own = {**EXAMPLE, "scales": {"small": {**EXAMPLE["scales"]["small"], "expected": []}}}
    assert [line.paper for line in results.table(own, tmp_path, "small")] == [None, None]
    assert recipe.requests(own, "small") == recipe.requests(EXAMPLE, "small")
    text = results.to_markdown(EXAMPLE, "small", [first, second])
    assert "| one | average_accuracy | 58.00 ±" in text
    assert "| two | average_accuracy | not run | 0 |" in text
    assert "Finding" not in text
    said = results.to_markdown({**EXAMPLE, "finding": {"small": "One learns, two does not."}}, "small", [first, second])
    assert said.endswith("|\n\n**Finding.** One learns, two does not.\n")


def test_all_recorded_runs_stand_in_one_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no finished run"):
        results.write(tmp_path / "results.md", tmp_path, "small")
    place = tmp_path / "split-mnist-small" / "naive-task" / "seed-0"
    place.mkdir(parents=True)
    (place / "summary.json").write_text(json.dumps({"average_accuracy": 0.85, "wall_seconds": 90}))
    environment = {"code": {"version": "0.1.0", "commit": "0123456789"}, "device": {"name": "a chip"}, "threads": 1, "torch": "2.9"}
    (place / "environment.json").write_text(json.dumps(environment))
    results.write(tmp_path / "results.md", tmp_path, "small")
    text = (tmp_path / "results.md").read_text()
    assert "| naive-task | average_accuracy | 85.00 | 1 | 85.15 (SEM 1.00) | yes |" in text
    assert "`simulate recipe split-mnist`: 1 runs, 2 minutes in all; a chip, 1 threads, torch 2.9; code 0123456." in text
    assert "| split-mnist | naive-task | average_accuracy | 85.15 (SEM 1.00) | 85.00 | 1 | within tolerance |" in text
    assert "| split-mnist | joint-task | average_accuracy | 99.64 (SEM 0.03) | not run | 0 |  |" in text
    assert "Not run yet: " in text and "`split-cifar10`" in text


def test_few_shot_accuracy_also_has_its_interval_over_episodes(tmp_path: Path) -> None:
    for seed, mean, half in ((3, 0.3, 0.03), (4, 0.4, 0.04)):
        folder = tmp_path / "one" / f"seed-{seed}"
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text(json.dumps({"few_shot_accuracy": {"mean": mean, "ci95": half}}))
    entry = {"run": "one", "metric": "few_shot_accuracy.mean", "value": 0.4}
    line = results.table({**EXAMPLE, "expected": [entry]}, tmp_path, "small")[0]
    assert line.ours == pytest.approx(0.35)
    assert line.within == pytest.approx(0.025)
    assert "(± 2.50 over episodes)" in results.to_markdown(EXAMPLE, "small", [line])


def test_runs_of_other_settings_or_seeds_do_not_count(tmp_path: Path) -> None:
    for seed, epochs in ((2, 1), (3, 1), (4, 7)):
        folder = tmp_path / "one" / f"seed-{seed}"
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text(json.dumps({"average_accuracy": 0.1 * seed}))
        config = {"scenario": {"name": "split-digits"}, "strategy": {"name": "naive"}, "seed": seed}
        (folder / "config.yaml").write_text(json.dumps({**config, "train": {"epochs": epochs, "batch_size": 8, "optimizer": "sgd"}}))
    with pytest.raises(UserError, match=r"seed-4 was run with train.epochs=7, the recipe says 1; move that folder away"):
        results.table(EXAMPLE, tmp_path, "small")
    (tmp_path / "one" / "seed-4" / "config.yaml").unlink()
    (tmp_path / "one" / "seed-4" / "summary.json").unlink()
    line = results.table(EXAMPLE, tmp_path, "small")[0]
    assert (line.ours, line.seeds) == (pytest.approx(0.3), 1)


def test_a_run_that_a_scale_words_anew_has_one_line(tmp_path: Path) -> None:
    scales = {"small": {"runs": {"one": {"strategy": "joint"}}}}
    assert [line.label for line in results.table({**EXAMPLE, "scales": scales, "expected": []}, tmp_path, "small")] == ["one", "two"]
