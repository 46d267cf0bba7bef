"""Choosing options without cheating: on selection seeds and validation examples; what is chosen runs with other seeds on the test stream.

Candidates are the points of a sweep that combine the same names (scenario, strategy, network, ...) and differ in options. Their score:

    final         average accuracy (or another metric) after the last experience: an oracle, who looks at the whole stream
    first-K       the same after the first K experiences: what somebody could do who has seen so much of the stream
    target-only   accuracy on each experience just after it was learned, on average: never a look at past ones

A learner that only wants to be accurate on the present experience has no reason to keep what it knew. So `target-only` may name its
`stability` option: then, as in the continual hyperparameter framework of De Lange et al. (2022), the greatest value is chosen that costs no
more than `tolerance` of the best accuracy.

A candidate of which a run has failed is not chosen. What the selection cost stands in `selection.json` and in the table's notes.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runs.recording import files
from runs.sweep.space import Point
from runs.sweep.specification import Select
from runs.sweep.trials import Trial
from scenarios.errors import UserError

FILE = "selection.json"
SELECTION, REPORT = "selection/", "report/"
AFTERWARDS = ("test_scenario", "diagnose", "probe")
"""Entries of a request that measure when all is learned: no selection looks at them."""


@dataclass(frozen=True)
class Chosen:
    """What a selection gave.

    Attributes:
        labels: of the points that are reported.
        content: of `selection.json`.
        notes: for the table.
    """

    labels: tuple[str, ...]
    content: dict[str, Any]
    notes: tuple[str, ...]


def groups(points: Sequence[Point]) -> list[list[Point]]:
    """Points among which is chosen.

    Args:
        points: of a sweep.

    Returns:
        Those that combine the same names, together.
    """
    found: dict[str, list[Point]] = defaultdict(list)
    for point in points:
        found[json.dumps(point.names, sort_keys=True)].append(point)
    return list(found.values())


def to_select(point: Point, select: Select) -> Point:
    """What a candidate runs while options are selected.

    Args:
        point: the candidate.
        select: how.

    Returns:
        The same point; its request never leads to the test stream.
    """
    from runs.sweep.components import owner

    request = {name: value for name, value in point.request.items() if name not in AFTERWARDS}
    scenario = request["scenario"]
    if owner("scenario.validation_share", scenario["name"]) is not None and not scenario.get("validation_share"):
        request["scenario"] = {**scenario, "validation_share": select.validation_share}
    return Point(point.label, {**request, "selection": select.protocol}, point.names, point.values)


def choose(trials: Sequence[Trial], done: Mapping[str, Path], points: Sequence[Point], select: Select) -> Chosen:
    """Choose among candidates by what their selection runs gave.

    Args:
        trials: the selection runs.
        done: those that are over, by name, each with its directory.
        points: all points of the sweep.
        select: how.

    Returns:
        The points that are reported, what was compared, and what it cost.

    Raises:
        UserError: no candidate of a group has finished.
    """
    scores, cost = scored(trials, done, select)
    told, labels, words = [], [], []
    for group in groups(points):
        whole = {point.label: scores[point.label] for point in group if len(scores[point.label]) == len(select.selection_seeds)}
        if len(group) > 1 and not whole:
            raise UserError(f"every candidate of {group[0].names['strategy']} failed while options were selected; failures.json says why")
        means = {label: sum(each.values()) / len(each) for label, each in whole.items()}
        winner = group[0] if len(group) == 1 else _winner([point for point in group if point.label in means], means, select)
        labels.append(winner.label)
        if len(group) > 1:
            values = ", ".join(f"{path}={value}" for path, value in winner.values.items())
            words.append(f"{winner.names['strategy']} on {winner.names['scenario']}: {values} of {len(group)} candidates")
        told.append(_told(group, whole, winner))
    runs = sum(trial.name in done for trial in trials)
    content = {
        "protocol": select.protocol,
        "metric": _metric(select),
        "selection_seeds": list(select.selection_seeds),
        "report_seeds": list(select.report_seeds),
        "selected_on": "validation examples",
        "cost": {"runs": runs, "seconds": cost},
        "groups": told,
    }
    seeds = "seeds " + ", ".join(map(str, select.selection_seeds))
    note = f"Options were selected by protocol {select.protocol} on {seeds} and validation examples, in {runs} runs of {cost:.1f} s in all."
    chosen = (f"Chosen: {'; '.join(words)}.",) if words else ()
    return Chosen(tuple(labels), content, (note, *chosen))


def scored(trials: Sequence[Trial], done: Mapping[str, Path], select: Select) -> tuple[dict[str, dict[int, float]], float]:
    """How good selection runs are.

    Args:
        trials: the runs.
        done: those that are over, by name, each with its directory.
        select: how options are chosen.

    Returns:
        For each point's label seed to score, and the seconds that the runs took.
    """
    scores: dict[str, dict[int, float]] = defaultdict(dict)
    cost = 0.0
    for trial in trials:
        if trial.name in done:
            summary = json.loads((done[trial.name] / "summary.json").read_text(encoding="utf-8"))
            scores[trial.point.label][trial.seed] = score(summary, select)
            cost += summary["wall_seconds"]
    return scores, cost


def score(summary: Mapping[str, Any], select: Select) -> float:
    """How good a selection run is.

    Args:
        summary: of the run.
        select: how options are chosen.

    Returns:
        The score; more is better.

    Raises:
        UserError: the run has no such number.
    """
    if select.protocol == "target-only":
        matrix = summary["accuracy_matrix"]
        just_learned = [row[index] for index, row in enumerate(matrix)]
        if not just_learned or any(value is None for value in just_learned):
            raise UserError("target-only needs accuracies just after each experience, which these runs do not have; choose protocol final")
        return sum(just_learned) / len(just_learned)
    at: Any = summary
    name = select.metric or ("few_shot_accuracy.mean" if "few_shot_accuracy" in summary else "average_accuracy")
    for part in name.split("."):
        at = at.get(part) if isinstance(at, Mapping) else None
    if not isinstance(at, (int, float)):
        raise UserError(f"the runs have no number {name} to select by; name another in select.metric")
    return float(at)


def _metric(select: Select) -> str:
    if select.protocol == "target-only":
        return "accuracy on each experience just after it was learned"
    return select.metric or "average accuracy; few-shot accuracy where there are episodes"


def _winner(candidates: Sequence[Point], means: Mapping[str, float], select: Select) -> Point:
    best = max(means.values())
    path = select.stability
    if path is None:
        return max(candidates, key=lambda point: means[point.label])
    if any(path not in point.values for point in candidates):
        raise UserError(f"select.stability is {path}, which {candidates[0].names['strategy']} does not vary; vary it, or leave it out")
    near = [point for point in candidates if means[point.label] >= (1 - select.tolerance) * best]
    return max(near, key=lambda point: (point.values[path], means[point.label]))


def _told(group: Sequence[Point], whole: Mapping[str, Mapping[int, float]], winner: Point) -> dict[str, Any]:
    # NumPy, which the first run need not wait for.
    from metrics.statistics import over_seeds

    candidates = []
    for point in group:
        entry: dict[str, Any] = {"label": point.label, "values": point.values}
        if point.label in whole:
            spread = over_seeds(list(whole[point.label].values()))
            scores = {str(seed): value for seed, value in whole[point.label].items()}
            entry |= {"scores": scores, "mean": spread.mean, "sd": spread.sd}
        elif len(group) > 1:
            entry["failed"] = True
        candidates.append(entry)
    return {"names": winner.names, "winner": winner.label, "candidates": candidates}


def write(chosen: Chosen, folder: Path) -> None:
    """Write down what was compared and chosen.

    Args:
        chosen: the outcome of a selection.
        folder: the sweep's.
    """
    files.write_json(folder / FILE, chosen.content)
