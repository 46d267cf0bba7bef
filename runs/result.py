"""What a run gave: its summary, its accuracy matrix and its learner."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from metrics import continual, resources
from scenarios.episodes.episodic import EpisodicScenario
from scenarios.experience import Scenario
from strategies.base import Strategy
from strategies.registry import strategies

if TYPE_CHECKING:
    from runs.run import Run


@dataclass(frozen=True)
class RunResult:
    """What a run gave.

    Attributes:
        summary: the content of `summary.json`.
        names: the experiences' names.
        initial: accuracy on each experience before any learning; nan where it cannot be asked.
        matrix: accuracy on experience j (column) after learning experience i (row); nan where it cannot be asked.
        strategy: the learner, ready to predict.
        scenario: the stream that it learned.
        directory: where the run lies; None if it was not written.
    """

    summary: dict[str, Any]
    names: list[str]
    initial: torch.Tensor
    matrix: torch.Tensor
    strategy: Strategy
    scenario: Scenario
    directory: Path | None

    def __repr__(self) -> str:
        summary = self.summary
        few = summary.get("few_shot_accuracy")
        found = {"average accuracy": summary.get("average_accuracy"), "forgetting": summary.get("average_forgetting")}
        numbers = [f"{name} {100 * value:.2f} %" for name, value in found.items() if value is not None]
        if few:
            numbers = [f"few-shot accuracy {100 * few['mean']:.2f} ± {100 * few['ci95']:.2f} % over {few['episodes']} episodes"]
        where = f"\n  in {self.directory}" if self.directory else ""
        return (
            f"RunResult: {summary['strategy']} on {summary['scenario']}, setting {summary['setting']}, seed {summary['seed']} "
            f"({summary['data']['origin']} data)\n  {', '.join(numbers)}; {summary['wall_seconds']:.1f} s{where}"
        )


def put_together(run: Run, directory: Path | None) -> RunResult:
    """Put the result of a run together.

    Args:
        run: as far as it came.
        directory: where it lies.

    Returns:
        The result; without averages where experiences are still to be learned.
    """
    plan = run.plan
    width = len(plan.scenario)
    initial = torch.tensor(run.initial or [math.nan] * width, dtype=torch.float64)
    matrix = torch.tensor(run.matrix, dtype=torch.float64).reshape(len(run.matrix), width)
    done = len(run.matrix) == width
    learned = plan.scenario.experiences[: len(run.matrix)]
    remarks = [f"experience {each.index}: {line}" for each in learned for line in plan.strategy.remarks(each)]
    summary = {
        "scenario": plan.scenario.name,
        "strategy": plan.resolved["strategy"]["name"],
        "setting": plan.scenario.setting,
        "seed": plan.resolved["seed"],
        "data": plan.scenario.data,
        "network": plan.resolved["network"]["name"],
        "precision": plan.train.precision,
        **(continual.summarise(matrix, initial, _test_sizes(plan.scenario)) if done else {}),
        "accuracy_matrix": run.matrix,
        "initial_accuracy": run.initial,
        "experiences": [experience.name for experience in plan.scenario.experiences],
        **run.extra,
        **({"label": label} if (label := strategies.label(plan.resolved["strategy"]["name"])) else {}),
        **plan.strategy.report(),
        **({"started_from": plan.started_from} if plan.started_from else {}),
        **({"warnings": remarks} if remarks else {}),
        **(run.contest.report(matrix, run.controls) if run.contest else {}),
        "wall_seconds": run.wall_seconds(),
        "cpu_seconds": run.cpu_seconds(),
        "start_seconds": run.start_seconds,
        "train_seconds": run.engine.train_seconds,
        "phase_seconds": run.engine.phase_seconds,
        "evaluate_seconds": run.seconds["evaluate"],
        "peak_memory_bytes": resources.peak_memory_bytes(plan.device),
        "parameters": resources.parameter_count(plan.strategy.network.parameters()),
    }
    if run.measured:
        summary["metrics"] = run.measured
    return RunResult(summary, summary["experiences"], initial, matrix, plan.strategy, plan.scenario, directory)


def _test_sizes(scenario: Scenario) -> list[int] | None:
    # A stream of episodes tests on as many of each domain as are wanted, and some streams have experiences without a test.
    return None if isinstance(scenario, EpisodicScenario) else [len(each.test) for each in scenario.experiences]
