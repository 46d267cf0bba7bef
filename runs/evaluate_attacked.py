"""Testing a learner of episodes on altered support sets: clean, under noise of the same size, and attacked, on the same episodes."""

from __future__ import annotations

import time
from typing import Any

import torch

from metrics.fewshot import over_episodes
from runs.evaluate_episodes import accuracies_of
from scenarios.episodes.episodic import EpisodicScenario
from scenarios.random import Randomness
from strategies.attacks.adversary import BoundedAdversary
from strategies.attacks.episodes import noisy_support, poisoned_support
from strategies.attacks.task_poison import TaskPoison

EPISODES = 200
"""Test episodes that are attacked."""


def attacked_episodes(
    strategy: Any, scenario: EpisodicScenario, attack: BoundedAdversary, randomness: Randomness, batch_size: int
) -> dict[str, Any]:
    """Attack the support sets of test episodes of the last domain.

    Args:
        strategy: the learner, trained.
        scenario: the domains.
        attack: the adversary: of its options, the ball and the steps count.
        randomness: of the run.
        batch_size: images in one pass of the network.

    Returns:
        `attack` for the summary: accuracies `clean`, `noise` and `attacked`, each with the half width of its 95 % interval over episodes,
        and the drop.
    """
    stream = scenario.experiences[-1].test
    storage, spec = stream.storage, stream.spec
    count = min(EPISODES, scenario.test_episodes)
    chunk = max(1, batch_size // (spec.ways * (spec.shots + spec.queries)))
    found: dict[str, list[torch.Tensor]] = {"clean": [], "noise": [], "attacked": []}
    seconds = 0.0
    for first in range(0, count, chunk):
        clean = stream.batch(first, min(chunk, count - first))
        generator = randomness.generator("attack", "episodes", first)
        noise = noisy_support(clean, storage, attack.ball, generator)
        clock = time.perf_counter()
        altered = noise
        if isinstance(attack, TaskPoison):
            altered = poisoned_support(clean, storage, attack.ball, strategy.features, steps=attack.steps, size=attack.size)
        seconds += time.perf_counter() - clock
        for name, batch in (("clean", clean), ("noise", noise), ("attacked", altered)):
            found[name].append(accuracies_of(strategy.episode_logits(batch), batch))
    results = {name: over_episodes(torch.cat(parts).cpu()) for name, parts in found.items()}
    means = {name: result.mean for name, result in results.items()}
    halves = {f"{name}_ci95": result.ci95 for name, result in results.items()}
    drops = {"drop": means["clean"] - means["attacked"], "noise_drop": means["clean"] - means["noise"]}
    return {**means, **halves, **drops, "episodes": count, "crafting_seconds": seconds}
