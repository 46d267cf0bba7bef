"""Probes carried out: together as one by one, without a trace on what is tested, anchors once, killed and resumed."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

import scenarios
from runs.afterwards import probe as measure_probe
from runs.engine import InterruptedRunError
from runs.plan import make_plan
from runs.probing import cache, trials
from runs.probing.probing import Probing, check
from runs.probing.stack import stackable
from runs.showing.progress import Progress
from runs.simulation import carry_out, take_up
from scenarios.errors import UserError
from scenarios.transfer import subsets
from strategies.networks import build, networks
from strategies.probes import piggybackers
from strategies.probes.piggyback import Piggyback, PiggybackConfig
from strategies.probes.trial import Trial
from tests.runs.test_resume import same_bits
from tests.strategies.driver import equal

PROBE = {"per_class": [2, 5], "steps": 12, "looks": [4], "rates": [0.1, 0.01], "subsets": 2, "test_examples": 60, "batch_size": 8}
ASKED = {
    "scenario": {"name": "transfer-split-digits", "source_examples": 200, "target_examples": 100},
    "strategy": {"name": "gc", "steps": 8, "source_batch": 32, "reprobe": 10},
    "train": {"epochs": 2},
    "network": {"hidden": "16"},
    "probe": PROBE,
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PALIMPSEST_CACHE", str(tmp_path / "cache"))


def some(kind, count=5, trained="all", each=4, teacher=None, **options):
    source = scenarios.make("transfer-split-digits").experiences[0]
    component, _ = networks.load(kind)
    made = build(kind, component.Config(**options), (1, 8, 8), [source.outputs], 0)
    test = source.test.select(torch.arange(0, len(source.test), 4))
    found = []

    def answers(x):
        with torch.no_grad():
            return teacher(made.eval().features(x))

    for seed in range(count):
        # Two rates to a subset: these share its products.
        generator = torch.Generator().manual_seed(seed // 2)
        order = subsets.orders(subsets.per_class(source.train, each, generator), 8, 10, generator)
        fresh = piggybackers.with_fresh_head(made, 5, generator)
        if teacher is not None:
            piggybackers.beside(fresh, teacher)
        rates = ((3, 0.01 * (seed + 1)), (7, 0.1 * (seed + 1)))
        told = {"examples": source.train, "order": order, "test": test, "first": 0, "rates": rates, "looks": (4, 10)}
        told["teacher"] = None if teacher is None else answers
        found.append(Trial(network=fresh, classes=5, trained=trained, **told))
    return found


@pytest.mark.parametrize("trained", ["all", "head"])
@pytest.mark.parametrize("each", [4, 20])
@pytest.mark.parametrize("distil", [False, True])
def test_together_as_one_by_one(trained, each, distil, monkeypatch):
    # 20 images in terms of which the first layer is told, and 100, more than the 64 inputs it has; in stacks of three.
    monkeypatch.setattr(trials, "STACK_BYTES", 3 * 4 * (64 * 12 + 12 + 12 * 7 + 7 + 12 * 12 + 12) if trained == "all" else 3 * 4 * 13 * 7)
    torch.manual_seed(0)
    teacher = torch.nn.Linear(12, 2) if distil else None
    alone, stacked = (some("mlp", trained=trained, each=each, teacher=teacher, hidden=(12, 12)) for _ in range(2))
    before = [parameter.clone() for parameter in stacked[0].network.backbone.parameters()]
    trials.carry_out(alone, batched=False)
    monkeypatch.setattr(trials, "one", lambda *_: pytest.fail("not stacked"))
    trials.carry_out(stacked, batched=True)
    for one, other in zip(alone, stacked):
        assert one.accuracies == other.accuracies and len(one.accuracies) == 2
        for first, second in zip(one.network.parameters(), other.network.parameters()):
            assert torch.allclose(first, second, atol=1e-5)
    assert not torch.allclose(stacked[0].network.head.blocks[0].weight, stacked[1].network.head.blocks[0].weight)
    after = list(stacked[0].network.backbone.parameters())
    assert all(torch.equal(*pair) for pair in zip(before, after)) is (trained == "head")


def test_a_head_on_any_trunk_that_is_not_trained_is_stacked_and_agrees_with_the_engine():
    options = {"channels": (4,), "count": 3, "trained": "head"}
    alone, stacked = (some("conv", **options) for _ in range(2))
    trials.carry_out(alone, batched=False)
    trials.carry_out(stacked)
    assert stackable(stacked[0])
    for one, other in zip(alone, stacked):
        assert one.accuracies == other.accuracies
        assert torch.allclose(one.network.head.blocks[0].weight, other.network.head.blocks[0].weight, atol=1e-5)
        assert equal(one.network.backbone.state_dict(), other.network.backbone.state_dict())


def test_a_convolutional_network_is_not_stacked_and_worker_processes_give_what_the_engine_gives():
    alone, remote = (some("conv", 2, channels=(4,)) for _ in range(2))
    assert not stackable(alone[0])
    trials.carry_out(alone)
    trials.carry_out(remote, workers=2)
    assert [trial.accuracies for trial in alone] == [trial.accuracies for trial in remote]
    assert all(equal(one.network.state_dict(), other.network.state_dict()) for one, other in zip(alone, remote))


@pytest.mark.parametrize("batched", [True, False])
def test_a_thief_whose_rate_is_too_high_gets_nothing_and_stops_nobody(batched):
    made = some("mlp", 2, hidden=(12,))
    for trial, rate in zip(made, (1e30, 0.1)):
        trial.rates = ((10, rate),)
    trials.carry_out(made, batched=batched)
    assert made[0].accuracies[-1] < 0.4 < made[1].accuracies[-1]
    assert len(made[0].accuracies) == 2


@pytest.mark.parametrize("batched", [True, False])
def test_ctrl_c_stops_a_probe_between_two_steps(batched):
    left = iter([False] * 5)
    with pytest.raises(InterruptedRunError):
        trials.carry_out(some("mlp", 2, hidden=(12,)), batched=batched, stopping=lambda: next(left, True))


def test_a_probe_leaves_the_strategy_bit_identical_and_its_anchors_are_measured_once(monkeypatch):
    result = carry_out(make_plan({**ASKED, "probe": {"name": "none"}}, Progress()), None, resume=False, progress=Progress())
    plan = make_plan(ASKED, Progress())
    plan.strategy.load_state_dict(result.strategy.state_dict())
    before, weights = copy.deepcopy(plan.strategy.state_dict()), cache.weights(plan.strategy.network)
    state = torch.get_rng_state()
    torch.manual_seed(5)
    found = Probing(plan, lambda: False, lambda line: None).measure(result.matrix.tolist())
    assert equal(plan.strategy.state_dict(), before) and cache.weights(plan.strategy.network) == weights
    torch.set_rng_state(state)
    monkeypatch.setattr(trials, "carry_out", lambda *_, **__: pytest.fail("measured again"))
    again = Probing(plan, lambda: False, lambda line: None).measure(result.matrix.tolist())
    assert again == found
    pl = found["pl_accuracy"]
    assert set(pl["by_piggybacker"]) == set(piggybackers.DEFAULT) and list(pl["by_size"]) == ["2", "5"] and pl["size"] == "5"
    assert pl["best"] >= pl["mean"] and pl["looks"] == [4, 12] and len(pl["by_size"]["2"]["curve"]) == 2


def test_the_ceiling_is_the_transferred_network_whoever_trains_it_and_the_floor_is_target_only():
    result = carry_out(make_plan({**ASKED, "probe": {"name": "none"}}, Progress()), None, resume=False, progress=Progress())
    plan = make_plan(ASKED, Progress())
    probing = Probing(plan, lambda: False, lambda line: None)
    assert equal(probing.anchor("ceiling", 0).state_dict(), result.strategy.transferred.state_dict())
    never = make_plan({**ASKED, "strategy": {"name": "target-only"}, "probe": {"name": "none"}}, Progress())
    floor = carry_out(never, None, resume=False, progress=Progress())
    assert equal(probing.anchor("floor", 0).state_dict(), floor.strategy.network.state_dict())


def test_anchors_are_trained_whoever_asks_first_even_where_no_graph_is_kept():
    # Target-only keeps no transferred network, and answers from the cache leave its ceiling to whoever compares features with it.
    plan = make_plan({**ASKED, "strategy": {"name": "target-only"}}, Progress())
    result = carry_out(plan, None, resume=False, progress=Progress())
    with torch.no_grad():
        ceiling = Probing(plan, lambda: False, lambda line: None).anchor("ceiling", 0)
    again = carry_out(make_plan({**ASKED, "strategy": {"name": "target-only"}}, Progress()), None, resume=False, progress=Progress())
    assert again.summary["pl_accuracy"] == result.summary["pl_accuracy"]
    assert any(not torch.equal(one, two) for one, two in zip(ceiling.parameters(), plan.strategy.setup.build_network().parameters()))


@pytest.mark.parametrize("strategy", ["naive", "ewc"])
def test_any_learner_of_any_stream_can_be_probed(strategy):
    asked = {"scenario": {"name": "split-digits"}, "strategy": {"name": strategy}, "train": {"epochs": 1}, "network": {"hidden": "8"}}
    small = {"name": "piggyback", **PROBE, "on": 1, "piggybackers": ["fresh-head", "retain-only"]}
    result = carry_out(make_plan({**asked, "probe": small}, Progress()), None, resume=False, progress=Progress())
    assert 0 <= result.summary["pl_accuracy"]["mean"] <= 1 and "unlearning" not in result.summary


def test_a_learner_without_a_network_to_hand_out_is_one_line():
    plan = make_plan({"scenario": {"name": "split-digits"}, "strategy": {"name": "naive"}, "train": {"epochs": 1}}, Progress())
    plan.strategy.network = torch.nn.Linear(3, 2)
    probe = Piggyback(PiggybackConfig())
    with pytest.raises(UserError, match="one trunk and a head, which Naive has not"):
        check(probe, plan.strategy)


def test_downstream_sets_are_brought_to_the_networks_shape():
    probe = {"name": "piggyback", **PROBE, "downstream": "generated", "piggybackers": ["fresh-head", "distil", "retain-only"]}
    result = carry_out(make_plan({**ASKED, "probe": probe}, Progress()), None, resume=False, progress=Progress())
    assert set(result.summary["pl_accuracy"]["by_piggybacker"]) == {"fresh-head", "distil"}


@pytest.mark.parametrize("sign", ["run/checkpoint.pt", "cache/probes/*.json"])
def test_killed_in_the_middle_and_resumed_gives_the_same_bits_and_numbers(sign, tmp_path, monkeypatch):
    monkeypatch.setenv("PALIMPSEST_CACHE", str(tmp_path / "other"))
    whole = carry_out(make_plan(ASKED, Progress()), tmp_path / "whole", resume=False, progress=Progress())
    monkeypatch.setenv("PALIMPSEST_CACHE", str(tmp_path / "cache"))
    asked = ["--config", str(tmp_path / "whole" / "config.yaml"), "--out", str(tmp_path / "run"), "--quiet"]
    command = [sys.executable, "-m", "runs.cli", *asked]
    process = subprocess.Popen(command, env={**os.environ})
    while not list(tmp_path.glob(sign)) and process.poll() is None:
        time.sleep(0.005)
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    again = carry_out(make_plan(ASKED, Progress()), tmp_path / "run", resume=True, progress=Progress())
    same_bits(tmp_path / "whole", tmp_path / "run")
    for key in ("pl_accuracy", "unlearning", "disposal"):
        assert json.dumps(again.summary[key]) == json.dumps(whole.summary[key])
    taken = take_up(tmp_path / "run", probe="piggyback")
    assert measure_probe(taken)["pl_accuracy"] == again.summary["pl_accuracy"]


def test_without_disposal_the_source_is_there_more_of_it_with_more_examples_and_more_than_a_network_knows_that_never_saw_it():
    probe = {"per_class": [5, 20, 100], "steps": 60, "rates": [0.1, 0.03], "piggybackers": ["fresh-head"]}
    asked = {"scenario": {"name": "transfer-split-digits"}, "strategy": {"name": "none"}, "network": {"hidden": "64"}, "probe": probe}
    result = carry_out(make_plan({**asked, "train": {"epochs": 10}}, Progress()), None, resume=False, progress=Progress())
    by_size = list(result.summary["pl_accuracy"]["by_size"].values())
    means = [one["mean"] for one in by_size]
    assert all(later >= earlier - 0.01 for earlier, later in zip(means, means[1:]))
    assert by_size[0]["floor"] < by_size[0]["mean"] and by_size[0]["mean"] == pytest.approx(by_size[0]["ceiling"])
    source_before, source_after = result.matrix[0, 0], result.matrix[2, 0]
    assert source_after > source_before - 0.02, "the head refitted to the transferred trunk knows what pre-training knew"
    assert result.summary["unlearning"]["cka_source"] == pytest.approx(1) and "warning" not in result.summary["unlearning"]


def test_with_the_old_head_and_all_of_the_source_a_thief_has_in_a_few_steps_what_the_owner_had():
    probe = {"per_class": None, "percent": [100], "subsets": 1, "steps": 5, "rates": [0.001], "looks": [2]}
    asked = {"scenario": {"name": "transfer-split-digits"}, "strategy": {"name": "none"}, "network": {"hidden": "64"}}
    probe["piggybackers"] = ["kept-head", "kept-head-probe", "fresh-head"]
    result = carry_out(make_plan({**asked, "train": {"epochs": 10}, "probe": probe}, Progress()), None, resume=False, progress=Progress())
    found = result.summary["pl_accuracy"]["by_piggybacker"]
    assert found["kept-head"]["mean"] == pytest.approx(float(result.matrix[2, 0]), abs=0.02)
    assert found["kept-head-probe"]["mean"] == pytest.approx(float(result.matrix[2, 0]), abs=0.02)
    assert found["fresh-head"]["mean"] < 0.8 * found["kept-head"]["mean"] and found["kept-head"]["floor"] < 0.5


def test_a_source_that_was_relearned_instead_of_disposed_of_is_told():
    asked = {**ASKED, "strategy": {"name": "none"}, "probe": {**PROBE, "piggybackers": ["fresh-head"]}}
    plan = make_plan(asked, Progress())
    result = carry_out(plan, None, resume=False, progress=Progress())
    plan.strategy.source_losses = [[0.0, 2.0], [8.0, 0.5]]
    said: list[str] = []
    found = Probing(plan, lambda: False, said.append).measure(result.matrix.tolist())
    assert "fell from 2.00 to 0.50" in found["unlearning"]["warning"] and any(line.startswith("warning:") for line in said)
