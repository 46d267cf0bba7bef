"""Testing a learner of episodes: few-shot accuracy of each domain with an interval over episodes, and accuracy by adaptation step.

To answer after every step costs several times as much as to answer in the end. So accuracy by step is taken over the first 100 episodes
only, and so is the test before any learning; both are labelled with their number of episodes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from metrics.fewshot import over_episodes, per_step, pooled_binomial_ci95
from runs.evaluate import Evaluation
from scenarios.episodes.episodes import EpisodeBatch, EpisodeStream
from scenarios.episodes.episodic import EpisodicScenario

SHOWN = 100
"""Test episodes whose diagnostics are kept for plots, over which accuracy by step is taken, and which test an untrained learner."""


def evaluate_episodes(
    strategy: Any, scenario: EpisodicScenario, *, batch_size: int, side: str = "test", only_first: bool = False
) -> Evaluation:
    """Test on the episodes of every domain.

    Args:
        strategy: anything with `episode_logits(batch, steps)`.
        scenario: the domains, their batches made on the learner's device.
        batch_size: images in one pass of the network.
        side: validation or test.
        only_first: test on the first 100 episodes, and in the end only, not after every step.

    Returns:
        Mean few-shot accuracy of each domain; the last domain's with its interval in the summary, and where there are several domains
        `few_shot_by_domain`, all means and intervals. Of a learner that labels the queries itself also how many of these labels are right
        after each number of steps, over the episodes that accuracy by step is taken over.
    """
    row: list[float] = []
    halves: list[float] = []
    rows: list[dict[str, Any]] = []
    summary: dict[str, Any] = {}
    for experience in scenario.experiences:
        stream: EpisodeStream = getattr(experience, side)
        episodes = min(SHOWN, scenario.test_episodes) if only_first else scenario.test_episodes
        accuracies, by_step, queries = episode_accuracies(strategy, stream, episodes, batch_size, by_step=0 if only_first else SHOWN)
        result = over_episodes(accuracies)
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
        if len(by_step) > 1:
            means, intervals = per_step(by_step.T)
            summary |= {"before_adaptation": float(means[0]), "per_step": means.tolist(), "per_step_ci95": intervals.tolist()}
            summary["per_step_episodes"] = by_step.shape[1]
        row.append(result.mean)
        halves.append(result.ci95)
        measured = {"few_shot_accuracy": result.mean, "few_shot_ci95": result.ci95, "few_shot_episodes": result.episodes}
        rows += [{"metric": name, "value": value, "on_experience": experience.index} for name, value in measured.items()]
        if not only_first and (labels := _pseudo_labels(strategy, stream, min(SHOWN, episodes))):
            summary |= labels
            by_k = enumerate(labels["pseudo_label_accuracy"])
            rows += [{"metric": "pseudo_label_accuracy", "value": v, "on_experience": experience.index, "step": k} for k, v in by_k]
    several = {"few_shot_by_domain": {"mean": row, "ci95": halves}} if len(row) > 1 else {}
    return Evaluation(row, rows, {"few_shot_accuracy": summary, **several})


# How many of the labels that a learner gives the queries are right, after each number of adaptation steps, from none.
def _pseudo_labels(strategy: Any, stream: EpisodeStream, episodes: int) -> dict[str, list[float]]:
    batch = stream.batch(0, episodes)
    labels = strategy.pseudo_labels(batch) if hasattr(strategy, "pseudo_labels") else None
    if labels is None:
        return {}
    right = (labels == batch.query_y[:, None]).double().sum(-1) / (batch.query_y >= 0).sum(1, keepdim=True)
    means, halves = per_step(right.cpu())
    return {"pseudo_label_accuracy": means.tolist(), "pseudo_label_ci95": halves.tolist()}


def episode_accuracies(
    strategy: Any, stream: EpisodeStream, episodes: int, batch_size: int, by_step: int = 0
) -> tuple[Tensor, Tensor, int]:
    """Accuracy of each episode.

    Args:
        strategy: anything with `episode_logits(batch, steps)`.
        stream: where episodes 0, 1, ... come from.
        episodes: how many.
        batch_size: images in one pass of the network.
        by_step: of how many, from the first, accuracy is also taken after each number of adaptation steps.

    Returns:
        float64 [E] on the CPU; float64 [T + 1, min(by_step, E)] (one row for a learner without steps, none where
        `by_step` is 0); and the number of queries in all.
    """
    spec = stream.spec
    images = spec.ways * (spec.shots + spec.queries + spec.unlabelled) + spec.distractors * spec.unlabelled
    chunk = max(1, batch_size // images)
    several = min(by_step, episodes)
    last, every, queries = [], [], []
    for start, stop in ((0, several), (several, episodes)):
        for first in range(start, stop, chunk):
            batch = stream.batch(first, min(chunk, stop - first))
            logits = strategy.episode_logits(batch, steps=start < several)
            accuracies = accuracies_of(logits if logits.dim() == 4 else logits[None], batch)
            last.append(accuracies[-1])
            if start < several:
                every.append(accuracies)
            queries.append(batch.query_y.numel() if batch.query_mask is None else batch.query_mask.sum())
    steps = torch.cat(every, 1).cpu() if every else torch.empty(0, 0, dtype=torch.float64)
    return torch.cat(last).cpu(), steps, int(sum(queries))


def accuracies_of(logits: Tensor, batch: EpisodeBatch) -> Tensor:
    """The share of right answers in each episode.

    Args:
        logits: [..., E, Q, N].
        batch: the episodes.

    Returns:
        float64 [..., E].
    """
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
