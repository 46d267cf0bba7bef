"""A run that is interrupted, however it is, and then resumed gives the bits of the run that was not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import runs
from runs import config
from runs.engine import InterruptedRunError
from runs.plan import make_plan
from runs.recording.store import Store, load_checkpoint
from runs.run import Run
from runs.showing.progress import Progress
from runs.simulation import carry_out

ASKED = {
    "scenario": {"name": "split-digits", "tasks": 5},
    "strategy": {"name": "naive"},
    "train": {"epochs": 3, "batch_size": 16, "augmentation": "crop-flip"},
    "network": {"hidden": "32"},
    "seed": 3,
}


class StopAt(Progress):
    """Interrupts the engine when it has made a number of steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.left = steps
        self.run: Run | None = None

    def due(self) -> bool:
        self.left -= 1
        if self.left == 0 and self.run is not None:
            self.run.engine.stopping = True
        return False


def interrupted(asked: dict, folder: Path, steps: int) -> None:
    progress = StopAt(steps)
    plan = make_plan(asked, progress)
    store = Store(folder, plan.resolved, resume=False)
    progress.run = Run(plan, store, progress)
    with pytest.raises(InterruptedRunError):
        progress.run.go(False)
    store.close()


def tensors(state: object, path: str = "") -> dict[str, torch.Tensor]:
    if isinstance(state, torch.Tensor):
        return {path: state}
    pairs = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, (list, tuple)) else ()
    return {name: value for key, part in pairs for name, value in tensors(part, f"{path}/{key}").items()}


def same_bits(first: Path, second: Path) -> None:
    one, two = (tensors(load_checkpoint(folder / "checkpoint.pt")) for folder in (first, second))
    assert one.keys() == two.keys()
    different = [name for name in one if not torch.equal(one[name], two[name])]
    assert not different
    for name in ("metrics.jsonl", "accuracy_matrix.csv"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    carry_out(make_plan(ASKED, Progress()), folder, resume=False, progress=Progress())
    return folder


@pytest.mark.parametrize("steps", [1, 18, 19, 40, 120])
def test_interrupted_between_any_two_steps_and_resumed_gives_the_same_bits(steps: int, whole: Path, tmp_path: Path) -> None:
    interrupted(ASKED, tmp_path / "run", steps)
    carry_out(make_plan(ASKED, Progress()), tmp_path / "run", resume=True, progress=Progress())
    same_bits(whole, tmp_path / "run")


def test_a_run_without_interruption_repeats_its_own_bits(whole: Path, tmp_path: Path) -> None:
    carry_out(make_plan(config.from_file(whole / "config.yaml"), Progress()), tmp_path / "again", resume=False, progress=Progress())
    same_bits(whole, tmp_path / "again")


def test_rows_written_after_the_checkpoint_are_cut_off_on_resume(whole: Path, tmp_path: Path) -> None:
    interrupted(ASKED, tmp_path / "run", 70)
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"metric": "accuracy_task", "value": 2.0}\n{"half a ro')
    carry_out(make_plan(ASKED, Progress()), tmp_path / "run", resume=True, progress=Progress())
    same_bits(whole, tmp_path / "run")


@pytest.mark.parametrize("delay", [0.0, 0.15, 0.4])
def test_killed_at_any_moment_and_resumed_gives_the_same_bits(delay: float, whole: Path, tmp_path: Path) -> None:
    written = tmp_path / "asked.yaml"
    written.write_text((whole / "config.yaml").read_text())
    command = [sys.executable, "-m", "runs.cli", "--config", str(written), "--out", str(tmp_path / "run"), "--quiet"]
    process = subprocess.Popen(command)
    while not (tmp_path / "run" / "checkpoint.pt").exists() and process.poll() is None:
        time.sleep(0.005)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.wait()
    carry_out(make_plan(ASKED, Progress()), tmp_path / "run", resume=True, progress=Progress())
    same_bits(whole, tmp_path / "run")


def test_ctrl_c_saves_and_says_how_to_resume(whole: Path, tmp_path: Path) -> None:
    asked = tmp_path / "asked.yaml"
    asked.write_text((whole / "config.yaml").read_text().replace("epochs: 3", "epochs: 4000"))
    command = [sys.executable, "-m", "runs.cli", "--config", str(asked), "--out", str(tmp_path / "run")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    while not (tmp_path / "run" / "checkpoint.pt").exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"simulate resume {tmp_path / 'run'}" in error
    assert load_checkpoint(tmp_path / "run" / "checkpoint.pt")["position"]["experience"] == 0


def test_a_loaded_run_predicts_as_the_trained_one_did(whole: Path) -> None:
    run = runs.load(whole)
    summary = json.loads((whole / "summary.json").read_text())
    assert run.matrix.tolist() == summary["accuracy_matrix"]
    examples = run.scenario.experiences[0].test
    batch = examples.batch(slice(0, len(examples)))
    right = (run.strategy.logits(batch.x)[:, :2].argmax(1) == batch.y).double().mean()
    assert float(right) == pytest.approx(summary["accuracy_matrix"][-1][0])


def test_a_directory_in_use_is_refused_and_freed_by_the_death_of_its_owner(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    plan = make_plan(ASKED, Progress())
    owner = os.fork()
    if owner == 0:
        held = Store(tmp_path / "run", plan.resolved, resume=True)
        assert held
        (tmp_path / "held").touch()
        time.sleep(60)
        os._exit(0)
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    with pytest.raises(ValueError, match=f"in use by process {owner}"):
        Store(tmp_path / "run", plan.resolved, resume=True)
    os.kill(owner, signal.SIGKILL)
    os.waitpid(owner, 0)
    Store(tmp_path / "run", plan.resolved, resume=True).close()
