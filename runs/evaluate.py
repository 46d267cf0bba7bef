"""Testing a learner on a stream: every setting's accuracy from the same logits, in one pass, with one synchronisation."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from metrics.accuracy import correct
from scenarios.experience import Experience, Scenario
from strategies.base import Strategy

HELD = 2**20
"""Numbers in answers that wait until they are judged together."""


@dataclass(frozen=True)
class Evaluation:
    """How a learner stands after some experiences.

    Attributes:
        row: accuracy on each experience in the run's setting; nan where it cannot be asked.
        rows: further measurements, `{"metric", "value", "on_experience"}`.
        summary: what belongs into the summary if this is the last evaluation.
        finite: whether all answers were finite numbers.
    """

    row: list[float]
    rows: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    finite: bool = True


def evaluate(
    strategy: Strategy,
    scenario: Scenario,
    learned: int,
    *,
    batch_size: int,
    side: Literal["test", "validation"] = "test",
    only_seen: bool = False,
    precision: str = "float32",
) -> Evaluation:
    """Test on every experience of a stream.

    Args:
        strategy: the learner.
        scenario: the stream, its batches made on the learner's device.
        learned: how many experiences it has learned.
        batch_size: examples in one pass of the network.
        side: which part of each experience.
        only_seen: leave out experiences that it has not learned (all of them are left in before any learning).
        precision: float32 or bf16 (autocast).

    Returns:
        Accuracy in the run's setting; and, where outputs belong to experiences, with and without the task label under names of their own.
    """
    asked = [
        experience
        for experience in scenario.experiences
        if len(getattr(experience, side)) and (not only_seen or not learned or experience.index < learned)
    ]
    counts = []
    device = strategy.setup.device
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        for experience in asked:
            counts.append(_correct(strategy, scenario, experience, learned, batch_size, side))
    values = torch.stack(counts).tolist() if counts else []
    row, rows = [math.nan] * len(scenario), []
    names = ("task", "class") if scenario.setting != "domain" else ("domain", "domain")
    for experience, (*both, _) in zip(asked, values):
        total = len(getattr(experience, side))
        answers = strategy.answers(experience.index)
        known = {names[0]: answers, names[1]: answers}
        if names[1] == "class":
            known["class"] = answers and experience.index < learned and not strategy.needs_label
        for name, value in dict(zip(names, both)).items():
            if known[name]:
                rows.append({"metric": f"accuracy_{name}", "value": value / total, "on_experience": experience.index})
                if name == scenario.setting:
                    row[experience.index] = value / total
    return Evaluation(row, rows, _with_labels(rows, scenario), finite=all(math.isfinite(total) for *_, total in values))


def _with_labels(rows: list[dict[str, Any]], scenario: Scenario) -> dict[str, float]:
    # Class-incremental tables have a second column: what the same answers are worth among each experience's own outputs.
    known = [row["value"] for row in rows if row["metric"] == "accuracy_task"]
    return {"average_accuracy_task": sum(known) / len(known)} if scenario.setting == "class" and len(known) == len(scenario) else {}


def _correct(strategy: Strategy, scenario: Scenario, experience: Experience, learned: int, batch_size: int, side: str) -> Tensor:
    """Right answers with the task label and without it, and the sum of all answers.

    Args:
        strategy: the learner.
        scenario: the stream.
        experience: the one to test on.
        learned: how many experiences are learned.
        batch_size: examples in one pass.
        side: which part.

    Returns:
        float64 [3], of which the first two count and the last is finite where all answers are.
    """
    examples = getattr(experience, side)
    totals = torch.zeros(3, dtype=torch.float64, device=strategy.setup.device)
    waiting: list[tuple[Tensor, ...]] = []
    judged = 0
    for start in range(0, len(examples), batch_size):
        stop = min(start + batch_size, len(examples))
        # Nothing here holds a batch: its memory is used again for the next, and is in the processor's cache.
        waiting.append(_answers(strategy, scenario, experience, examples.batch(slice(start, stop)).x))
        if stop == len(examples) or (stop - judged) * waiting[0][0].shape[1] > HELD:
            answers = [torch.cat(each) for each in zip(*waiting)]
            totals += _judged(scenario, experience, learned, answers, examples.targets[judged:stop])
            waiting, judged = [], stop
    return totals


def _answers(strategy: Strategy, scenario: Scenario, experience: Experience, x: Tensor) -> tuple[Tensor, ...]:
    # With the task label and, where it may answer otherwise, without it.
    if scenario.setting == "domain" or not strategy.task_dependent:
        return (strategy.logits(x),)
    known = strategy.logits(x, experience.index)
    return (known,) if strategy.needs_label else (known, strategy.logits(x))


def _judged(scenario: Scenario, experience: Experience, learned: int, answers: list[Tensor], targets: Tensor) -> Tensor:
    known, unknown = answers[0], answers[-1]
    # A sum that holds a NaN or an infinity is not finite itself, and in double precision finite single ones do not add up to one.
    finite = known.sum(dtype=torch.float64)
    if scenario.setting == "domain":
        right = correct(known, targets).double()
        return torch.stack([right, right, finite])
    seen = range(scenario.experiences[max(learned, 1) - 1].outputs.stop)
    shown = seen if experience.index < learned else None
    return torch.stack([correct(known, targets, experience.outputs).double(), correct(unknown, targets, shown).double(), finite])
