"""A run goes on from a checkpoint of its own alone, and whatever a crash or a hand has left in its directory is told in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.runs.command import TINY, call
from tests.runs.test_resume import interrupted, same_bits


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert call(*TINY, "--quiet", "--out", folder) == (0, "", "")
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A run that was stopped before its results were written."""
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    return tmp_path / "run"


def refused(result: tuple[int, str, str], message: str) -> None:
    code, _, error = result
    assert code == 2 and error.count("\n") == 1, error
    assert message in error


def change(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    state = torch.load(path, weights_only=True)
    edit(state)
    torch.save(state, path)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("train.learning_rate", 0.5, "train.learning_rate was 0.001, is 0.5"),
        ("seed", 1, "seed was 0, is 1"),
        ("scenario.class_order", [9, 8, 7, 6, 5, 4, 3, 2, 1, 0], "scenario.class_order was"),
        ("train.epochs", 2, "train.epochs was 1, is 2"),
        ("strategy.name", "joint", "strategy.name was naive, is joint"),
    ],
)
def test_a_checkpoint_of_another_configuration_is_not_gone_on_with(path: str, value: Any, message: str, run: Path) -> None:
    content = yaml.safe_load((run / "config.yaml").read_text())
    section, _, name = path.partition(".")
    if name:
        content[section][name] = value
    else:
        content[section] = value
    (run / "config.yaml").write_text(yaml.safe_dump(content))
    before = (run / "checkpoint.pt").read_bytes(), (run / "environment.json").read_bytes(), (run / "metrics.jsonl").read_bytes()
    refused(call("resume", run), message)
    refused(call("evaluate", run), message)
    assert before == ((run / "checkpoint.pt").read_bytes(), (run / "environment.json").read_bytes(), (run / "metrics.jsonl").read_bytes())


def test_a_command_that_asks_for_something_else_says_what(run: Path) -> None:
    refused(call(*TINY, "--set", "train.batch_size=7", "--out", run, "--resume"), "holds another run (train.batch_size was 64, is 7)")


def test_a_checkpoint_of_other_pixels_is_not_gone_on_with(tmp_path: Path) -> None:
    import numpy

    rng = numpy.random.default_rng(0)
    images, labels = rng.integers(0, 255, (40, 8, 8), dtype=numpy.uint8), numpy.arange(40) % 4
    numpy.savez(tmp_path / "mine.npz", x=images, y=labels)
    asked = ["--scenario", f"split-npz:{tmp_path / 'mine.npz'}", "--strategy", "naive", "--set", "scenario.tasks=2"]
    code, _, error = call(*asked, "--out", tmp_path / "run", "--set", "train.epochs=1", "--quiet")
    assert (code, error) == (0, "")
    (tmp_path / "run" / "summary.json").unlink()
    numpy.savez(tmp_path / "mine.npz", x=255 - images, y=labels)
    refused(call("resume", tmp_path / "run"), "data fingerprint was")


@pytest.mark.parametrize(
    "edit",
    [
        *(lambda state, name=name: state.pop(name) for name in ("strategy", "engine", "position", "initial", "matrix", "seconds")),
        lambda state: state.pop("identity"),
        lambda state: state["position"].update(experience=7),
        lambda state: state["position"].update(experience=-1),
        lambda state: state["position"].update(step="x"),
        lambda state: state["position"].update(further=1),
        lambda state: state["matrix"].pop(),
        lambda state: state.update(matrix=[[1.0]]),
        lambda state: state.update(matrix=None),
        lambda state: state.update(identity=[1]),
        lambda state: state["strategy"].clear(),
        lambda state: state.update(strategy=[]),
        lambda state: state.update(seconds={}),
        lambda state: state.update(selection=3),
        lambda state: state.update(metrics_length="long"),
        lambda state: state.update(metrics_length=10**9),
        lambda state: state.update(metrics_length=-1),
    ],
)
def test_a_checkpoint_that_is_not_whole_is_refused(edit: Callable[[dict[str, Any]], None], run: Path) -> None:
    change(run / "checkpoint.pt", edit)
    refused(call("resume", run), "")
    assert not (run / "summary.json").exists()


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was interrupted in the middle of a pass."""
    asked = {
        "scenario": {"name": "split-digits", "tasks": 2},
        "strategy": {"name": "naive"},
        "train": {"epochs": 2, "batch_size": 16, "optimizer": "adam"},
        "network": {"hidden": "4"},
    }
    folder = tmp_path_factory.mktemp("stopped") / "run"
    interrupted(asked, folder, 3)
    return folder


@pytest.mark.parametrize(
    "edit",
    [
        lambda state: state["position"].update(phase=9),
        lambda state: state["engine"].update(generator=torch.zeros(3)),
        lambda state: state["engine"].update(generator=None),
        lambda state: state["engine"]["optimizers"].pop("own"),
        lambda state: next(iter(state["engine"]["optimizers"]["kept"].values())).clear(),
        lambda state: next(iter(state["engine"]["optimizers"]["kept"].values()))["state"][0].update(exp_avg=torch.zeros(2)),
        lambda state: next(iter(state["engine"]["optimizers"]["kept"].values()))["param_groups"].clear(),
    ],
)
def test_an_interrupted_run_whose_checkpoint_is_not_whole_is_refused(
    edit: Callable[[dict[str, Any]], None], stopped: Path, tmp_path: Path
) -> None:
    shutil.copytree(stopped, tmp_path / "run")
    change(tmp_path / "run" / "checkpoint.pt", edit)
    refused(call("resume", tmp_path / "run"), "checkpoint")
    shutil.copy(stopped / "checkpoint.pt", tmp_path / "run")
    assert call("resume", tmp_path / "run", "--quiet") == (0, "", "")


def test_metrics_that_are_shorter_than_the_checkpoint_knows_are_not_stretched(run: Path) -> None:
    rows = (run / "metrics.jsonl").read_bytes()
    for kept in (b"", rows[:-5]):
        (run / "metrics.jsonl").write_bytes(kept)
        refused(call("resume", run), "metrics.jsonl is shorter than the checkpoint knows")
        assert (run / "metrics.jsonl").read_bytes() == kept
    (run / "metrics.jsonl").write_bytes(rows)
    assert call("resume", run, "--quiet") == (0, "", "")


@pytest.mark.parametrize("left", ["nothing", "lock", "part", "half", "empty", "zeros", "config"])
def test_what_a_crash_before_the_first_checkpoint_leaves_does_not_block_the_directory(left: str, finished: Path, tmp_path: Path) -> None:
    folder, text = tmp_path / "run", (finished / "config.yaml").read_bytes()
    folder.mkdir()
    if left != "nothing":
        (folder / ".lock").write_text("12345")
    if left == "part":
        (folder / "config.yaml.99.part").write_bytes(text[:50])
    content = {"half": text[: len(text) // 2], "empty": b"", "zeros": bytes(300), "config": text}
    if left in content:
        (folder / "config.yaml").write_bytes(content[left])
    assert call(*TINY, "--quiet", "--out", folder) == (0, "", "")
    same_bits(finished, folder)
    assert not list(folder.glob("*.part"))


def test_a_file_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "config.yaml").write_text("server: {port: 80}\n")
    refused(call(*TINY, "--out", tmp_path / "app"), "unknown entry 'server'")
    assert (tmp_path / "app" / "config.yaml").read_text() == "server: {port: 80}\n"
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "film.001.part").touch()
    refused(call(*TINY, "--out", tmp_path / "downloads"), "is not empty and holds no run")
    assert [path.name for path in (tmp_path / "downloads").iterdir()] == ["film.001.part"]


def test_other_threads_are_told_and_both_are_written_down(run: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        code, out, error = call("resume", run)
    finally:
        torch.set_num_threads(threads)
    assert (code, error) == (0, "")
    assert f"threads was {threads}, is {threads + 1}: the last bits" in out
    environment = json.loads((run / "environment.json").read_text())
    assert (environment["threads"], environment["earlier"][0]["threads"]) == (threads + 1, threads)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"code": 3, "earlier": 7, "resumed_from": {}, "threads": "many"}', "\0"])
def test_an_environment_that_was_changed_does_not_stop_a_run(content: str, run: Path) -> None:
    (run / "environment.json").write_text(content)
    assert call("resume", run, "--quiet") == (0, "", "")
    assert json.loads((run / "environment.json").read_text())["threads"] == torch.get_num_threads()


def test_plots_that_a_kill_left_undrawn_are_drawn(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    refused(call("resume", folder), "is over already")
    before = (folder / "summary.json").read_bytes()
    (folder / "plots" / "accuracy_matrix.png").rename(folder / "plots" / "accuracy_matrix.png.31.part")
    code, out, error = call("resume", folder)
    assert (code, error) == (0, "") and "accuracy_matrix.png" in out and "forgetting" not in out
    assert {path.name for path in (folder / "plots").iterdir()} == {path.name for path in (finished / "plots").iterdir()}
    assert (folder / "summary.json").read_bytes() == before
    shutil.rmtree(folder / "plots")
    assert call("resume", folder, "--quiet") == (0, "", "")
    assert len(list((folder / "plots").iterdir())) == len(list((finished / "plots").iterdir()))


@pytest.mark.parametrize("same", ["resume", "command"])
def test_all_seeds_are_run_when_the_first_was_stopped(same: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from runs import run as module

    folder = tmp_path / "seeds"
    with monkeypatch.context() as patch:
        # Ctrl-C while the first seed is tested for the first time.
        patch.setattr(module.Run, "test", lambda *rest: (_ for _ in ()).throw(KeyboardInterrupt))
        code, _, error = call(*TINY, "--quiet", "--seeds", "2", "--seed", "3", "--out", folder)
    assert (code, error) == (130, f"interrupted; it had no checkpoint yet: begin it again with `simulate resume {folder}`\n")
    again = ["resume", folder] if same == "resume" else [*TINY, "--seeds", "2", "--seed", "3", "--out", folder, "--resume"]
    code, out, error = call(*again)
    assert (code, error) == (0, "")
    assert [(folder / f"seed-{seed}" / "summary.json").exists() for seed in (3, 4)] == [True, True]
    refused(call("resume", folder), "is over already")
    (folder / "seed-4" / "plots" / "accuracy_matrix.png").unlink()
    (folder / "forgetting_curves.png").unlink()
    assert call("resume", folder, "--quiet") == (0, "", "")
    assert (folder / "seed-4" / "plots" / "accuracy_matrix.png").exists() and (folder / "forgetting_curves.png").exists()


def test_ctrl_c_between_two_seeds_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from runs import plan

    made, folder = plan.make_plan, tmp_path / "seeds"

    def interrupted_in_the_second(request: Any, progress: Any) -> Any:
        if request["seed"] == 1:
            raise KeyboardInterrupt
        return made(request, progress)

    with monkeypatch.context() as patch:
        patch.setattr(plan, "make_plan", interrupted_in_the_second)
        code, _, error = call(*TINY, "--quiet", "--seeds", "2", "--out", folder)
    assert (code, error) == (130, f"interrupted between two runs; go on with `simulate resume {folder}`\n")
    assert call("resume", folder, "--quiet") == (0, "", "")


def test_results_whose_checkpoint_was_taken_away_are_not_written_over(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "checkpoint.pt").unlink()
    for further in ([], ["--resume"]):
        refused(call(*TINY, "--out", tmp_path / "run", *further), "is over and whose checkpoint was taken away")


def test_a_mistake_among_several_seeds_writes_nothing(tmp_path: Path) -> None:
    refused(call(*TINY, "--seeds", "2", "--set", "scenario.class_order=1,2", "--out", tmp_path / "seeds"), "class_order")
    assert not (tmp_path / "seeds").exists()


def test_places_are_found_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy

    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    images = numpy.random.default_rng(0).integers(0, 255, (40, 8, 8), dtype=numpy.uint8)
    numpy.savez(tmp_path / "here" / "mine.npz", x=images, y=numpy.arange(40) % 10)
    (tmp_path / "here" / "mine.py").write_text("")
    monkeypatch.chdir(tmp_path / "here")
    asked = [*TINY, "--data", "npz:mine.npz", "--import", "mine.py", "--data-root", ".", "--out", "run", "--quiet"]
    code, _, error = call(*asked)
    assert (code, error) == (0, "")
    (tmp_path / "here" / "run" / "summary.json").unlink()
    monkeypatch.chdir(tmp_path / "there")
    assert call("resume", "../here/run", "--quiet") == (0, "", "")
