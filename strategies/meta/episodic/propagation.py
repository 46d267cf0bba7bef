"""Label propagation over a graph of examples (Zhou et al., NeurIPS 2003; in episodes: Liu et al., TPN, ICLR 2019).

    W_ij = exp(-d(z_i, z_j) / (2 sigma^2)),  d the mean squared difference over features;  the k largest of each row, made symmetric
    S = D^-1/2 W D^-1/2,   F = (I - alpha S)^-1 Y

Y has a one-hot row for each labelled example and a row of zeros for each of the others. Where sigma is not given it is a quarter of the
square root of the mean d: at alpha = 0.99 a wider kernel answers by the labelled examples' degrees rather than by nearness (22.8 % at
the whole root, 32 % at a quarter, 32.7 % for the nearest neighbour: 5-way 1-shot CIFAR-FS, features of an untrained Conv-4, 20 neighbours).

Such a sigma is a function of the features, and a loss that is trained through the scores has to go through it as well. Then neither scores
nor loss change with the features' scale. With sigma held constant the gradient sees a scale that the scores do not have, and the loss can
be lowered for ever by shrinking the features while sigma follows (median distance on CIFAR-FS from 0.58 to 1e-7, accuracy to 20 %).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from scenarios.options import option

Statistic = Literal["mean", "median"]


@dataclass(frozen=True, kw_only=True)
class GraphConfig:
    """Options of label propagation.

    Attributes:
        neighbours: of each example in the graph, itself among them; 0 for all.
        spread: alpha of label propagation.
        bandwidth: sigma of the similarity; none for a quarter of the square root of a statistic of the episode's distances.
        bandwidth_from: the statistic: mean or median.
        bandwidth_gradient: go through that statistic, so that nothing depends on the features' scale; or stop at it, with which the
            features can collapse.
        class_mass: scale the queries' scores of each class so that their sums are in proportion to the support set's classes (class-mass
            normalisation, Zhu, Ghahramani & Lafferty 2003).
    """

    neighbours: int = option(20, low=0)
    spread: float = option(0.99, low=0.001, high=0.999)
    bandwidth: float | None = option(None, low=1e-6)
    bandwidth_from: Statistic = "mean"
    bandwidth_gradient: Literal["through", "stop"] = "through"
    class_mass: bool = False


def propagate_labels(
    config: GraphConfig, support: Tensor, query: Tensor, known: Tensor, real: tuple[Tensor | None, Tensor | None]
) -> Tensor:
    """Spread the support set's labels over the graph of support and queries.

    Args:
        config: the graph's options.
        support: [..., S, F], features.
        query: [..., Q, F], likewise.
        known: [..., S, N], one-hot; rows of zeros for padding.
        real: of the support set [..., S] and of the queries [..., Q], 0 for padding; None where nothing is padded.

    Returns:
        [..., S + Q, N] scores, not negative. A row that no labelled example reaches is 0.
    """
    weights = None
    if real[0] is not None or real[1] is not None:
        weights = torch.cat([torch.ones_like(x[..., 0]) if w is None else w.to(x) for w, x in zip(real, (support, query))], -1)
    stop = config.bandwidth_gradient == "stop"
    graph = similarity(torch.cat([support, query], -2), config.neighbours, config.bandwidth, weights, config.bandwidth_from, stop)
    labels = torch.cat([known, known.new_zeros(*query.shape[:-1], known.shape[-1])], -2)
    scores = propagate(graph, labels, config.spread).clamp_min(0)
    if not config.class_mass:
        return scores
    num_support = support.shape[-2]
    return torch.cat([scores[..., :num_support, :], class_mass(scores[..., num_support:, :], known.sum(-2), real[1])], -2)


def similarity(
    z: Tensor,
    neighbours: int,
    bandwidth: float | None = None,
    real: Tensor | None = None,
    statistic: Statistic = "mean",
    stop: bool = False,
) -> Tensor:
    """The graph's weights.

    Args:
        z: [..., n, F], features.
        neighbours: how many of each row are kept, the example itself among them; 0 for all.
        bandwidth: sigma; None for a quarter of the square root of the statistic of d over pairs of different real examples.
        real: [..., n], 0 for padding, which is connected to itself alone; None where nothing is padded.
        statistic: mean or median.
        stop: take the statistic as a constant for the gradient.

    Returns:
        [..., n, n], symmetric.

    Example:
        >>> z = torch.tensor([[0.0, 0.0], [3.0, 1.0]])
        >>> torch.equal(similarity(z, 0), similarity(100 * z, 0))
        True
    """
    size = z.shape[-2]
    distance = (z[..., :, None, :] - z[..., None, :, :]).square().mean(-1)
    itself = torch.eye(size, dtype=torch.bool, device=z.device)
    joined = ~itself if real is None else ~itself & (real[..., :, None] * real[..., None, :] > 0)
    if bandwidth is None:
        typical = _typical(distance.detach() if stop else distance, joined, statistic)
        exponent = 8 * distance / torch.where(typical > 16 * torch.finfo(z.dtype).tiny, typical, 1.0)
    else:
        exponent = distance / (2 * bandwidth**2)
    weights = torch.where(joined | itself, torch.exp(-exponent), 0.0)
    if 0 < neighbours < size:
        kept = weights >= weights.detach().topk(neighbours, -1).values[..., -1:]
        weights = torch.where(kept | kept.transpose(-1, -2), weights, 0.0)
    return weights


def propagate(weights: Tensor, labels: Tensor, spread: float) -> Tensor:
    """Spread labels over a graph.

    Args:
        weights: [..., n, n], symmetric.
        labels: [..., n, N], zero rows where unknown.
        spread: alpha, between 0 and 1 and neither of them.

    Returns:
        [..., n, N] scores F. A row that no labelled example reaches is 0.

    Example:
        >>> chain = torch.tensor([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]])
        >>> propagate(chain, torch.tensor([[1.0], [0], [0]]), 0.5)
        tensor([[1.5000],
                [0.5000],
                [0.0000]])
    """
    scale = weights.sum(-1).rsqrt()
    normalised = scale[..., :, None] * weights * scale[..., None, :]
    identity = torch.eye(weights.shape[-1], dtype=weights.dtype, device=weights.device)
    return torch.linalg.solve(identity - spread * normalised, labels)


def class_mass(scores: Tensor, prior: Tensor, real: Tensor | None = None) -> Tensor:
    """Class-mass normalisation: scale each class's scores so that their sums are in proportion to a prior.

    Args:
        scores: [..., Q, N], not negative.
        prior: [..., N], up to a factor.
        real: [..., Q], 0 for padding, whose scores do not count; None where nothing is padded.

    Returns:
        [..., Q, N], of the same sum in all; a class without any mass stays without.

    Example:
        >>> class_mass(torch.tensor([[3.0, 1.0], [3.0, 1.0]]), torch.ones(2))
        tensor([[2., 2.],
                [2., 2.]])
    """
    counted = scores if real is None else scores * real[..., None]
    mass = counted.sum(-2)
    tiny = torch.finfo(scores.dtype).tiny
    wanted = prior / prior.sum(-1, keepdim=True) * mass.sum(-1, keepdim=True)
    return scores * (wanted / mass.clamp_min(tiny)).where(mass > 0, 1.0)[..., None, :]


def _typical(distance: Tensor, joined: Tensor, statistic: Statistic) -> Tensor:
    if statistic == "median":
        return torch.where(joined, distance, torch.nan).flatten(-2).nanmedian(-1).values[..., None, None]
    pairs = joined.to(distance).sum((-2, -1), keepdim=True)
    return torch.where(joined, distance, 0.0).sum((-2, -1), keepdim=True) / pairs.clamp_min(1)
