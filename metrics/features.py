"""What can be said of features by themselves: how alike two sets are, how many units are dead, how many directions are used."""

from __future__ import annotations

import torch
from torch import Tensor


def linear_cka(first: Tensor, second: Tensor) -> float:
    """Linear centred kernel alignment (Kornblith et al. 2019, arXiv 1905.00414): ||Y^T X||^2 / (||X^T X|| ||Y^T Y||), centred.

    Args:
        first: [N, F], of N inputs.
        second: [N, G], of the same inputs.

    Returns:
        In [0, 1]; 1 for features that are the same up to rotation and scale. nan where one set does not vary at all.

    Example:
        >>> x = torch.eye(4)
        >>> round(linear_cka(x, 3 * x.flip(1)), 6)
        1.0
    """
    x, y = (part.double() - part.double().mean(0) for part in (first, second))
    sizes = torch.linalg.matrix_norm(x.T @ x) * torch.linalg.matrix_norm(y.T @ y)
    return float((y.T @ x).square().sum() / sizes)


def dead_unit_share(features: Tensor) -> float:
    """The share of units that give the same value for every input.

    Args:
        features: [N, F].

    Returns:
        In [0, 1].

    Example:
        >>> dead_unit_share(torch.tensor([[0.0, 1.0], [0.0, 2.0]]))
        0.5
    """
    return float((features == features[:1]).all(0).double().mean())


def effective_rank(features: Tensor) -> float:
    """How many directions the features use: the exponential of the entropy of the normalised singular values (Roy & Vetterli 2007).

    Args:
        features: [N, F], centred here.

    Returns:
        From 1 to min(N, F); 0 where nothing varies.

    Example:
        >>> round(effective_rank(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])), 6)
        2.0
    """
    values = torch.linalg.svdvals(features.double() - features.double().mean(0))
    if not float(values.sum()):
        return 0.0
    shares = values / values.sum()
    return float(torch.exp(-(shares * shares.clamp_min(1e-300).log()).sum()))
