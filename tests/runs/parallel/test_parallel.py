"""Two processes, each with a share of every batch, learn what one process learns; what would not be equal is refused."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from runs.parallel.refusals import EQUAL, SO
from runs.simulation import take_up
from scenarios.errors import UserError
from tests.runs.parallel.both import carried_out, found, start

TOLERANCE = 1e-8
"""Of weights after some dozen steps in double precision: sums are formed in another order."""
BASE: dict[str, Any] = {
    "scenario": {"name": "split-digits", "tasks": 2, "train_examples": 61, "test_examples": 30},
    "network": {"name": "mlp", "hidden": [6], "norm": "batch"},
    "train": {"epochs": 2, "batch_size": 15, "optimizer": "sgd", "learning_rate": 0.05},
}
PLAIN = {"network": {"name": "mlp", "hidden": [6]}}
CONV = {"network": {"name": "conv", "norm": "batch"}, "train": {**BASE["train"], "augmentation": "crop"}}
"""61 examples in batches of 15: the last of a pass has 16 of them, and no batch can be halved. With a batch
norm after it a bias has no gradient but rounding, which Adam would make steps of: there the optimiser is SGD."""
CASES: dict[str, dict[str, Any]] = {
    **{name: {**BASE, "strategy": {"name": name, **SO.get(name, {})}} for name in EQUAL},
    "convolutions": {**BASE, **CONV, "strategy": {"name": "naive"}},
    "class": {**BASE, "scenario": {**BASE["scenario"], "setting": "class"}, "strategy": {"name": "replay", "memory": 20}},
    "fewer examples than processes": {**BASE, **PLAIN, "train": {**BASE["train"], "batch_size": 1}, "strategy": {"name": "si"}},
    "adam": {**BASE, **PLAIN, "train": {**BASE["train"], "optimizer": "adam", "learning_rate": 0.001}, "strategy": {"name": "naive"}},
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "own memory": ({"strategy": {"name": "der"}}, "der's loss is not shown to be a mean over examples"),
    "scale": ({"strategy": {"name": "kfac"}}, "kfac needs strategy.scale=none"),
    "joined": ({"strategy": {"name": "ewc+replay"}}, "is not shown to be a mean"),
    "episodes": ({"scenario": {"name": "glyphs"}, "strategy": {"name": "maml"}, "network": {}, "train": {}}, "episodes are not shared"),
    "attack": ({"strategy": {"name": "naive"}, "attack": {"name": "noise"}}, "attack 'noise' does not work with several processes"),
    "probe": ({"strategy": {"name": "naive"}, "probe": {"name": "features"}}, "simulate evaluate RUN --probe"),
}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("both") / "runs"
    cases = {**CASES, **{name: {**BASE, **changed} for name, (changed, _) in REFUSED.items()}}
    first, second = carried_out(list(cases.values()), folder)
    return {"folder": folder, **{name: (one, other) for name, one, other in zip(cases, first, second)}}


@pytest.mark.parametrize("name", CASES)
def test_two_processes_learn_what_one_does(both: dict[str, Any], name: str) -> None:
    alone = found(CASES[name], None)
    for ours in both[name]:
        torch.testing.assert_close(ours["network"], alone["network"], rtol=TOLERANCE, atol=TOLERANCE)
        assert torch.allclose(ours["matrix"], alone["matrix"], atol=0.04, equal_nan=True), "more than one of 30 answers differs"
    assert all(torch.equal(one, other) for one, other in zip(*(each["network"].values() for each in both[name])))


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_not_be_equal_is_refused_in_one_line(both: dict[str, Any], name: str) -> None:
    for ours in both[name]:
        assert REFUSED[name][1] in ours["error"] and "\n" not in ours["error"]


def test_the_first_process_writes_the_log_of_whole_batches(both: dict[str, Any], tmp_path: Path) -> None:
    place = both["folder"] / str(list(CASES).index("naive"))
    found(CASES["naive"], tmp_path / "alone")
    texts = [(each / "training.jsonl").read_text() for each in (place, tmp_path / "alone")]
    ours, alone = ([json.loads(line) for line in text.splitlines()] for text in texts)
    assert len(ours) == len(alone) > 0
    for one, other in zip(ours, alone):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4) and one["accuracy"] == pytest.approx(other["accuracy"], abs=0.02)
    assert json.loads((place / "environment.json").read_text())["processes"] == 2


LONG = [
    *("--scenario", "split-digits", "--strategy", "naive", "--network", "mlp"),
    *("--set", "scenario.tasks=2", "--set", "network.hidden=4", "--set", "train.epochs=100000"),
]


def begin(folder: Path, *more: str) -> list[subprocess.Popen[str]]:
    both = start("-m", "runs.cli", *LONG, "--out", folder, *more)
    checkpoint, until = folder / "checkpoint.pt", time.monotonic() + 120
    before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
    while not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before:
        assert time.monotonic() < until and both[0].poll() is None, both[0].communicate()
        time.sleep(0.1)
    time.sleep(0.5)
    return both


def test_one_that_is_interrupted_stops_all_and_the_run_goes_on(tmp_path: Path) -> None:
    places = []
    for again in ((), ("--resume",)):
        both = begin(tmp_path / "run", *again)
        both[1].send_signal(signal.SIGINT)
        ends = [process.communicate(timeout=60) for process in both]
        assert [process.returncode for process in both] == [130, 130], ends
        assert ends[0][1].count("\n") == 1 and not ends[1][1] and not ends[1][0], ends
        assert "interrupted; everything is saved: go on with `simulate resume" in ends[0][1]
        # One process takes it up as well.
        at = take_up(tmp_path / "run").position
        places.append((at.epoch, at.step))
    assert (0, 0) < places[0] < places[1]


def test_one_that_dies_ends_all_in_one_line(tmp_path: Path) -> None:
    both = begin(tmp_path / "run")
    both[1].kill()
    _, error = both[0].communicate(timeout=60)
    assert both[0].returncode == 3 and error.count("\n") == 1, error
    assert "another process of the run is gone; go on from the last checkpoint with `simulate resume" in error


def test_several_runs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from runs import session

    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(UserError, match="one run on several devices"):
        session.run({**BASE, "strategy": {"name": "naive"}}, None, number="2", quiet=True, resume=False)
