"""Plug-ins of Avalanche on our own fine-tuning: they end where Avalanche's loop ends with them, and what cannot hang is told."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch

import runs
from runs.plan import make_plan
from runs.showing.progress import Progress
from scenarios.bridges.foreign import library
from scenarios.errors import UserError
from strategies.bridges.plugged import HANGS, REFUSED

TRAIN = {"epochs": 2, "optimizer": "sgd", "learning_rate": 0.05, "batch_size": 16}
STREAM = {"name": "split-digits", "tasks": 5, "train_examples": 40, "test_examples": 20}


def test_without_avalanche_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "avalanche.training.plugins", None)
    with pytest.raises(UserError, match="pip install 'avalanche-lib"):
        runs.simulate(scenario=STREAM, strategy="naive+avalanche:LwFPlugin", train=TRAIN)


pytest.importorskip("avalanche", reason="the extra 'avalanche' is not installed")

WHOLE = {"batch_size": 1000, "epochs": 10}
"""All of an experience, and all of a memory, in one batch: nothing hangs on what is drawn."""
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "AGEMPlugin": ({"patterns_per_experience": 1000, "sample_size": 100000}, WHOLE),
    "EWCPlugin": ({"ewc_lambda": 20.0}, {}),
    "GEMPlugin": ({"patterns_per_experience": 1000, "memory_strength": 0.5}, {}),
    "LwFPlugin": ({"alpha": 2.0, "temperature": 2.0}, {"learning_rate": 0.2}),
    "MASPlugin": ({"lambda_reg": 1.0}, {}),
    "RWalkPlugin": ({"ewc_lambda": 5.0, "delta_t": 3}, {}),
    "ReplayPlugin": ({"mem_size": 1000}, WHOLE),
    "SynapticIntelligencePlugin": ({"si_lambda": 100.0}, {}),
}


def simulate(strategy: Any, setting: str, **train: Any) -> Any:
    return runs.simulate(scenario={**STREAM, "setting": setting}, strategy=strategy, train={**TRAIN, **train})


def weights(result: Any) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in result.strategy.network.parameters()])


def options(name: str) -> dict[str, Any]:
    return {f"plugins.{name}.{key}": value for key, value in CASES[name][0].items()}


@pytest.mark.parametrize("setting", ["task", "domain", "class"])
@pytest.mark.parametrize("name", CASES)
def test_a_plug_in_on_our_engine_ends_where_it_ends_on_avalanches(name: str, setting: str) -> None:
    if name == "GEMPlugin":
        pytest.importorskip("quadprog", reason="GEM of Avalanche needs quadprog")
    train = CASES[name][1]
    ours, theirs = (simulate({"name": way, **options(name)}, setting, **train) for way in (f"naive+avalanche:{name}", "avalanche:Naive"))
    assert torch.allclose(weights(ours), weights(theirs), rtol=1e-3, atol=1e-4)
    naive = simulate("naive", setting, **train)
    # On a CPU their SI measures nothing: docs/bridges.md.
    assert bool((weights(ours) - weights(naive)).abs().max() > 1e-3) is (name != "SynapticIntelligencePlugin")


def test_every_plug_in_of_avalanche_hangs_or_is_refused_with_a_reason() -> None:
    assert sorted(CASES) == sorted(HANGS)
    module = library("avalanche.training.plugins")
    base = module.SupervisedPlugin
    there = {kind.__name__ for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, base) and kind is not base}
    assert there - {*HANGS} <= REFUSED.keys() and not {*HANGS} & REFUSED.keys()


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ("naive+avalanche:LRSchedulerPlugin", "train.schedule"),
        ({"name": "naive+avalanche:LwFPlugin", "plugins.EarlyStoppingPlugin.patience": 1,
          "plugins.EarlyStoppingPlugin.val_stream_name": "x"}, "evaluate.validate_every"),
        ("naive+avalanche:LwfPlugn", "did you mean LwFPlugin"),
        ("naive+avalanche:EWCPlugin", "strategy.plugins.EWCPlugin.NAME=VALUE"),
    ],
)  # fmt: skip
def test_what_cannot_hang_is_one_line(strategy: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        simulate(strategy, "class")


def test_our_engine_counts_steps_and_schedules_rates_under_their_plug_ins() -> None:
    asked = {"name": "naive+avalanche:LwFPlugin"}
    plain = simulate(asked, "class", iterations=5, epochs=1)
    falling = simulate(asked, "class", iterations=5, epochs=1, schedule="linear")
    assert plain.strategy.theirs.clock.train_iterations == 5 * 5
    assert not torch.equal(weights(plain), weights(falling))


def test_several_hang_at_once_and_memories_arrive_in_batches_of_their_own() -> None:
    both = {"name": "naive+avalanche:ReplayPlugin", "plugins.ReplayPlugin.mem_size": 10, "plugins.LwFPlugin": True}
    result = simulate(both, "class")
    assert result.summary["average_accuracy"] > simulate("naive", "class").summary["average_accuracy"]
    assert len(result.strategy.theirs.plugins) > 2


def test_a_stopped_run_is_not_gone_on_with_in_silence() -> None:
    asked = {"scenario": STREAM, "strategy": {"name": "naive+avalanche:LwFPlugin"}, "train": TRAIN}
    plan = make_plan(asked, Progress())
    with pytest.raises(UserError, match="begin the run again"):
        plan.strategy.phases(plan.scenario.experiences[2])
    (phase,) = plan.strategy.phases(plan.scenario.experiences[0])
    batch = next(iter(phase.batches.epoch(lambda purpose: torch.Generator().manual_seed(0))))
    with pytest.raises(UserError, match="begin the run again"):
        phase.updates[0].loss(batch)
