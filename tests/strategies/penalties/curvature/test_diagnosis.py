"""The diagnosis reproduces what is known: pairs matter where a batch norm lies behind, and nowhere else."""

from __future__ import annotations

import pytest
import torch

from scenarios.errors import UserError
from scenarios.random import Randomness
from strategies.penalties.curvature import diagnosis
from tests.strategies.driver import make_setup, prepared, tiny_scenario
from tests.strategies.penalties.curvature.curvature_cases import conv, images, mlp


def test_pairs_bring_layers_with_a_norm_behind_them_nearer_to_the_exact_block():
    batches = [images(16, (1, 2, 2), seed=seed, mean=1.0) for seed in range(6)]
    before = {row["layer"]: row for row in diagnosis.diagnose(mlp(), batches, range(3), tap="pre_bn")}
    behind = {row["layer"]: row for row in diagnosis.diagnose(mlp(), batches, range(3), tap="post_bn")}
    for row in [before["backbone.1"], before["backbone.3"], behind["backbone.1"]]:
        assert row["coupled"] and row["xkfac_error"] < 0.8 * row["kfac_error"]
    for row in [behind["backbone.3"], before["head.blocks.0"]]:
        assert not row["coupled"] and row["xkfac_error"] == row["kfac_error"] == pytest.approx(row["ungated_error"], rel=1e-6)


def test_the_network_is_left_as_it_was():
    network = conv().eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    rows = diagnosis.diagnose(network, [images(4, (2, 4, 4))], range(3))
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items()) and not network.training
    assert [row["layer"] for row in rows] == ["backbone.0", "backbone.2", "head.blocks.0"]


def test_a_strategys_network_is_diagnosed_on_a_batch_of_its_experience():
    setup = make_setup(tiny_scenario("task"), options={"hidden": (6, 5), "norm": "batch"})
    strategy = prepared("naive", setup)
    rows = diagnosis.curvature(strategy, setup.scenario.experiences[1].train, Randomness(0))
    assert [(row["layer"], row["tap"]) for row in rows] == [
        ("backbone.1", "post_bn"),
        ("backbone.3", "post_bn"),
        ("head.blocks.1", "post_bn"),
        ("backbone.1", "pre_bn"),
        ("backbone.3", "pre_bn"),
    ]
    assert rows == diagnosis.curvature(strategy, setup.scenario.experiences[1].train, Randomness(0))
    assert all(isinstance(value, (str, int, float, bool)) for row in rows for value in row.values())


def test_a_network_that_is_too_large_is_refused_in_one_line(monkeypatch):
    monkeypatch.setattr(diagnosis, "LARGEST", 100)
    with pytest.raises(UserError, match="diagnose a smaller network"):
        diagnosis.diagnose(mlp(), [images(8, (1, 2, 2))], range(3))
