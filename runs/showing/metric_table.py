"""The page that says of every metric on every strategy how it is had, or why it is not.

`python -m runs.showing.metric_table docs/metrics-by-strategy.md` writes it, from the registries and from what components say of themselves:
the settings that they work in, whether their network computes otherwise by experience, whether they adapt in steps, whether they need a
transfer.
"""

from __future__ import annotations

import sys
import typing
from pathlib import Path
from typing import Any

from metrics.registry import metrics
from runs import measures
from runs.showing.overview import family
from scenarios.registry import Registry, Row

HEAD = """# Every metric on every strategy

How a metric is had: *always* (in the summary of every such run), *asked* (`--set evaluate.metrics=NAME`, or `simulate evaluate RUN
--metrics NAME`), or with what is named. Where it is not had, the cell says why. `simulate list metrics NAME` has each definition. This page
is written by `python -m runs.showing.metric_table docs/metrics-by-strategy.md`; strategies that answer alike share a column.

"""
KINDS = {
    "streams": "learners of streams",
    "Avalanche": "learners of streams that Avalanche trains, or has a part in",
    "by experience": "learners of streams whose network computes otherwise by experience",
    "disposal": "disposals, on a transfer",
    "steps": "learners of episodes that adapt in steps",
    "embedding": "learners of episodes that do not",
}
"""What strategies are told apart by, in the order of the columns."""
REASONS = {
    measures.STREAM: "no: an episode's classes are its own",
    measures.ATTACK: "no: an adversary alters support sets there (`attack` in the summary)",
    measures.DEFENCE: "no: defences stand before streams",
    measures.EPISODES: "no: it meets no episodes; `--probe few-shot`",
}
"""Why a metric is not had where its setting is not."""
OF_A_METRIC = {
    "intransigence": "no: joint training is `strategy.stream=joint` there",
    "average_incremental_accuracy": "no: it weighs by test images, and a domain has episodes",
}
"""The same, where the metric has a reason of its own."""

OVER_ALL = ("average_accuracy", "average_incremental_accuracy", "learning_accuracy", "forward_transfer")
"""Metrics that need a test of every experience."""


def kind(row: Row, component: Any) -> str:
    """What decides about a strategy's metrics.

    Args:
        row: of the registry.
        component: its class.

    Returns:
        A key of `KINDS`.
    """
    if family(row.place) == "disposal":
        return "disposal"
    if component.settings == {"episodic"}:
        return "steps" if hasattr(component, "inner_steps") or family(row.place) == "bridges" else "embedding"
    if component.foreign:
        return "Avalanche"
    network = typing.get_type_hints(component).get("network")
    return "by experience" if hasattr(network, "part") else "streams"


def cell(metric: str, of: str) -> str:
    """How strategies of a kind have a metric.

    Args:
        metric: its name.
        of: a key of `KINDS`.

    Returns:
        A few words.
    """
    measure = measures.measure(metric)
    episodic = of in ("steps", "embedding")
    if ("episodic" if episodic else "task") not in measures.settings(measure.needs):
        return OF_A_METRIC.get(metric) or REASONS[measure.needs]
    if of == "Avalanche" and measure.needs in (measures.ATTACK, measures.DEFENCE):
        return "no: it reads the stream as it was made"
    if of == "Avalanche" and metric == "state_bytes":
        return "no: what it keeps is in no state of ours"
    if metric in OVER_ALL and of == "disposal":
        return "no: the step that disposes has no test of its own (`unlearning` in the summary)"
    if metric == "forward_transfer" and of == "by experience":
        return "no: it has no answer to an experience that it has not met"
    if metric == "few_shot_accuracy_per_step" and of == "embedding":
        return "no: it adapts in no steps"
    if measure.needs == measures.PIGGYBACK and of == "disposal":
        return "always"
    if measure.needs.startswith("--"):
        return f"`{measure.needs}`"
    several = " (several domains)" if episodic and measure.needs == measures.SEVERAL else ""
    return ("always" if measure.stored else "asked") + several


def markdown(strategies: Registry) -> str:
    """The page.

    Args:
        strategies: the registry.

    Returns:
        Markdown.
    """
    members: dict[str, list[str]] = {name: [] for name in KINDS}
    for row in strategies.rows.values():
        members[kind(row, strategies.component(row))].append(f"`{row.name}`")
    lines = [f"- *{name}*: {KINDS[name]}: {', '.join(several)}" for name, several in members.items()]
    lines += ["", f"| metric | {' | '.join(KINDS)} |", "|---" * (len(KINDS) + 1) + "|"]
    lines += [f"| `{metric}` | {' | '.join(cell(metric, name) for name in KINDS)} |" for metric in metrics.names()]
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    from strategies.registry import strategies

    Path(sys.argv[1]).write_text(markdown(strategies), encoding="utf-8")
