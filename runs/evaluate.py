"""Testing a learner on a stream: every setting's accuracy from the same logits, in one pass, with one synchronisation."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from metrics.accuracy import correct
from scenarios.experience import Batch, Experience, Scenario
from strategies.base import Strategy


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
    return Evaluation(row, rows, _with_labels(rows, scenario), finite=not any(bad for *_, bad in values))


def _with_labels(rows: list[dict[str, Any]], scenario: Scenario) -> dict[str, float]:
    # Class-incremental tables have a second column: what the same answers are worth among each experience's own outputs.
    known = [row["value"] for row in rows if row["metric"] == "accuracy_task"]
    return {"average_accuracy_task": sum(known) / len(known)} if scenario.setting == "class" and len(known) == len(scenario) else {}


def _correct(strategy: Strategy, scenario: Scenario, experience: Experience, learned: int, batch_size: int, side: str) -> Tensor:
    """Right answers with the task label and without it, and answers that are no finite numbers.

    Args:
        strategy: the learner.
        scenario: the stream.
        experience: the one to test on.
        learned: how many experiences are learned.
        batch_size: examples in one pass.
        side: which part.

    Returns:
        int64 [3].
    """
    examples = getattr(experience, side)
    totals = torch.zeros(3, dtype=torch.int64, device=strategy.setup.device)
    for start in range(0, len(examples), batch_size):
        # Nothing here holds a batch or its answers: their memory is used again for the next, and is in the processor's cache.
        totals += _judged(strategy, scenario, experience, learned, examples.batch(slice(start, start + batch_size)))
    return totals


def _judged(strategy: Strategy, scenario: Scenario, experience: Experience, learned: int, batch: Batch) -> Tensor:
    if scenario.setting == "domain":
        logits = strategy.logits(batch.x)
        right = correct(logits, batch.y)
        return torch.stack([right, right, _bad(logits)])
    seen = range(scenario.experiences[max(learned, 1) - 1].outputs.stop)
    logits = strategy.logits(batch.x, experience.index if strategy.task_dependent else None)
    without = strategy.logits(batch.x) if strategy.task_dependent and not strategy.needs_label else logits
    shown = seen if experience.index < learned else None
    return torch.stack([correct(logits, batch.y, experience.outputs), correct(without, batch.y, shown), _bad(logits)])


def _bad(logits: Tensor) -> Tensor:
    return (~torch.isfinite(logits)).sum()
