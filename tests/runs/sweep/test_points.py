"""What varies, expanded: which comma separates values, which options apply to whom, stable names, and searches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import pytest

from runs import config
from runs.sweep import specification
from runs.sweep.space import draw, expand, label
from runs.sweep.specification import Search, Sweep, from_command
from runs.sweep.values import Range
from scenarios.errors import UserError

BASE: dict[str, Any] = {"scenario": {"name": "split-digits"}, "strategy": {"name": "ewc"}}


def commanded(*settings: str, strategy: str = "ewc", seeds: int | None = None) -> Sweep:
    given = config.from_settings(settings)
    return from_command(config.merge({"scenario": {"name": "split-digits"}, "strategy": {"name": strategy}}, given), given, seeds)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("strategy.strength=1e-5,1e-4", ("1e-5", "1e-4")),
        ("strategy.strength=1e-5;1e-4;", ("1e-5", "1e-4")),
        ("network.hidden=100,100", None),
        ("network.hidden=100,100;400,400", ("100,100", "400,400")),
        ("train.schedule_milestones=0.5,0.75", None),
        ("train.optimizer_options.betas=0.9,0.99", None),
        ("train.optimizer=sgd,adam", ("sgd", "adam")),
        ("train.epochs=3,3", ("3",)),
        ("train.epochs=3", None),
    ],
)
def test_a_comma_belongs_to_the_value_where_the_value_is_a_list(text: str, values: tuple[str, ...] | None) -> None:
    sweep, path = commanded(text), text.partition("=")[0]
    assert sweep.vary[0].get(path) == values
    section, _, name = path.partition(".")
    if values is None:
        assert name in sweep.base[section]


def test_names_vary_and_a_place_with_a_comma_is_one_name() -> None:
    assert commanded(strategy="naive,ewc").vary == ({"strategy": ("naive", "ewc")},)
    request = {"scenario": {"name": "split-npz:/a,b.npz"}, "strategy": {"name": "naive"}}
    assert from_command(request, {}, None).vary == ({},)


def test_an_option_applies_to_those_that_have_it_and_the_others_run_once() -> None:
    points, notes = expand(commanded("strategy.strength=1,10", strategy="naive,ewc"))
    assert [point.label for point in points] == [
        "split-digits_naive",
        "split-digits_ewc_strategy.strength=1",
        "split-digits_ewc_strategy.strength=10",
    ]
    assert points[1].request["strategy"] == {"name": "ewc", "strength": 1.0} and points[0].request["strategy"] == {"name": "naive"}
    assert notes == ["strategy.strength is no option of naive: left out there"]
    alone, _ = expand(commanded("strategy.strength=5", strategy="naive,ewc"))
    assert [point.request["strategy"].get("strength") for point in alone] == [None, "5"]


def test_an_option_that_nobody_has_stays_and_is_refused_later() -> None:
    points, notes = expand(commanded("strategy.strenth=1,10", strategy="naive,ewc"))
    assert not notes and all("strenth" in point.request["strategy"] for point in points)


def test_a_name_depends_on_what_its_own_point_varies_alone() -> None:
    few, _ = expand(commanded("train.epochs=1,2", "strategy.strength=1,10"))
    many, _ = expand(commanded("strategy.strength=0.5,1,10", "train.epochs=1,2,3"))
    assert {point.label for point in few} < {point.label for point in many}
    names = {"scenario": "split-npz:/a b.npz", "strategy": "ewc"}
    assert label(names, {"strategy.strength": 1}) != label({**names, "scenario": "split-npz:/a?b.npz"}, {"strategy.strength": 1})
    assert len(label(names, {f"strategy.{letter}": 0.1 for letter in "abcdefghijkl"})) < 120


def test_a_value_of_the_wrong_kind_is_refused() -> None:
    with pytest.raises(UserError, match="strategy.strength must be a number, not 'much'"):
        expand(commanded("strategy.strength=1,much"))


def test_a_search_draws_the_same_points_again_inside_their_ranges() -> None:
    vary = {"strategy": ("naive", "ewc"), "strategy.strength": Range(low=1e-3, high=10.0, log=True), "train.epochs": (1, 2)}
    for method in ("random", "sobol"):
        sweep = Sweep(base={"scenario": {"name": "split-digits"}}, vary=(vary,), search=Search(method=method, samples=6))
        points, _ = expand(sweep)
        strengths = [point.values["strategy.strength"] for point in points if "strategy.strength" in point.values]
        assert len(strengths) == 6 and all(1e-3 <= value <= 10 for value in strengths)
        assert sum(point.names["strategy"] == "naive" for point in points) == 2
        assert [point.label for point in points] == [point.label for point in expand(sweep)[0]]
    with pytest.raises(UserError, match="has a range, from which a grid takes no values"):
        expand(Sweep(base=BASE, vary=({"strategy.strength": Range(low=1, high=2)},)))


def test_a_sobol_sequence_fills_every_half_and_quarter() -> None:
    shares = numpy.array(draw(Search(method="sobol", samples=16), 3))
    for dimension in range(3):
        assert numpy.bincount((shares[:, dimension] * 4).astype(int), minlength=4).tolist() == [4, 4, 4, 4]


def test_ranges_reach_their_ends() -> None:
    whole, log = Range(low=1, high=4, whole=True), Range(low=1e-4, high=0.1, log=True)
    assert {whole.at(i / 100) for i in range(100)} == {1, 2, 3, 4}
    assert (log.at(0), log.at(1)) == (1e-4, 0.1)


def test_a_file_says_the_same_as_a_command(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(
        "base: {scenario: split-digits, network: {name: mlp}}\n"
        "vary:\n  - {strategy: [naive, joint]}\n  - {strategy: ewc, strategy.strength: [1e-1, 10], network.hidden: [[8], [8, 8]]}\n"
        "seeds: [3, 5]\n"
    )
    sweep = specification.read(file)
    points, notes = expand(sweep)
    assert sweep.seeds == (3, 5) and len(points) == 6 and not notes
    assert points[-1].label == "split-digits_ewc_network.hidden=8,8_strategy.strength=10"
    sweep.write(tmp_path / "again")
    assert [point.label for point in expand(specification.read(tmp_path / "again" / "sweep.yaml"))[0]] == [point.label for point in points]
    file.write_text("base: {scenario: split-digits, strategy: naive}\nvary: {network.hidden: [8, 8]}\n")
    assert [point.values for point in expand(specification.read(file))[0]] == [{"network.hidden": (8, 8)}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "there is nothing in it"),
        ("vray: {}", "unknown entry 'vray'; did you mean vary"),
        ("vary: {strategy.strength: []}", "strategy.strength has no values"),
        ("vary: {epochs: [1]}", "cannot vary 'epochs'"),
        ("vary: {strategy: [1]}", "strategy varies over names"),
        ("vary: {strategy.strength: {low: 2, high: 1}}", "varies over a list, or over a range"),
        ("vary: {strategy.strength: {low: 0, high: 1, log: true}}", "low must be above 0"),
        ("search: {method: best}", "search.method must be one of grid, random, sobol"),
        ("search: {method: sobol}", "needs search.samples"),
        ("search: {samples: 3}", "search.samples is of random, sobol and optuna"),
        ("seeds: 0", "must be at least one"),
        ("seeds: [a]", "must be whole numbers from 0"),
    ],
)
def test_a_mistake_in_a_file_is_one_line(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(content + "\n" + ("base: {scenario: split-digits, strategy: ewc}\n" if "[1]" != content else ""))
    with pytest.raises(UserError, match=message.replace("(", "\\(")):
        specification.read(tmp_path / "sweep.yaml")
