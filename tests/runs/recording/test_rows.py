"""What records say of a recipe: verdicts that noise cannot pass, outdated rows with their reason, machines side by side."""

from __future__ import annotations

import math

import pytest

from metrics.statistics import over_seeds
from runs.recording import findings, recipe, rows
from scenarios.errors import UserError
from tests.runs.recording.made_up import DATA, made
from tests.runs.recording.test_recipe import EXAMPLE


def row(records: list, recipe: dict = EXAMPLE, label: str = "one", metric: str = "average_accuracy") -> rows.Row:
    return next(each for each in rows.table(recipe, records, "small") if (each.label, each.metric) == (label, metric))


@pytest.mark.parametrize(
    ("values", "published", "margin", "says"),
    [
        ([0.70, 0.71, 0.69], 0.70, 0.03, "within ± 3 of it"),
        ([0.70, 0.71, 0.69], 0.70, 0.02, "undecided: ± 2.5 with 3 seeds"),
        ([0.40, 0.60, 0.80], 0.60, 0.05, "undecided: ± 49.7 with 3 seeds"),
        ([0.70, 0.71, 0.69], 0.80, 0.05, "outside ± 5: -10.0"),
        ([0.70, 0.71, 0.69], 0.62, 0.06, "undecided: ± 2.5 with 3 seeds"),
        ([0.60], 0.60, 0.05, "undecided: 1 seed"),
        ([0.0, 0.0, 0.0], 0.0, 0.0, "within ± 0 of it"),
        ([0.0, 0.0, 1e-3], 0.0, 0.0, "undecided: ± 0.1 with 3 seeds"),
    ],
)
def test_the_whole_interval_has_to_lie_inside_a_margin_that_is_not_ours(values: list, published: float, margin: float, says: str) -> None:
    assert rows.verdict(over_seeds(values), published, margin) == says


def test_more_noise_never_turns_a_verdict_into_within() -> None:
    base = [0.60, 0.62, 0.61, 0.59, 0.60]
    told = []
    for scale in (1, 3, 10, 30):
        values = [0.604 + scale * (value - 0.604) for value in base]
        told.append(rows.verdict(over_seeds(values), 0.60, 0.03).split()[0].strip(":"))
    assert told == ["within", "undecided", "undecided", "undecided"]


def test_a_row_is_the_mean_over_the_seeds_that_the_recipe_asks_for() -> None:
    one = row([made("one", 3, 0.55), made("one", 4, 0.61, line=2)])
    assert one.spread is not None and one.spread.mean == pytest.approx(0.58) and one.spread.n == one.wanted == 2
    assert (one.paper, one.margin) == (0.5, 0.1)
    assert one.verdict == "undecided: ± 38.1 with 2 seeds"
    two = row([made("one", 3, 0.55)], label="two")
    assert (two.spread, two.verdict, two.wanted) == (None, "no record yet", 2)
    fewer = {**EXAMPLE, "runs": {**EXAMPLE["runs"], "one": {"strategy": "naive", "seeds": 1}}}
    assert row([made("one", 3, 0.55), made("one", 4, 0.61, line=2)], fewer).spread == over_seeds([0.55])


def test_what_has_no_margin_is_not_judged() -> None:
    other = {**EXAMPLE, "expected": [{"run": "one", "metric": "average_accuracy", "value": 0.55}]}
    assert row([made("one", 3, 0.55), made("one", 4, 0.55, line=2)], other).verdict == "another protocol"


def test_a_changed_default_makes_a_row_outdated_and_says_why() -> None:
    old = [made("one", 3, 0.55, config={"train.momentum": 0.5}), made("one", 4, 0.61, line=2, config={"train.momentum": 0.5})]
    one = row(old)
    assert one.verdict.startswith("outdated: train.momentum was 0.5, is ")
    assert one.spread is not None and one.spread.n == 2
    current = row([*old, made("one", 3, 0.70, line=3)])
    assert current.spread == over_seeds([0.70]) and "outdated" not in current.verdict


def test_a_changed_recommendation_makes_a_row_outdated(monkeypatch: pytest.MonkeyPatch) -> None:
    known = [made("one", 3, 0.55)]
    monkeypatch.setattr("scenarios.recommended.for_streams", lambda data: {"network": "mlp", "train.learning_rate": 0.5})
    assert "train.learning_rate was 0.001, is 0.5" in row(known).verdict


def test_a_changed_recipe_makes_a_row_outdated() -> None:
    changed = {**EXAMPLE, "base": {**EXAMPLE["base"], "data": "generated", "train": {"epochs": 7}}}
    assert row([made("one", 3, 0.55)], changed).verdict == "outdated: data was None, is generated; train.epochs was 1, is 7"


def test_an_option_that_did_not_exist_counts_as_its_default_and_one_that_is_gone_does_not() -> None:
    assert "outdated" not in row([made("one", 3, 0.55, config={"train.momentum": None})]).verdict
    assert row([made("two", 3, 0.55, config={"train.epochs": None})], label="two").verdict.startswith("outdated: train.epochs was ")
    assert row([made("one", 3, 0.55, config={"train.warm_restarts": 3})]).verdict == "outdated: train.warm_restarts was 3 and is gone"


def test_other_pixels_of_the_same_data_make_the_older_records_outdated() -> None:
    later = {"data": {**DATA, "fingerprint": "beef"}}
    known = [made("one", 3, 0.10), made("two", 3, 0.2, line=2), made("one", 4, 0.50, line=3, summary=later)]
    assert row(known).spread == over_seeds([0.50])
    assert row(known, label="two").verdict == "outdated: the pixels of digits have changed"


def test_a_record_of_a_version_that_named_no_shape_is_outdated_in_words() -> None:
    known = made("one", 3, 0.10)
    known.summary["data"] = {key: value for key, value in DATA.items() if key != "shape"}
    assert row([known]).verdict.startswith("outdated: the version that made it")


def test_machines_stand_side_by_side_and_count_once_and_the_later_of_one_machine_counts() -> None:
    known = [
        made("one", 3, 0.10, line=1),
        made("one", 3, 0.50, line=2),
        made("one", 3, 0.60, line=3, threads=2),
        made("one", 4, 0.65, line=4),
    ]
    one = row(known)
    assert [record.line for record in one.counted.records] == [2, 3, 4]
    assert one.spread is not None and one.spread.n == 2 and one.spread.mean == pytest.approx(0.60)


def test_what_has_no_current_record_is_missing_seed_by_seed() -> None:
    wanted = recipe.requests(EXAMPLE, "small")
    assert [(label, each["seed"]) for label, each in rows.missing([], wanted, "small")] == [("one", 3), ("two", 3), ("one", 4), ("two", 4)]
    known = [made("one", 3, 0.1), made("two", 3, 0.1, line=2, config={"train.momentum": 0.5})]
    assert [(label, each["seed"]) for label, each in rows.missing(known, wanted, "small")] == [("two", 3), ("one", 4), ("two", 4)]


def test_few_shot_accuracy_also_has_its_interval_over_episodes() -> None:
    metric = "few_shot_accuracy.mean"
    recipe = {**EXAMPLE, "expected": [{"run": "one", "metric": metric, "value": 0.4}]}
    known = [
        made("one", 3, 0.3, summary={"few_shot_accuracy": {"mean": 0.3, "ci95": 0.03}}),
        made("one", 4, 0.4, line=2, summary={"few_shot_accuracy": {"mean": 0.4, "ci95": 0.04}}),
    ]
    one = row(known, recipe, metric=metric)
    assert one.spread is not None and one.spread.mean == pytest.approx(0.35)
    assert one.within == pytest.approx(math.hypot(0.03, 0.04) / 2)


def test_a_label_stands_beside_the_row() -> None:
    runs = {"tapl-1shot": {"strategy": "tapl"}, "l2f": {"strategy": "l2f"}, "both": {"strategy": "l2f+tapl"}}
    shown = [each.shown for each in rows.table({**EXAMPLE, "runs": runs, "expected": []}, [], "small")]
    assert shown == ["tapl-1shot (reference design)", "l2f", "both (reference design)"]


def told(text: str, records: list) -> str | None:
    return findings.told({**EXAMPLE, "finding": {"small": text}}, records, "small")


def test_numbers_of_a_finding_come_from_records() -> None:
    known = [made("one", 3, 0.50), made("one", 4, 0.60, line=2), made("two", 3, 0.60, line=3), made("two", 4, 0.71, line=4)]
    assert told("It has {one average_accuracy} %.", known) == "It has 55.0 %."
    assert told("{one average_accuracy ±}", known) == "55.0 ± 63.5"
    assert told("{two average_accuracy - one average_accuracy ±} points", known) == "+10.5 ± 6.4 points"
    assert told("{two average_accuracy / one average_accuracy} of it, {one seeds} seeds", known) == "1.19 of it, 2 seeds"
    assert told("{one cpu_seconds} s", known) == "90.0 s"
    by_task = [made("one", seed, 0.5, summary={"routing": {"oracle_accuracy": [0.9, value]}}) for seed, value in ((3, 0.7), (4, 0.8))]
    assert told("{one routing.oracle_accuracy.1}, {one routing.oracle_accuracy.0}", by_task) == "75.0, 90.0"
    assert [by_task[0].number(f"routing.{name}") for name in ("oracle_accuracy.2", "oracle_accuracy.x", "oracle_accuracy")] == [None] * 3
    assert told("All is well.", known) == "All is well."


def test_a_finding_without_current_records_is_not_told() -> None:
    known = [made("one", 3, 0.50), made("two", 3, 0.60, line=2, config={"train.momentum": 0.5})]
    assert told("{one average_accuracy}", known) == "50.0"
    assert told("{one average_accuracy} and {two average_accuracy}", known) is None
    assert told("All is well.", known) is None
    assert told("{one average_accuracy}", []) is None


@pytest.mark.parametrize(
    ("text", "message"), [("{three seeds}", "row 'three'"), ("{one}", "no placeholder"), ("{a b c}", "no placeholder")]
)
def test_a_placeholder_that_leads_nowhere_is_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        told(text, [made("one", 3, 0.50)])
    with pytest.raises(UserError, match="no record of the row holds"):
        told("{one averaged_accuracy}", [made("one", 3, 0.50)])
