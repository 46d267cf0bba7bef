"""Recipes resolve into requests that run."""

from __future__ import annotations

import pytest

from runs.config import named
from runs.recording import recipe
from scenarios.errors import UserError
from scenarios.options import build
from scenarios.scenario_registry import scenarios
from strategies.networks.registry import networks
from strategies.phase import TrainConfig
from strategies.registry import strategies


@pytest.mark.parametrize("name", recipe.names())
def test_every_run_of_every_recipe_is_made_of_options_that_exist(name: str) -> None:
    content = recipe.read(name)
    for scale in content["scales"]:
        for label, seeds in recipe.requests(content, scale).items():
            for request in seeds[:1]:
                for section, registry in (("scenario", scenarios), ("strategy", strategies), ("network", networks)):
                    if section == "network" and "network" not in request:
                        continue
                    component, options = named(request, section)
                    assert registry.canonical(component) == component, "an alias; configurations hold the name itself"
                    build(registry.load(component)[0].Config, options, f"{name}/{label}/{section}")
                build(TrainConfig, request.get("train", {}), "train")
        expected = content["scales"][scale].get("expected", content.get("expected", ()))
        assert {entry["run"] for entry in expected} <= set(recipe.requests(content, scale))
        assert {key for entry in expected for key in entry} <= {"run", "metric", "value", "source", "margin"}


EXAMPLE = {
    "title": "an example",
    "paper": "nobody",
    "base": {"scenario": "split-digits", "train": {"epochs": 1}},
    "scales": {
        "small": {"seeds": 2, "first_seed": 3, "minutes": 1, "train": {"batch_size": 8}},
        "long": {"runs": {"three": {"strategy": "naive", "train": {"epochs": 9}}}},
    },
    "runs": {"one": {"strategy": "naive"}, "two": {"strategy": {"name": "joint"}, "train": {"epochs": 2}}},
    "expected": [{"run": "one", "metric": "average_accuracy", "value": 0.5, "source": "table 1", "margin": 0.1}],
}


def test_runs_lie_on_top_of_the_scale_and_the_scale_on_top_of_the_base() -> None:
    wanted = recipe.requests(EXAMPLE, "small")
    assert [request["seed"] for request in wanted["one"]] == [3, 4]
    assert wanted["one"][0]["train"] == {"epochs": 1, "batch_size": 8}
    assert wanted["two"][0]["train"] == {"epochs": 2, "batch_size": 8}
    assert wanted["two"][0]["strategy"] == {"name": "joint"}
    assert list(recipe.requests(EXAMPLE, "long")) == ["one", "two", "three"]
    with pytest.raises(UserError, match="no scale 'papper'"):
        recipe.requests(EXAMPLE, "papper")


def test_a_run_may_have_seeds_of_its_own_and_rows_can_be_chosen() -> None:
    own = {**EXAMPLE, "runs": {**EXAMPLE["runs"], "one": {"strategy": "naive", "seeds": 4, "first_seed": 0}}}
    wanted = recipe.requests(own, "small")
    assert [request["seed"] for request in wanted["one"]] == [0, 1, 2, 3]
    assert [request["seed"] for request in wanted["two"]] == [3, 4]
    assert "seeds" not in wanted["one"][0]
    assert list(recipe.rows(own, "small", "two")) == ["two"] and list(recipe.rows(own, "small", None)) == ["one", "two"]
    with pytest.raises(UserError, match="no row 'tow'; did you mean two"):
        recipe.rows(own, "small", "one,tow")
