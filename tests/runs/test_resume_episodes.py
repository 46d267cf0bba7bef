"""Learners of episodes that were interrupted between two steps go on bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest

from runs import simulate
from tests.runs.test_resume import interrupted, same_bits

MANY, FEW = {"meta_batch": 2}, {"batch_size": 8, "test_steps": 3}
LEARNERS = {
    "metasgd": MANY,
    "reptile": {**MANY, "inner_batch": 3, "test_steps": 2},
    **dict.fromkeys(("ridge", "matchingnet", "relationnet", "tpn"), MANY),
    **dict.fromkeys(("baseline", "baseline++"), FEW),
}
EPISODES = {"name": "digits", "ways": 2, "shots": 2, "queries": 2, "test_queries": 2, "test_episodes": 4}


@pytest.mark.parametrize("name", LEARNERS)
def test_an_interrupted_run_ends_as_one_that_was_not(name: str, tmp_path: Path) -> None:
    network = {"name": "mlp", "hidden": (8,), "norm": "batch"}
    strategy = {"name": name, **LEARNERS[name]}
    asked = {"scenario": EPISODES, "strategy": strategy, "network": network, "train": {"iterations": 5}, "seed": 0}
    interrupted(asked, tmp_path / "cut", 3)
    simulate(**asked, out=tmp_path / "cut", resume=True)
    simulate(**asked, out=tmp_path / "whole")
    same_bits(tmp_path / "whole", tmp_path / "cut")
