"""What filters have in common: a copy of the learner's network, warmed up on what arrives, tells suspicious examples from others."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from scenarios.experience import Examples, Experience
from scenarios.options import option
from strategies.answering import Answering, copy_of
from strategies.base import Setup, Strategy
from strategies.defences.defence import Defence


@dataclass(frozen=True, kw_only=True)
class WarmupConfig:
    """Options of filters.

    Attributes:
        warmup: passes over what arrives, which a copy of the network makes before it judges.
    """

    warmup: int = option(1, low=0)


class FeatureFilter(Defence):
    """A filter that judges images by their places in feature space.

    Args:
        config: the options.
    """

    def conspicuous(self, model: Answering, x: Tensor, clean: Tensor, task: int, alignment: Tensor | None) -> Tensor:
        """How far altered images have left their places.

        Args:
            model: a network of the adversary's.
            x: altered images.
            clean: the same unaltered.
            task: their experience.
            alignment: not used.

        Returns:
            Mean squared distance over the clean features' mean square; a scalar.
        """
        with torch.no_grad():
            before = model.features(clean, task)
        return (model.features(x, task) - before).square().mean() / before.square().mean().clamp_min(1e-12)


def warmed(strategy: Strategy, examples: Examples, task: int, passes: int, model: Answering | None = None) -> Answering:
    """Train a copy of a learner's network on what arrives, by the optimiser of the run.

    Args:
        strategy: the learner; it is only read.
        examples: what arrives.
        task: its experience.
        passes: over the examples.
        model: go on with this copy; None for a new one.

    Returns:
        The copy.
    """
    setup: Setup = strategy.setup
    model = model or copy_of(strategy)
    outputs = setup.scenario.in_play(task)
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    optimizer = kinds[setup.train.optimizer](model.parameters(), lr=setup.train.learning_rate)
    for number in range(passes):
        order = torch.randperm(len(examples), generator=setup.randomness.generator("defence", "warm-up", task, number))
        for positions in order.to(examples.rows.device).split(setup.train.batch_size):
            batch = examples.batch(positions)
            loss = functional.cross_entropy(model(batch.x, task, outputs), batch.y - outputs.start)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    return model


def without_lowest(scores: Tensor, share: float) -> Tensor:
    """What is left when the most suspicious share is dropped.

    Args:
        scores: [n], higher for what is more suspicious.
        share: that is dropped.

    Returns:
        int64, positions, ascending.
    """
    kept = len(scores) - round(share * len(scores))
    return scores.argsort(stable=True)[:kept].sort().values


@torch.no_grad()
def outputs_and_features(model: Answering, experience: Experience, outputs: range) -> tuple[Tensor, Tensor]:
    """What a network says of all examples of an experience.

    Args:
        model: the network.
        experience: whose training examples are looked at.
        outputs: of the head.

    Returns:
        [n, len(outputs)] logits and [n, F] features.
    """
    logits, features = [], []
    for start in range(0, len(experience.train), 1000):
        batch = experience.train.batch(slice(start, start + 1000))
        logits.append(model(batch.x, experience.index, outputs))
        features.append(model.features(batch.x, experience.index))
    return torch.cat(logits), torch.cat(features)
