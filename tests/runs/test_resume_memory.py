"""Learners with a memory, interrupted in the middle of a pass and resumed, give the bits of a run that was not."""

from __future__ import annotations

from pathlib import Path

import pytest

from runs.plan import make_plan
from runs.showing.progress import Progress
from runs.simulation import carry_out
from tests.runs.test_resume import interrupted, same_bits

METHODS = {
    "replay": {"memory": 30, "buffer": "loss-aware"},
    "der++": {"memory": 30, "buffer": "balanced"},
    "er-ace": {"memory": 30},
    "mir": {"memory": 30, "batch_size": 4, "candidates": 9},
    "gem": {"memory": 30},
    "icarl": {"memory": 30},
    "gdumb": {"memory": 30},
    "dgr": {"latent": 4, "width": 8, "generator": "conv", "distill": "true"},
    "cumulative": {},
    "bic": {"memory": 30, "bias_iterations": 3},
    "lucir": {"memory": 30},
}


@pytest.mark.parametrize("strategy", METHODS)
def test_interrupted_in_the_middle_of_a_pass_and_resumed(strategy: str, tmp_path: Path) -> None:
    asked = {
        "scenario": {"name": "split-digits", "tasks": 5, "setting": "class", "train_examples": 40},
        "strategy": {"name": strategy, **METHODS[strategy]},
        "train": {"epochs": 2, "batch_size": 16, "augmentation": "crop-flip"},
        "network": {"hidden": "16"},
        "seed": 3,
    }
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    carry_out(make_plan(asked, Progress()), whole, resume=False, progress=Progress())
    # Experience 1, second pass, one of three steps done.
    interrupted(asked, stopped, 10)
    carry_out(make_plan(asked, Progress()), stopped, resume=True, progress=Progress())
    same_bits(whole, stopped)
