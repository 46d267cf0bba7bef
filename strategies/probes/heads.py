"""Heads for frozen features: multinomial logistic regression, and the two that a few-shot episode is answered by.

All of them are without randomness, and none mistakes the features' scale for knowledge: the regression standardises every feature,
prototypes compare distances, and the adapted head is given features of mean length 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

CHUNK = 100
"""Episodes that are answered at once."""


class Episodes(NamedTuple):
    """Episodes over a set of images.

    Attributes:
        support: int64 [E, S], rows of the images' features.
        query: int64 [E, Q].
        support_y: int64 [E, S], 0..ways-1.
        query_y: int64 [E, Q].
        ways: classes of an episode.
    """

    support: Tensor
    query: Tensor
    support_y: Tensor
    query_y: Tensor
    ways: int

    def chunks(self) -> Iterator[tuple[Tensor, ...]]:
        """A few episodes at a time.

        Returns:
            Support rows, query rows, support labels, query labels.
        """
        return zip(*(part.split(CHUNK) for part in (self.support, self.query, self.support_y, self.query_y)))


def logistic_regression(
    train: Tensor, targets: Tensor, test: Tensor, *, classes: int, iterations: int = 50, weight_decay: float = 1e-3
) -> Tensor:
    """A linear probe: fit weights W and biases b on frozen features, then answer others.

    Minimises mean cross-entropy + weight_decay / 2 |W|^2 from W = b = 0 in float64 by L-BFGS; every feature is first brought to zero mean
    and unit variance on the training features.

    Args:
        train: [N, F].
        targets: int64 [N], from 0.
        test: [M, F].
        classes: K.
        iterations: of L-BFGS, at most.
        weight_decay: of W.

    Returns:
        Logits, float64 [M, K].

    Example:
        >>> x = torch.tensor([[-1.0], [1.0]])
        >>> logistic_regression(x, torch.tensor([1, 0]), x, classes=2).argmax(1).tolist()
        [1, 0]
    """
    train, test = train.detach().double(), test.detach().double()
    deviation, mean = torch.std_mean(train, 0, correction=0)
    # A feature that never varies tells nothing, and must not be blown up by a division by 0.
    scale = torch.where(deviation > 1e-12 * mean.abs().clamp_min(1e-30), 1 / deviation, 0.0)
    x, asked = ((part - mean) * scale for part in (train, test))
    weight = torch.zeros(x.shape[1], classes, dtype=x.dtype, device=x.device, requires_grad=True)
    bias = torch.zeros(classes, dtype=x.dtype, device=x.device, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=iterations, tolerance_grad=1e-9, tolerance_change=0.0, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(x @ weight + bias, targets) + weight_decay / 2 * weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    return asked @ weight.detach() + bias.detach()


def prototype_accuracies(features: Tensor, episodes: Episodes) -> Tensor:
    """Answer episodes by the nearest class mean (Snell, Swersky & Zemel 2017), squared Euclidean distance.

    Args:
        features: [N, F] of all images.
        episodes: E of them.

    Returns:
        float64 [E], the share of right answers.
    """
    found = []
    for rows, asked, known, wanted in episodes.chunks():
        weights = functional.one_hot(known, episodes.ways).to(features.dtype)
        prototypes = weights.transpose(1, 2) @ features[rows] / weights.sum(1)[..., None]
        answers = torch.cdist(features[asked], prototypes).argmin(-1)
        found.append((answers == wanted).double().mean(1))
    return torch.cat(found)


def adapted_accuracies(features: Tensor, episodes: Episodes, *, steps: int, rate: float) -> Tensor:
    """Answer episodes by a linear head, adapted to the support set in k steps of gradient descent from zero.

    Args:
        features: [N, F] of all images.
        episodes: E of them.
        steps: k, each on the whole support set.
        rate: step size, for features of mean length 1.

    Returns:
        float64 [E], the share of right answers.
    """
    x = features / features.norm(dim=1).mean().clamp_min(1e-12)
    x = torch.cat([x, x.new_ones(len(x), 1)], 1)
    found = []
    for rows, asked, known, wanted in episodes.chunks():
        shown, labels = x[rows], functional.one_hot(known, episodes.ways).to(x.dtype)
        head = x.new_zeros(len(rows), x.shape[1], episodes.ways)
        for _ in range(steps):
            # The gradient of the mean cross-entropy of a linear head, written out.
            head = head - rate * shown.transpose(1, 2) @ ((shown @ head).softmax(-1) - labels) / rows.shape[1]
        found.append(((x[asked] @ head).argmax(-1) == wanted).double().mean(1))
    return torch.cat(found)
