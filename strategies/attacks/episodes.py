"""Attacks on learners of episodes: the support set of a test episode is altered, so that what is adapted from it answers queries wrongly.

Learners of episodes adapt in ways of their own, some of them without a graph. What they all have is `features`: an image's place before any
adaptation. So the adversary moves support images by what prototypes say of the queries in that space,

    J = -mean cross-entropy of softmax(-|f(query) - mean of class c's f(support + delta)|^2),

which for prototype networks is the very loss, and for the family of MAML a transfer through the features that are adapted. It is a worst
case: the adversary knows the episode's queries and their labels; queries themselves are never changed.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from scenarios.episodes.episodes import EpisodeBatch
from scenarios.storage import Storage
from strategies.attacks.ball import LEVELS, Ball
from strategies.attacks.crafting import descend

Features = Callable[[Tensor], Tensor]
"""From normalised images [B, C, H, W] to [B, F], with a graph."""


def grey_levels(images: Tensor, storage: Storage) -> Tensor:
    """Undo the normalisation.

    Args:
        images: [..., C, H, W].
        storage: that normalised them.

    Returns:
        uint8, of the same shape.
    """
    return ((images - storage.shift) / storage.scale).round().clamp(0, LEVELS).to(torch.uint8)


def noisy_support(batch: EpisodeBatch, storage: Storage, ball: Ball, generator: torch.Generator) -> EpisodeBatch:
    """Alter support sets at random.

    Args:
        batch: the episodes.
        storage: that normalised their images.
        ball: how far.
        generator: on the CPU.

    Returns:
        The same episodes with other support images.
    """
    pixels = grey_levels(batch.support_x.flatten(0, 1), storage)
    return _with_support(batch, storage, ball.altered(ball.random(pixels.float(), generator), pixels))


def poisoned_support(batch: EpisodeBatch, storage: Storage, ball: Ball, features: Features, *, steps: int, size: float) -> EpisodeBatch:
    """Alter support sets so that their prototypes answer the queries wrongly.

    Args:
        batch: the episodes.
        storage: that normalised their images.
        ball: how far.
        features: of the learner before any adaptation.
        steps: of descent.
        size: of a step.

    Returns:
        The same episodes with other support images.
    """
    episodes = len(batch.support_x)
    with torch.no_grad():
        query = features(batch.query_x.flatten(0, 1)).unflatten(0, (episodes, -1))
    weights = functional.one_hot(batch.support_y.clamp_min(0), batch.ways).to(query.dtype) * (batch.support_y >= 0)[..., None]
    weights = weights / weights.sum(1, keepdim=True).clamp_min(1)
    absent = ~batch.present()

    def objective(altered: Tensor, clean: Tensor, targets: Tensor) -> Tensor:
        support = features(altered * (255 * storage.scale) + storage.shift).unflatten(0, (episodes, -1))
        means = weights.transpose(1, 2) @ support
        logits = -torch.cdist(query, means).square().masked_fill(absent[:, None], torch.inf)
        return -functional.cross_entropy(logits.flatten(0, 1), batch.query_y.flatten())

    pixels = grey_levels(batch.support_x.flatten(0, 1), storage)
    delta = descend(objective, pixels.float() / LEVELS, batch.support_y.flatten(), ball, steps=steps, size=size)
    return _with_support(batch, storage, ball.altered(delta, pixels))


def _with_support(batch: EpisodeBatch, storage: Storage, pixels: Tensor) -> EpisodeBatch:
    support = storage.normalise(pixels).view_as(batch.support_x)
    if batch.support_mask is not None:
        support = support * batch.support_mask[..., None, None, None]
    return batch._replace(support_x=support)
