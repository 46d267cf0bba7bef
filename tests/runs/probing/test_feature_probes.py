"""The probes of frozen features: what they find, that they leave no trace, that they refuse in one line."""

from __future__ import annotations

import copy

import pytest
import torch

from runs.afterwards import probe as measure_probe
from runs.engine import InterruptedRunError
from runs.plan import make_plan
from runs.probing import cache
from runs.probing.probing import Probing
from runs.run import Run
from runs.showing.progress import Progress
from runs.simulation import carry_out, simulate, take_up
from scenarios.errors import UserError
from strategies.probes.few_shot import FewShot
from tests.strategies.driver import equal

STREAM = {
    "scenario": {"name": "split-digits", "setting": "class", "tasks": 5},
    "strategy": {"name": "naive"},
    "train": {"epochs": 2},
    "network": {"hidden": "16"},
}
SMALL = {"features": {"train_examples": 60, "test_examples": 40, "iterations": 10}, "few-shot": {"episodes": 20, "queries": 5, "steps": 2}}
EPISODES = {
    "scenario": {"name": "digits", "ways": 2},
    "strategy": {"name": "maml"},
    "train": {"iterations": 2},
    "network": {"hidden": "16"},
}


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory):
    # One for all tests here: glyphs are drawn into it once.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PALIMPSEST_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def run(probe, asked=STREAM, out=None, **options):
    full = {**asked, "probe": {"name": probe, **SMALL.get(probe, {}), **options}}
    return carry_out(make_plan(full, Progress()), out, resume=False, progress=Progress())


@pytest.mark.parametrize("probe", ["features", "few-shot"])
@pytest.mark.parametrize("strategy", ["naive", "ewc", "replay", "rescl"])
def test_a_learner_that_is_probed_is_bit_identical_to_one_that_is_not(probe, strategy):
    asked = {**STREAM, "scenario": {"name": "split-digits", "tasks": 2}, "strategy": {"name": strategy}, "train": {"epochs": 1}}
    alone, probed = run("none", asked), run(probe, asked)
    assert cache.weights(alone.strategy.network) == cache.weights(probed.strategy.network)
    assert equal(alone.strategy.state_dict(), probed.strategy.state_dict()) and torch.equal(alone.matrix, probed.matrix)


@pytest.mark.parametrize("probe", ["features", "few-shot"])
def test_measuring_changes_nothing_of_the_strategy_and_depends_on_no_global_generator(probe, monkeypatch):
    monkeypatch.setattr(cache, "read", lambda name: None)
    result = run("none")
    plan = make_plan({**STREAM, "probe": {"name": probe, **SMALL[probe]}}, Progress())
    plan.strategy.load_state_dict(result.strategy.state_dict())
    before, weights = copy.deepcopy(plan.strategy.state_dict()), cache.weights(plan.strategy.network)
    state = torch.get_rng_state()
    Probing(plan, lambda: False, lambda line: None).measure(result.matrix.tolist())
    assert equal(plan.strategy.state_dict(), before) and cache.weights(plan.strategy.network) == weights
    assert torch.equal(torch.get_rng_state(), state)


def test_the_last_experience_has_just_been_learned_and_the_head_beside_it_is_the_matrix():
    found = run("features")
    told = found.summary["feature_probe"]
    assert told["cka"][-1] == pytest.approx(1) and told["linear_probe"][-1] == told["linear_probe_then"][-1]
    assert told["head"] == found.matrix[-1].tolist() and told["head_then"] == found.matrix.diagonal().tolist()
    assert all(value < 1 for value in told["cka"][:-1])
    assert told["past"]["linear_probe"] > told["past"]["head"], "naive forgets in the head of setting class first of all"
    assert told["past"]["cka"] == pytest.approx(sum(told["cka"][:-1]) / 4)


def test_among_all_classes_a_linear_probe_knows_less_than_among_its_own():
    own, together = (run("features", among=among).summary["feature_probe"]["past"] for among in ("own", "all"))
    assert together["linear_probe"] < own["linear_probe"] and together["floor"] < own["floor"]


def test_what_was_seen_after_each_experience_outlives_the_run_and_a_run_without_it_is_held_against_its_initial_weights(tmp_path):
    first = run("features", out=tmp_path / "with")
    run("none", out=tmp_path / "without")
    again = take_up(tmp_path / "with", probe="features")
    assert measure_probe(again) == {"feature_probe": first.summary["feature_probe"]}
    kept = again.plan.probe.state_dict()
    again.plan.probe.load_state_dict({**kept, "options": {**kept["options"], "iterations": 11}})
    assert again.plan.probe.then == {}, "what was measured with other options is not mixed with these"
    later = measure_probe(take_up(tmp_path / "without", probe="features"))["feature_probe"]
    assert "cka" not in later and "linear_probe_then" not in later and len(later["cka_initial"]) == 5


def test_interrupted_and_resumed_gives_what_a_run_without_interruption_gives(tmp_path, monkeypatch):
    whole = run("features", out=tmp_path / "whole")
    plain = Run.test

    def cut(self, learned):
        if learned == 3:
            raise InterruptedRunError
        return plain(self, learned)

    with monkeypatch.context() as patch, pytest.raises(InterruptedRunError):
        patch.setattr(Run, "test", cut)
        run("features", out=tmp_path / "cut")
    plan = make_plan({**STREAM, "probe": {"name": "features", **SMALL["features"]}}, Progress())
    resumed = carry_out(plan, tmp_path / "cut", resume=True, progress=Progress())
    assert resumed.summary["feature_probe"] == whole.summary["feature_probe"]


def test_episodes_are_the_same_for_every_learner_of_a_seed_and_the_floor_is_the_untrained_network():
    plans = [make_plan({**asked, "probe": {"name": "few-shot", **SMALL["few-shot"]}}, Progress()) for asked in (STREAM, EPISODES)]
    probes: list[FewShot] = [plan.probe for plan in plans]
    assert all(torch.equal(one, other) for one, other in zip(probes[0].episodes[:4], probes[1].episodes[:4]))
    assert torch.equal(probes[0].images.storage.images.images, probes[1].images.storage.images.images)
    untrained = Probing(plans[0], lambda: False, lambda line: None).measure([])["few_shot_probe"]
    assert untrained["mean"] == untrained["floor"]["mean"] and untrained["above_floor"] == {"mean": 0, "ci95": 0}
    assert untrained["adapted_head"]["steps"] == 2 and untrained["too_few_episodes"]


@pytest.mark.parametrize("strategy", ["maml", "protonet"])
def test_a_learner_of_episodes_is_asked_by_its_features_with_statistics_of_their_own_where_it_has_none(strategy):
    network = {"name": "conv4", "filters": 4, "downsample": "stride"}
    asked = {**EPISODES, "scenario": {"name": "glyphs"}, "strategy": {"name": strategy}, "network": network}
    told = run("few-shot", asked, scenario="glyphs").summary["few_shot_probe"]
    assert 0.2 < told["mean"] <= 1 and told["floor"]["mean"] > 0.2


@pytest.mark.parametrize(
    ("asked", "probe", "message"),
    [
        (STREAM, {"name": "few-shot", "scenario": "split-digits"}, "probe.scenario=split-digits has no episodes"),
        (STREAM, {"name": "few-shot", "scenario": "digits", "ways": 2}, "is learned in this run"),
        (STREAM, {"name": "few-shot", "ways": 5000}, "probe.scenario=glyphs: .*probe.ways=5000"),
        (STREAM, {"name": "few-shot", "scenario": "glyphz"}, "glyphs"),
    ],
)
def test_what_cannot_be_asked_is_one_line(asked, probe, message):
    with pytest.raises(UserError, match=message) as raised:
        make_plan({**asked, "probe": probe}, Progress())
    assert "\n" not in str(raised.value)


def test_the_probes_are_reached_from_python():
    result = simulate(scenario="split-digits", strategy="naive", train={"epochs": 1}, probe={"name": "features", **SMALL["features"]})
    assert result.summary["feature_probe"]["budget"]["train_examples"] == 60
