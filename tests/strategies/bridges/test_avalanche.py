"""The bridge to Avalanche: the same network, order, batches and seed give the same learner, and its numbers translate into ours."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import runs
from metrics import continual
from runs.plan import make_plan
from runs.showing.progress import Progress
from scenarios.errors import UserError

TRAIN = {"epochs": 2, "optimizer": "sgd", "learning_rate": 0.05, "batch_size": 16}
STREAM = {"name": "split-digits", "tasks": 5, "train_examples": 60, "test_examples": 40}


def test_importing_the_project_imports_neither_avalanche_nor_learn2learn():
    code = (
        "import sys, scenarios, strategies, metrics, runs, runs.cli, runs.simulation, runs.showing.listing as l;"
        "[registry.load(name) for registry in l.registries().values() for name in registry.names() if ':' in name];"
        "sys.exit(any(name.split('.')[0] in ('avalanche', 'learn2learn', 'gym') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_avalanche_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "avalanche.training.supervised", None)
    with pytest.raises(UserError, match="pip install 'avalanche-lib"):
        runs.simulate(scenario=STREAM, strategy="avalanche:Naive", train=TRAIN)


avalanche = pytest.importorskip("avalanche", reason="the extra 'avalanche' is not installed")


def simulate(strategy, setting="class", **train):
    return runs.simulate(scenario={**STREAM, "setting": setting}, strategy=strategy, train={**TRAIN, **train})


@pytest.mark.parametrize("setting", ["task", "domain", "class"])
def test_their_naive_is_ours(setting):
    ours, theirs = simulate("naive", setting, weight_decay=0.01), simulate("avalanche:Naive", setting, weight_decay=0.01)
    for (name, one), two in zip(ours.strategy.network.named_parameters(), theirs.strategy.network.parameters()):
        assert torch.allclose(one, two, rtol=1e-4, atol=1e-5), name
    assert torch.allclose(ours.matrix, theirs.matrix, atol=1 / 40 + 1e-9, equal_nan=True)


def test_their_forgetting_is_the_diagonal_form():
    from avalanche.evaluation.metrics import forgetting_metrics
    from avalanche.training.plugins import EvaluationPlugin

    asked = {"scenario": {**STREAM, "setting": "domain"}, "strategy": {"name": "avalanche:Naive"}, "train": TRAIN}
    plan = make_plan(asked, Progress())
    strategy = plan.strategy
    theirs = strategy.theirs
    evaluator = EvaluationPlugin(forgetting_metrics(experience=True, stream=True), loggers=[], strict_checks=False)
    theirs.plugins[theirs.plugins.index(theirs.evaluator)] = evaluator
    theirs.evaluator = evaluator
    from scenarios.bridges.avalanche import to_benchmark

    test_stream = to_benchmark(plan.scenario).test_stream
    matrix = []
    for experience in plan.scenario.experiences:
        (phase,) = strategy.phases(experience)
        phase.begin()
        found = theirs.eval(test_stream)
        with torch.no_grad():
            row = []
            for each in plan.scenario.experiences:
                batch = each.test.batch(slice(None))
                row.append(float((strategy.logits(batch.x).argmax(1) == batch.y).double().mean()))
        matrix.append(row)
    reported = next(value for name, value in found.items() if name.startswith("StreamForgetting"))
    assert reported == pytest.approx(continual.average_forgetting_diagonal(matrix), abs=1e-6)
    assert continual.average_forgetting(matrix) >= reported - 1e-9


LEARNERS = [("EWC", {"ewc_lambda": 1.0}), ("Replay", {"mem_size": 20}), ("LwF", {"alpha": 1.0, "temperature": 2.0})]


@pytest.mark.parametrize("name, options", LEARNERS)
def test_their_strategies_run_and_act(name, options):
    result = simulate({"name": f"avalanche:{name}", **{f"options.{key}": value for key, value in options.items()}}, "task", epochs=1)
    naive = simulate("avalanche:Naive", "task", epochs=1)
    assert result.matrix.shape == (5, 5)
    assert any(
        not torch.equal(one, two) for one, two in zip(result.strategy.network.parameters(), naive.strategy.network.parameters())
    )


@pytest.mark.parametrize(
    ("strategy", "train", "message"),
    [
        ("avalanche:Naiv", {}, "did you mean Naive"),
        ({"name": "avalanche:Replay", "options.mem_siz": 3}, {}, "takes no 'mem_siz'; did you mean mem_size"),
        ("avalanche:EWC", {}, "strategy.options.NAME=VALUE"),
        ("avalanche:Naive", {"iterations": 3}, "set train.epochs"),
    ],
)
def test_what_cannot_be_made_is_one_line(strategy, train, message):
    with pytest.raises(UserError, match=message):
        runs.simulate(scenario=STREAM, strategy=strategy, train={**TRAIN, **train})


def test_a_stopped_run_is_not_gone_on_with_in_silence(tmp_path):
    plan = make_plan({"scenario": STREAM, "strategy": {"name": "avalanche:Naive"}, "train": TRAIN}, Progress())
    with pytest.raises(UserError, match="begin the run again"):
        plan.strategy.phases(plan.scenario.experiences[2])
