"""A logger of Avalanche hears of our runs what it would hear from Avalanche's own loop."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

import runs
from scenarios.errors import UserError

ASKED = {
    "scenario": {"name": "split-digits", "setting": "class", "tasks": 2, "train_examples": 60, "test_examples": 40},
    "strategy": "naive",
    "train": {"epochs": 1},
}


def test_without_avalanche_one_line_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "avalanche.logging", None)
    with pytest.raises(UserError, match="pip install 'avalanche-lib"):
        runs.simulate(**ASKED, log="avalanche:CSVLogger", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_loggers_are_told_accuracies_and_forgetting_and_change_nothing(tmp_path: Path):
    pytest.importorskip("avalanche", reason="the extra 'avalanche' is not installed")
    watched = runs.simulate(**ASKED, log="avalanche:CSVLogger,avalanche:TextLogger,csv", out=tmp_path / "run")
    bare = runs.simulate(**ASKED)
    assert torch.equal(watched.matrix.nan_to_num(-1), bare.matrix.nan_to_num(-1))
    rows = list(csv.DictReader((tmp_path / "run/avalanche/eval_results.csv").open()))
    told = [float(row["eval_accuracy"]) for row in rows if row["training_exp"] in ("0", "1")]
    assert told == pytest.approx([float(watched.matrix[0, 0]), *watched.matrix[1].tolist()], abs=1e-4)
    assert float(rows[-2]["forgetting"]) == pytest.approx(float(watched.matrix[0, 0] - watched.matrix[1, 0]), abs=1e-4)
    trained = list(csv.DictReader((tmp_path / "run/avalanche/training_results.csv").open()))
    assert [row["training_exp"] for row in trained] == ["0", "1"] and all(float(row["training_loss"]) > 0 for row in trained)
    text = (tmp_path / "run/avalanche/log.txt").read_text()
    assert text.count("Start of training phase") == 2 and "ExperienceForgetting/eval_phase/test_stream/Exp000" in text


def test_an_unknown_logger_is_told_before_anything_is_written(tmp_path: Path):
    pytest.importorskip("avalanche", reason="the extra 'avalanche' is not installed")
    with pytest.raises(UserError, match="did you mean TextLogger"):
        runs.simulate(**ASKED, log="avalanche:TextLoger", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
