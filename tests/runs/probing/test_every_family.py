"""Every probe on a learner of every family: it leaves no trace, and says of each experience how much comes back, and how soon."""

from __future__ import annotations

import copy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from runs import plots
from runs.plan import make_plan
from runs.probing import cache
from runs.probing.probing import Probing
from runs.showing.progress import Progress
from runs.simulation import simulate
from scenarios.random import Randomness
from strategies.probes.material import materials
from tests.strategies.driver import equal

STREAM: dict[str, Any] = {
    "scenario": {"name": "split-digits", "tasks": 5, "train_examples": 60},
    "train": {"epochs": 1},
    "network": {"hidden": "12"},
}
DOMAINS: dict[str, Any] = {
    "scenario": {
        "name": "domains-glyphs",
        "size": 8,
        "domain_order": (2, 5, 6),
        "ways": 3,
        "queries": 3,
        "test_queries": 3,
        "test_episodes": 6,
    },
    "train": {"iterations": 3},
    "network": {"name": "mlp", "hidden": "12", "norm": "batch"},
}
FAMILIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "naive": (STREAM, {}),
    "joint": (STREAM, {}),
    "ewc": (STREAM, {}),
    "kfac": (STREAM, {"factor_batches": 1}),
    "lwf": (STREAM, {}),
    "rescl": (STREAM, {}),
    "replay": (STREAM, {"memory": 10}),
    "hnet-cnet": (STREAM, {}),
    "avalanche:Naive": (STREAM, {}),
    "maml": (DOMAINS, {"meta_batch": 2}),
    "cxgrad": (DOMAINS, {"meta_batch": 2}),
    "protonet": (DOMAINS, {"meta_batch": 2, "stream": "joint"}),
    "learn2learn:MAML": (DOMAINS, {"meta_batch": 2}),
    "learn2learn:MetaSGD": (DOMAINS, {"meta_batch": 2}),
}
PROBES: dict[str, dict[str, Any]] = {
    "piggyback": {
        "per_class": (2, 5),
        "steps": 4,
        "looks": (2,),
        "rates": (0.1,),
        "subsets": 2,
        "test_examples": 30,
        "batch_size": 8,
        "piggybackers": ("fresh-head", "linear-probe", "distil", "retain-only"),
    },
    "features": {"train_examples": 40, "test_examples": 30, "iterations": 5},
    "few-shot": {"episodes": 10, "queries": 4, "scenario": "digits", "ways": 2},
}


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    # One for all tests here: anchors are trained once, glyphs are drawn into it once.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PALIMPSEST_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def asked(strategy: str, probe: str) -> dict[str, Any]:
    common, options = FAMILIES[strategy]
    package, colon, _ = strategy.partition(":")
    if colon and find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    other = {"scenario": "glyphs", "ways": 5} if common is STREAM and probe == "few-shot" else {}
    return {**common, "strategy": {"name": strategy, **options}, "probe": {"name": probe, **PROBES[probe], **other}}


@pytest.mark.parametrize("strategy", FAMILIES)
def test_piggyback_steals_every_forgotten_experience_back_and_leaves_no_trace(strategy: str) -> None:
    request = asked(strategy, "piggyback")
    alone, probed = simulate(**{**request, "probe": "none"}), simulate(**request)
    assert equal(alone.strategy.state_dict(), probed.strategy.state_dict())
    assert torch.equal(alone.matrix.nan_to_num(-1), probed.matrix.nan_to_num(-1))
    found = probed.summary["pl_accuracy"]
    past = list(range(len(probed.matrix) - 1))
    assert [each["experience"] for each in found["by_experience"]] == found["experiences"] == past
    for index, each in enumerate(found["by_experience"]):
        assert each["now"] == probed.matrix[-1, index] and each["then"] == probed.matrix[index, index]
        assert len(each["curve"]) == len(each["floor_curve"]) == len(found["looks"]) == 2
        assert each["best"] >= each["mean"] == each["curve"][-1]
    assert found["mean"] == pytest.approx(sum(each["mean"] for each in found["by_experience"]) / len(past))
    heads = {"distil", "retain-only"} & set(found["by_piggybacker"])
    assert bool(heads) is (strategy != "hnet-cnet" and FAMILIES[strategy][0] is STREAM), "another head is needed for these"


@pytest.mark.parametrize("probe", ["features", "few-shot"])
@pytest.mark.parametrize("strategy", ["hnet-cnet", "avalanche:Naive", "maml", "protonet", "learn2learn:MAML"])
def test_features_of_every_kind_of_learner_can_be_asked(strategy: str, probe: str) -> None:
    result = simulate(**asked(strategy, probe))
    if probe == "few-shot":
        assert 0 <= result.summary["few_shot_probe"]["mean"] <= 1
        return
    told = result.summary["feature_probe"]
    assert told["head"] == result.matrix[-1].tolist() and len(told["cka"]) == len(told["linear_probe"]) == len(result.matrix)
    assert told["cka"][-1] == pytest.approx(1) and told["linear_probe"][-1] == told["linear_probe_then"][-1]
    assert ("own_head" in told) is (result.summary["setting"] != "episodic")
    if strategy == "hnet-cnet":
        assert told["cka"] == pytest.approx([1] * 5), "a part of the network never changes again"


def test_what_a_head_has_forgotten_comes_back_in_a_few_steps(tmp_path: Path) -> None:
    probe = {**PROBES["piggyback"], "name": "piggyback", "steps": 40, "looks": (10,), "piggybackers": ("fresh-head",)}
    request = {**STREAM, "scenario": {"name": "split-digits", "setting": "class"}, "train": {"epochs": 5}, "network": {"hidden": "32"}}
    found = simulate(**request, strategy="naive", probe=probe, out=tmp_path / "run").summary["pl_accuracy"]
    assert {"pl_by_size", "pl_by_steps"} <= {path.stem for path in plots.draw(tmp_path / "run")}
    assert found["now"] < 0.2 and found["mean"] > 0.85 and found["ceiling"] > 0.9
    assert all("relearn_steps" in each for each in found["by_experience"])


@pytest.mark.parametrize("strategy", ["ewc", "maml"])
def test_anchors_that_one_training_passes_are_those_of_trainings_of_their_own(strategy: str) -> None:
    request = {**asked(strategy, "piggyback"), "seed": 3}
    request["probe"] = {**request["probe"], "floor": "target-only"}
    one = Probing(make_plan(request, Progress()), lambda: False, lambda line: None)
    first = {about: cache.weights(one.anchor("ceiling", about)) for about in (0, 1)}
    for about, expected in first.items():
        alone = Probing(make_plan(request, Progress()), lambda: False, lambda line: None)
        alone._wanted = {tuple(range(about + 1))}
        assert cache.weights(alone.anchor("ceiling", about)) == expected
    assert cache.weights(one.anchor("floor", 0)) not in first.values()


def test_a_domain_is_stolen_by_the_classes_that_were_trained_on_and_tested_on_other_images_of_them() -> None:
    plan = make_plan(asked("maml", "piggyback"), Progress())
    found = materials(plan.scenario, Randomness(0))
    assert [len(each.outputs) for each in found.values()] == [29, 15, 59]
    met: set[int] = set()
    for each in found.values():
        rows, held = set(each.train.rows.tolist()), set(each.test.rows.tolist())
        assert not rows & held and each.train.targets.unique().tolist() == each.test.targets.unique().tolist() == list(each.outputs)
        assert not met & set(each.outputs) and not (rows | held) & set(plan.scenario.experiences[each.index].test.table.rows.tolist())
        met |= set(each.outputs)
    before = copy.deepcopy(plan.strategy.state_dict())
    Probing(plan, lambda: False, lambda line: None).anchor("ceiling", 0)
    assert equal(plan.strategy.state_dict(), before)
