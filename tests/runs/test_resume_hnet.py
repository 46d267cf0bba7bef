"""A run of H-net/C-net that is interrupted in any of its phases, and then resumed, gives the bits of the run that was not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from runs.plan import make_plan
from runs.recording.store import load_checkpoint
from runs.showing.progress import Progress
from runs.simulation import carry_out
from tests.runs.test_resume import interrupted, same_bits

STRATEGY = {
    "name": "hnet-cnet",
    "index_width": 12,
    "latent": 4,
    "index_batch_size": 16,
    "generator_iterations": 20,
    "index_iterations": 9,
}
ASKED = {
    "scenario": {"name": "split-digits", "tasks": 2, "setting": "class", "train_examples": 96, "test_examples": 50},
    "strategy": STRATEGY,
    "train": {"iterations": 8, "batch_size": 16, "optimizer": "adam", "learning_rate": 0.01},
    "network": {"name": "mlp", "hidden": "16", "norm": "batch"},
    "seed": 3,
}
PHASES = ("c-net", "generator", "index")
STOPS = [("gan", 31, "c-net"), ("gan", 9, "generator"), ("gan", 15, "generator"), ("gan", 47, "generator"), ("gan", 61, "index")]
"""After which of the run's steps it is stopped; a task takes 8 of the C-net and 20 of its GAN, the second 9 of the classifiers."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    carry_out(make_plan(ASKED, Progress()), folder, resume=False, progress=Progress())
    return folder


@pytest.mark.parametrize("index, steps, phase", [*STOPS, ("autoencoder", 47, "generator")])
def test_interrupted_in_any_phase_and_resumed_gives_the_same_bits(index: str, steps: int, phase: str, whole: Path, tmp_path: Path) -> None:
    read = {name: value for name, value in STRATEGY.items() if index == "gan" or name not in ("index_width", "index_iterations")}
    asked = {**ASKED, "strategy": {**read, "index": index}}
    reference = whole
    if index != "gan":
        reference = tmp_path / "whole"
        carry_out(make_plan(asked, Progress()), reference, resume=False, progress=Progress())
    interrupted(asked, tmp_path / "run", steps)
    position = load_checkpoint(tmp_path / "run" / "checkpoint.pt")["position"]
    assert position["phase"] == PHASES.index(phase)
    assert position["step"] > 0
    carry_out(make_plan(asked, Progress()), tmp_path / "run", resume=True, progress=Progress())
    same_bits(reference, tmp_path / "run")
    ours, theirs = (json.loads((folder / "summary.json").read_text())["routing"] for folder in (tmp_path / "run", reference))
    assert ours == theirs
    if index == "gan":
        kept = [torch.load(folder / "artefacts.pt", weights_only=True) for folder in (tmp_path / "run", reference)]
        assert torch.equal(kept[0]["generated"], kept[1]["generated"])


def test_the_summary_tells_the_seconds_of_each_phase_apart(whole: Path) -> None:
    summary = json.loads((whole / "summary.json").read_text())
    seconds = summary["phase_seconds"]
    assert set(seconds) == set(PHASES)
    assert min(seconds.values()) > 0
    assert sum(seconds.values()) == pytest.approx(summary["train_seconds"])
