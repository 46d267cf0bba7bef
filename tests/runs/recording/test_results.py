"""RESULTS.md and the README's tables are made of records alone, and are what the records give today."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from runs.recording import recipe, records, results
from scenarios.errors import UserError
from tests.runs.recording.made_up import made
from tests.runs.recording.test_recipe import EXAMPLE


def test_results_are_what_the_records_give() -> None:
    assert results.FILE.read_text(encoding="utf-8") == results.everything(), "write it anew: simulate recipe --results RESULTS.md"


def test_the_readmes_tables_are_what_the_records_give() -> None:
    content = results.README.read_text(encoding="utf-8")
    part = content[content.index(results.BEGIN) + len(results.BEGIN) + 1 : content.index(results.END)]
    assert part == results.headlines(), "write it anew: simulate recipe --results RESULTS.md"


@pytest.mark.parametrize("path", sorted(records.FOLDER.glob("*.jsonl")), ids=lambda path: path.stem)
def test_every_record_is_small_whole_and_traced_to_a_commit(path: Path) -> None:
    assert path.stem in recipe.names()
    for text in path.read_text(encoding="utf-8").splitlines():
        assert len(text) < records.MOST_BYTES
    for record in records.read(path.stem):
        assert re.fullmatch("[0-9a-f]{7,40}", record.environment["code"]["commit"])
        assert record.environment["code"]["dirty"] is False
        assert {"torch", "numpy", "python", "device", "threads"} <= record.environment.keys()
        assert record.config["seed"] == record.seed == record.summary["seed"]
        assert not {"accuracy_matrix", "data_root"} & {*record.summary, *record.config}


@pytest.mark.parametrize("name", recipe.names())
def test_findings_hold_no_measured_number_of_their_own(name: str) -> None:
    content = recipe.read(name)
    for scale in content["scales"]:
        text = re.sub(r"\{[^{}]*\}", "", recipe.text(content, "finding", scale))
        published = {f"{100 * entry['value']:.1f}" for entry in content.get("expected", []) if "value" in entry}
        assert set(re.findall(r"\b\d\d\.\d+|± \d", text)) <= published


def test_records_that_do_not_know_their_processor_time_are_told_all_the_same() -> None:
    old, new = made("one", 3, 0.55), made("one", 4, 0.61, line=2)
    del old.summary["cpu_seconds"]
    assert "2 runs, at least 2 minutes of processor time; a chip" in results.to_markdown("example", EXAMPLE, [old, new], "small")
    assert "1 runs; a chip" in results.to_markdown("example", EXAMPLE, [old], "small")


def test_a_recipe_stands_with_its_numbers_and_each_row_leads_to_its_records() -> None:
    text = results.to_markdown("example", EXAMPLE, [made("one", 3, 0.55), made("one", 4, 0.61, line=2)], "small")
    links = "[3](runs/records/example.jsonl#L1) [4](runs/records/example.jsonl#L2)"
    assert f"| one | average_accuracy | 58.00 ± 38.12 | 2 | 50.00 (table 1) | undecided: ± 38.1 with 2 seeds | {links} |" in text
    assert "| two | average_accuracy | – | 0 of 2 |  | no record yet |  |" in text
    assert "`simulate recipe example`: 2 runs, 3 minutes of processor time; a chip, 1 thread, torch 2.9; code 0123456." in text
    assert "Finding" not in text
    said = {**EXAMPLE, "finding": {"small": "It has {one average_accuracy ±}."}}
    assert "**Finding.** It has 55.0 (1 seed)." in results.to_markdown("example", said, [made("one", 3, 0.55)], "small")


def test_machines_and_changed_trees_are_told() -> None:
    code = {"version": "0.1.0", "commit": "abcdef0123", "dirty": True}
    known = [made("one", 3, 0.55), made("one", 3, 0.61, line=2, threads=2, code=code)]
    text = results.to_markdown("example", EXAMPLE, known, "small")
    assert "seed 3: 55.00 (a chip, 1 thread, torch 2.9), 61.00 (a chip, 2 threads, torch 2.9)." in text
    assert "code 0123456, abcdef0 with changes." in text


def test_a_run_that_went_on_under_other_code_names_both() -> None:
    begun = {"version": "0.1.0", "commit": "fedcba98", "dirty": False}
    assert made("one", 3, 0.55, resumed_from=[begun]).code == "fedcba9 and 0123456"
    unknown = {"version": "0.1.0", "commit": None, "dirty": None}
    assert made("one", 3, 0.55, code=unknown).code == "0.1.0 with unknown changes"


def test_a_new_record_changes_the_rows_of_its_recipe_alone(tmp_path: Path) -> None:
    before = results.everything(tmp_path)
    content = recipe.read("split-mnist")
    mnist = {"data": {"name": "mnist", "origin": "real", "fingerprint": "f00d", "shape": [1, 28, 28], "examples": 60000}}
    assert records.append("split-mnist", made("naive-class", 0, 0.2, recipe=content, summary=mnist), tmp_path)
    after = results.everything(tmp_path)
    link = "[0](runs/records/split-mnist.jsonl#L1)"
    assert f"| naive-class | average_accuracy | 20.00 | 1 of 3 | 19.90 (SEM 0.02) | undecided: 1 seed | {link} |" in after

    def others(text: str) -> list[str]:
        head = text[: text.index("## Recipe by recipe")]
        return [line for line in head.splitlines() if "split-mnist]" not in line]

    assert others(before) == others(after)
    assert after.count("\n### ") == 1


def test_a_record_goes_into_a_file_and_comes_back_and_stands_there_once(tmp_path: Path) -> None:
    one, two = made("one", 3, 0.55), made("one", 4, 0.61)
    assert records.append("example", one, tmp_path) and records.append("example", two, tmp_path)
    assert not records.append("example", one, tmp_path)
    back = records.read("example", tmp_path)
    assert [record.line for record in back] == [1, 2]
    assert [{**vars(record), "line": 1} for record in back] == [vars(one), vars(two)]
    (tmp_path / "example.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match=r"example.jsonl:1 is no record of a run"):
        records.read("example", tmp_path)


def test_a_record_stays_small(tmp_path: Path) -> None:
    bulk = {"accuracy_matrix": [[0.1] * 5] * 5, "initial_accuracy": [0.1] * 50, "few_shot_accuracy": {"mean": 0.5, "per_step": [0.1] * 30}}
    assert records.without_bulk({**bulk, "seed": 0, "inner": [1, 2]}) == {"few_shot_accuracy": {"mean": 0.5}, "seed": 0, "inner": [1, 2]}
    long = made("one", 3, 0.55, summary={f"names{i}": ["x" * 60] * 8 for i in range(12)} | {"kept": {"mean": 0.5}})
    text = records.to_line(long)
    assert len(text) <= records.MOST_BYTES
    back = json.loads(text)["summary"]
    assert back["kept"] == {"mean": 0.5} and back["average_accuracy"] == 0.55
    assert {"names0"} <= set(back["left_out"])


def test_a_record_keeps_the_metrics_of_its_recipe_however_long_it_is() -> None:
    bulk = {"by": {"5": {"mean": 0.25, "names": ["x" * 60] * 12}}, "mean": 0.5}
    long = made("one", 3, 0.55, summary={f"curve{i}": {**bulk, "more": ["y" * 60] * 14} for i in range(6)})
    back = json.loads(records.to_line(long, [f"curve{i}.by.5.mean" for i in range(6)] + ["average_accuracy", "curve9.mean"]))["summary"]
    assert back["left_out"] and all(back[f"curve{i}"]["by"]["5"]["mean"] == 0.25 for i in range(6))
    assert all(back[entry] == {"by": {"5": {"mean": 0.25}}} for entry in back["left_out"])


def test_show_prints_the_record_and_what_is_outdated_about_it(tmp_path: Path) -> None:
    content = recipe.read("split-cifar-generated")
    colour = {"data": {"name": "generated", "origin": "generated", "fingerprint": "f00d", "shape": [3, 32, 32], "examples": 10000}}
    records.append("split-cifar-generated", made("rescl", 2, 0.9, recipe=content, summary=colour), tmp_path)
    shown = json.loads(results.traced("split-cifar-generated", "rescl", "2", "small", tmp_path))
    assert shown["file"] == "runs/records/split-cifar-generated.jsonl"
    assert shown["records"][0]["summary"]["average_accuracy"] == 0.9 and shown["records"][0]["line"] == 1
    assert shown["records"][0]["outdated"] == []
    with pytest.raises(UserError, match=r"no record of split-cifar-generated, row rescl, seed 7 at scale small \(seeds with one: 2\)"):
        results.traced("split-cifar-generated", "rescl", "7", "small", tmp_path)
    with pytest.raises(UserError, match="no row 'recsl'; did you mean rescl"):
        results.traced("split-cifar-generated", "recsl", "2", "small", tmp_path)


def test_a_recipe_runs_what_is_missing_and_records_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from runs import repeating

    small = {"seeds": 2, "scenario": {"tasks": 2, "train_examples": 50}, "network": {"name": "mlp", "hidden": [8]}}
    tiny = {**EXAMPLE, "scales": {"small": small}, "runs": {"one": {"strategy": "naive"}}}
    monkeypatch.setattr(recipe, "read", lambda name: tiny)
    monkeypatch.setattr(records, "home", lambda out: tmp_path / "records")
    monkeypatch.setattr("runs.plots.draw", lambda folder: [])
    repeating.recipe("example", tmp_path / "out", None, "small", rows=None, repeat=False)
    first = records.read("example", tmp_path / "records")
    assert [(record.row, record.seed) for record in first] == [("one", 0), ("one", 1)]
    assert all(not records.outdated(record, recipe.requests(tiny, "small")["one"][record.seed]) for record in first)
    assert first[0].number("average_accuracy") == json.loads((tmp_path / "out/one/seed-0/summary.json").read_text())["average_accuracy"]
    repeating.recipe("example", tmp_path / "elsewhere", None, "small", rows=None, repeat=False)
    assert not (tmp_path / "elsewhere").exists() and len(records.read("example", tmp_path / "records")) == 2
    repeating.recipe("example", tmp_path / "again", None, "small", rows="one", repeat=True)
    again = records.read("example", tmp_path / "records")
    assert [record.measured for record in again] == [first[0].measured, first[1].measured] * 2
    with pytest.raises(UserError, match="recorded already; give another --out"):
        repeating.recipe("example", tmp_path / "again", None, "small", rows="one", repeat=True)
    tiny["base"] = {"scenario": "split-digits", "train": {"epochs": 2}}
    with pytest.raises(UserError, match=r"was run with other options \(train.epochs was 1, is 2\); move it away"):
        repeating.recipe("example", tmp_path / "out", None, "small", rows=None, repeat=False)
