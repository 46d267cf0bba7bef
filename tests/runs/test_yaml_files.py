"""YAML of strangers is read in bounded time, and what is no request is refused in one line that names it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from runs import config, yaml_files
from scenarios.errors import UserError
from tests.runs.command import call

BOMB = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{','.join(9 * [f'*a{i - 1}'])}]\n" for i in range(1, 10))
NAMED = {"scenario": "split-digits", "strategy": "naive"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "more than 200000 values"),
        ("network: {name: mlp, hidden: &a [*a]}", "more than 200000 values"),
        ("train: " + 3000 * "[" + 3000 * "]", "nested too deeply"),
        ("train: " + 3000 * "{a: " + 3000 * "}", "nested too deeply"),
        ("seed: 1\nseed: 2", "line 2: 'seed' is given twice"),
        ("train: {epochs: 1, batch_size: 8, epochs: 2}", "line 1: 'epochs' is given twice"),
        ("data: 5", "data must be text, not '5'"),
        ("data: 2020-01-01", "data must be text, not '2020-01-01'"),
        ("device: true", "device must be text, not 'True'"),
        ("network: {name: [x]}", "network.name must be text, not a list"),
        ("imports: mine.py", "imports must be a list of files, like [mine.py], not 'mine.py'"),
        ("imports: [1]", "imports must be a list of files"),
        ("train: {1: 2}", "the options of 'train' have names, not '1'"),
        ("train: [1]", "'train' must hold options"),
        ("train: !!set {a}", "'train' must hold options"),
        ("seed: 1.5", "seed must be a whole number, not '1.5'"),
        ("seed: true", "seed must be a whole number"),
        ("seed: 0x" + 6000 * "f", "whole number"),
        ("seed: " + 6000 * "9", "is not YAML"),
        ("test_scenario: {a: b}", "test_scenario must be text, not a mapping"),
        ("train: {epochs: [1]}", "train.epochs must be a whole number, not a list"),
        ("train: {optimizer: {a: 1}}", "train.optimizer must be text, not a mapping"),
        ("1: 2", "unknown entry '1'"),
        ("? [a]\n: b", "unhashable key"),
        ("train: {optimizer: 2020-13-45}", "is not YAML"),
        ("train: !!python/object:os.system {}", "could not determine a constructor"),
        ("train: {" + 900 * "a" + ": 1}", "unknown option train.aaaa"),
        ("scenario: split-digits\n\tstrategy: naive", "line 2"),
    ],
)
def test_what_is_refused(text: str, message: str, tmp_path: Path) -> None:
    lines = [f"{name}: {value}" for name, value in NAMED.items() if not text.startswith(f"{name}:")]
    (tmp_path / "asked.yaml").write_text("\n".join([*lines, text]) if "line" not in message else text)
    begin = time.process_time()
    code, _, error = call("--config", tmp_path / "asked.yaml", "--out", tmp_path / "run")
    assert time.process_time() - begin < 3
    assert code == 2 and error.count("\n") == 1 and len(error) < 1100, error
    assert message in error
    assert not (tmp_path / "run").exists()


def test_aliases_and_merged_keys_are_fine_while_they_are_few(tmp_path: Path) -> None:
    text = "\ufefftrain: &t {epochs: 1, batch_size: 8}\nevaluate:\n  <<: *t\n  batch_size: 9\nseed: 3\n"
    (tmp_path / "asked.yaml").write_text(text, encoding="utf-8")
    assert config.from_file(tmp_path / "asked.yaml") == {
        "train": {"epochs": 1, "batch_size": 8},
        "evaluate": {"epochs": 1, "batch_size": 9},
        "seed": 3,
    }


def test_what_never_ends_is_not_read_to_its_end() -> None:
    with pytest.raises(UserError, match="/dev/zero is larger than 8 MiB"):
        yaml_files.load(Path("/dev/zero"), "give a file")
