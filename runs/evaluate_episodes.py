"""Testing a learner of episodes: few-shot accuracy of each domain with an interval over episodes, after every adaptation step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from metrics.fewshot import over_episodes, per_step, pooled_binomial_ci95
from runs.evaluate import Evaluation
from scenarios.episodes import EpisodeBatch, EpisodeStream
from scenarios.episodic import EpisodicScenario

SHOWN = 100
"""Test episodes whose diagnostics are kept for plots."""


def evaluate_episodes(strategy: Any, scenario: EpisodicScenario, *, batch_size: int, side: str = "test") -> Evaluation:
    """Test on the episodes of every domain.

    Args:
        strategy: anything with `episode_logits(batch, steps)`.
        scenario: the domains, their batches made on the learner's device.
        batch_size: images in one pass of the network.
        side: validation or test.

    Returns:
        Mean few-shot accuracy of each domain; the last domain's with its interval in the summary.
    """
    row: list[float] = []
    rows: list[dict[str, Any]] = []
    summary: dict[str, Any] = {}
    for experience in scenario.experiences:
        stream: EpisodeStream = getattr(experience, side)
        accuracies, queries = episode_accuracies(strategy, stream, scenario.test_episodes, batch_size)
        result = over_episodes(accuracies[-1])
        spec = stream.spec
        summary = {
            "mean": result.mean,
            "ci95": result.ci95,
            "episodes": result.episodes,
            "ways": spec.ways,
            "shots": spec.shots,
            "queries": spec.queries,
            "pooled_binomial_ci95": pooled_binomial_ci95(result.mean, queries),
        }
        if not result.enough:
            summary["too_few_episodes"] = True
        if len(accuracies) > 1:
            means, halves = per_step(accuracies.T)
            summary |= {"before_adaptation": float(means[0]), "per_step": means.tolist(), "per_step_ci95": halves.tolist()}
        row.append(result.mean)
        measured = {"few_shot_accuracy": result.mean, "few_shot_ci95": result.ci95}
        rows += [{"metric": name, "value": value, "on_experience": experience.index} for name, value in measured.items()]
    return Evaluation(row, rows, {"few_shot_accuracy": summary})


def episode_accuracies(strategy: Any, stream: EpisodeStream, episodes: int, batch_size: int) -> tuple[Tensor, int]:
    """Accuracy of each episode, after each number of adaptation steps.

    Args:
        strategy: anything with `episode_logits(batch, steps)`.
        stream: where episodes 0, 1, ... come from.
        episodes: how many.
        batch_size: images in one pass of the network.

    Returns:
        float64 [T + 1, E] (one row for a learner without steps) on the CPU, and the number of queries in all.
    """
    spec = stream.spec
    images = spec.ways * (spec.shots + spec.queries + spec.unlabelled) + spec.distractors * spec.unlabelled
    chunk = max(1, batch_size // images)
    parts, queries = [], []
    for first in range(0, episodes, chunk):
        batch = stream.batch(first, min(chunk, episodes - first))
        logits = strategy.episode_logits(batch, steps=True)
        parts.append(_accuracy(logits if logits.dim() == 4 else logits[None], batch))
        queries.append(batch.query_y.numel() if batch.query_mask is None else batch.query_mask.sum())
    return torch.cat(parts, 1).cpu(), int(sum(queries))


def _accuracy(logits: Tensor, batch: EpisodeBatch) -> Tensor:
    right = (logits.argmax(-1) == batch.query_y).double()
    if batch.query_mask is None:
        return right.mean(-1)
    return (right * batch.query_mask).sum(-1) / batch.query_mask.sum(-1)


def diagnostics(strategy: Any, scenario: EpisodicScenario) -> dict[str, Tensor]:
    """What a method did inside test episodes of the last domain.

    Args:
        strategy: anything with `diagnostics(batch)`.
        scenario: the domains.

    Returns:
        Names to tensors, for plots.
    """
    batch = scenario.experiences[-1].test.batch(0, min(SHOWN, scenario.test_episodes))
    return {f"episodes/{name}": tensor.detach().cpu() for name, tensor in strategy.diagnostics(batch).items()}
