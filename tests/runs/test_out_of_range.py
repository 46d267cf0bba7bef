"""Numbers out of range: a run that diverges ends with exit code 3 and a checkpoint that is good; what cannot be is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from runs import cli, simulate
from runs.engine import DivergenceError, finite
from runs.stopping import too_little_memory
from scenarios.errors import UserError


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["simulate", "--scenario", "split-digits", "--quiet", *arguments])
        cli.main()
    return int(ended.value.code or 0), capsys.readouterr().err


@pytest.mark.parametrize("strategy", ["naive", "ewc"])
def test_a_rate_beyond_reason_ends_with_code_3_and_leaves_a_good_checkpoint(
    strategy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    options = ["train.learning_rate=1e20", "train.iterations=1", "network.hidden=8"]
    code, error = said(capsys, "--strategy", strategy, "--out", str(out), *(word for each in options for word in ("--set", each)))
    assert code == 3 and error.count("\n") == 1 and "no longer a finite number" in error
    kept = torch.load(out / "checkpoint.pt", weights_only=True)
    assert finite(kept["strategy"]) and finite(kept["engine"])


@pytest.mark.parametrize("strategy", ["kfac", "xkfac"])
def test_curvature_of_a_network_that_has_diverged_is_a_divergence(strategy: str) -> None:
    train = {"optimizer": "adam", "learning_rate": 1e15, "iterations": 2}
    with pytest.raises(DivergenceError):
        simulate(
            scenario="split-digits",
            strategy={"name": strategy, "factor_batches": 1},
            network={"name": "mlp", "hidden": (16, 16, 16)},
            train=train,
        )


@pytest.mark.parametrize(
    ("strategy", "option", "message"),
    [
        ("ewc", "strategy.strength=1e308", "strategy.strength must be at most 1e+30"),
        ("replay", "strategy.memory=1e20", "strategy.memory must be at most 1e+18"),
        ("naive", "train.learning_rate=inf", "train.learning_rate must be a finite number"),
        ("naive", "train.learning_rate=0", "train.learning_rate must be above 0"),
        ("naive", "network.hidden=0", "network.hidden must be at least 1"),
        ("naive", "network.hidden=1000000000,1000000000", "parameters, which with gradients and momentum take"),
        ("kfac", "strategy.select_learning_rates=", "strategy.select_learning_rates is empty"),
        ("kfac", "strategy.select_dampings=1", "has no effect without the selection"),
        ("naive", "train.momentum=0.5", "train.momentum is of sgd, and the optimizer is adam"),
        ("naive", "evaluate.ensemble=3", "evaluate.ensemble is for learners of episodes"),
        ("naive", "network.freeze=nothing", "network.freeze=nothing is the name of no parameter"),
    ],
)
def test_what_cannot_be_or_would_have_no_effect_is_refused_in_one_line(
    strategy: str, option: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, error = said(capsys, "--strategy", strategy, "--out", str(tmp_path / "run"), "--set", option)
    assert code == 2 and message in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_network_larger_than_memory_is_refused_before_it_is_made() -> None:
    for width, message in ((20_000, "parameters, which with gradients and momentum take"), (10**17, "too many parameters to count")):
        with pytest.raises(UserError, match=message):
            simulate(scenario="split-digits", strategy="naive", network={"name": "resnet18", "width": width})


def test_memory_that_cannot_be_had_is_known_by_its_message() -> None:
    with pytest.raises(RuntimeError) as refused:
        torch.empty(2**58, dtype=torch.uint8)
    assert too_little_memory(refused.value) and too_little_memory(MemoryError())
    assert not too_little_memory(RuntimeError("size mismatch"))
