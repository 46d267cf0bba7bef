"""A sweep from the command line: side by side what one after another gives, finished runs skipped, failures kept apart from the rest."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from unittest import mock

import pytest

from runs.recording.directories import read
from runs.simulation import simulate
from runs.sweep import commands, processes
from runs.sweep.executor import Task
from tests.runs.command import TINY, call
from tests.runs.test_resume import same_bits

OPTIONS = TINY[4:]
ASKED = ["--scenario", "split-digits", "--strategy", "naive,ewc", "--seeds", "2", *OPTIONS]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep") / "folder"
    code, out, error = call(*ASKED, "--jobs", "2", "--out", folder)
    assert (code, error) == (0, ""), (out, error)
    assert "[4/4]" in out and "best" in (folder / "table.md").read_text()
    return folder


def test_a_run_of_a_sweep_has_the_bits_of_a_single_run(swept: Path, tmp_path: Path) -> None:
    code, _, error = call(*TINY, "--seed", "1", "--out", tmp_path / "single", "--quiet")
    assert code == 0, error
    same_bits(tmp_path / "single", swept / "split-digits_naive" / "seed-1")
    assert {read(path.parent).strategy for path in swept.glob("*/*/summary.json")} == {"naive", "ewc"}


def test_finished_runs_are_not_run_again_whatever_they_are_called(swept: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in swept.glob("*/*/summary.json")}
    with mock.patch.object(processes.Processes, "submit", side_effect=AssertionError):
        code, out, error = call(*ASKED, "--jobs", "2", "--out", swept)
        assert (code, error) == (0, "") and "4 runs: 4 over already" in out
        # The option's default, written out, names the same runs.
        code, out, _ = call(*ASKED, "--set", "train.batch_size=64;64.0", "--jobs", "1", "--out", swept)
        assert code == 0 and "4 over already" in out
    assert before == {path: path.stat().st_mtime_ns for path in swept.glob("*/*/summary.json")}


def test_a_dry_run_tells_runs_and_time_and_writes_nothing(swept: Path, tmp_path: Path) -> None:
    code, out, _ = call(*ASKED, "--seeds", "3", "--dry-run", "--out", swept)
    assert code == 0 and "6 runs: 4 over already, 2 to begin" in out
    assert "split-digits_naive/seed-2: about 0:00 (2 runs: the same with other seeds)" in out
    code, out, _ = call(*ASKED, "--set", "train.epochs=3,4", "--dry-run", "--out", tmp_path / "none")
    assert code == 0 and "how long this takes cannot be told" in out and not (tmp_path / "none").exists()


def test_another_sweep_in_the_same_folder_is_refused(swept: Path) -> None:
    code, _, error = call(*ASKED, "--set", "train.learning_rate=0.5", "--jobs", "2", "--out", swept)
    assert code == 2 and "holds another run (train.learning_rate was 0.001, is 0.5)" in error and error.count("\n") == 1


def test_a_mistake_is_told_before_anything_is_written(tmp_path: Path) -> None:
    for wrong, message in (("train.epoch=1,2", "unknown option train.epoch"), ("train.epochs=1,-2", "must be at least 1")):
        code, _, error = call(*ASKED, "--set", wrong, "--out", tmp_path / "none")
        assert code == 2 and message in error and error.count("\n") == 1
    code, _, error = call("--scenario", "split-nonesuch,split-nothing", "--strategy", "naive", "--out", tmp_path / "none")
    assert code == 2 and "unknown data set 'nonesuch'" in error
    assert not (tmp_path / "none").exists()


def test_what_fails_is_recorded_and_the_rest_is_carried_out(tmp_path: Path) -> None:
    asked = ["--scenario", "split-digits", "--strategy", "naive,rescl", "--setting", "class", *OPTIONS, "--jobs", "2", "--out", tmp_path]
    code, out, error = call(*asked)
    assert code == 3 and error.count("\n") == 1
    assert "1 of 2 runs failed, first split-digits_rescl/seed-0: strategy 'rescl' does not work in setting 'class'" in error
    failures = json.loads((tmp_path / "failures.json").read_text())
    assert list(failures) == ["split-digits_rescl/seed-0"] and "only in task" in failures["split-digits_rescl/seed-0"]["error"]
    assert (tmp_path / "split-digits_naive" / "seed-0" / "summary.json").exists() and (tmp_path / "table.md").exists()


def test_a_folder_of_a_sweep_is_gone_on_with(swept: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    file = tmp_path / "sweep.yaml"
    options = "scenario: {name: split-digits, tasks: 2, train_examples: 40, test_examples: 20}, train: {epochs: 1}, network: {hidden: 4}"
    file.write_text(f"base: {{{options}}}\nvary: {{strategy: [naive, ewc]}}\nseeds: 2\n")
    commands.sweep_file(file, folder, {"jobs": "2"}, quiet=True)
    (folder / "split-digits_ewc" / "seed-1" / "summary.json").unlink()
    code, out, _ = call("resume", folder)
    assert code == 0 and "4 runs: 3 over already, 1 to go on with" in out
    same_bits(swept / "split-digits_ewc" / "seed-1", folder / "split-digits_ewc" / "seed-1")


def test_a_process_that_dies_is_replaced_and_its_run_told(tmp_path: Path) -> None:
    request = {"scenario": {"name": "split-digits"}, "strategy": {"name": "naive"}, "train": {"epochs": 2000}, "seed": 0}
    workers = processes.Processes(1, 1)
    try:
        workers.submit(Task("long", request, tmp_path / "long"))
        while not (events := workers.wait(5)) or events[0].outcome:
            pass
        os.kill(workers._workers[0]._process.pid, signal.SIGKILL)
        while not (events := workers.wait(5)) or events[0].outcome is None:
            pass
        assert events[0].outcome.kind == "died" and "signal 9" in events[0].outcome.line and workers.free == 1
        workers.submit(Task("long", request, tmp_path / "long"))
        while not workers.wait(5):
            pass
        workers.interrupt()
        while not (events := workers.wait(5)) or events[0].outcome is None:
            pass
        assert events[0].outcome.kind == "interrupted" and (tmp_path / "long" / "checkpoint.pt").exists()
    finally:
        workers.close()


def test_each_run_has_a_peak_of_its_own(swept: Path) -> None:
    from metrics import resources

    bulk = bytearray(300 << 20)
    bulk[:: 1 << 12] = b"x" * len(bulk[:: 1 << 12])
    del bulk
    resources.forget_peak_memory()
    peak = simulate(scenario="split-digits", strategy="naive", train={"epochs": 1}).summary["peak_memory_bytes"]
    import resource

    assert peak <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 < peak + (300 << 20)
