"""Gradients that may not raise another loss, to first order: the projections of A-GEM (one other loss) and GEM (several)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import nnls
from torch import Tensor


def project(gradients: Sequence[Tensor], trusted: Sequence[Tensor]) -> list[Tensor]:
    """Take out of a gradient what points against another.

    Args:
        gradients: g.
        trusted: m, of the same shapes.

    Returns:
        g where <g, m> >= 0, else g without its part along m.

    Example:
        >>> project([torch.tensor([1.0, -1.0])], [torch.tensor([0.0, 2.0])])
        [tensor([1., 0.])]
    """
    product = torch.stack([(one * two).sum() for one, two in zip(gradients, trusted)]).sum()
    length = torch.stack([two.square().sum() for two in trusted]).sum().clamp_min(1e-30)
    share = product.clamp_max(0) / length
    return [one - share * two for one, two in zip(gradients, trusted)]


def nearest_allowed(gradient: Tensor, others: Tensor, margin: float = 0.0) -> Tensor:
    """The gradient nearest to a given one whose products with all others are not negative (Lopez-Paz & Ranzato 2017, equations 8 to 12).

    With G the others, minimise |z - g|^2 / 2 where G z >= 0. Its dual is min over v >= 0 of v^T G G^T v / 2 + (G g)^T v, and
    z = g + G^T v: as many numbers as there are others, found exactly (Lawson & Hanson's active sets, on G G^T = L L^T).

    Args:
        gradient: g, [P].
        others: G, [T, P].
        margin: the least each v may be, as in the authors' code, which favours the others.

    Returns:
        [P]; g itself where it is allowed.

    Example:
        >>> nearest_allowed(torch.tensor([1.0, -1.0]), torch.tensor([[0.0, 2.0]])).tolist()
        [1.0, 0.0]
    """
    gram = (others @ others.T).double().cpu().numpy()
    slope = (others @ gradient).double().cpu().numpy()
    if (slope >= 0).all():
        return gradient
    size = len(gram)
    # A margin moves the bound to 0: v = margin + u.
    slope = slope + gram.sum(1) * margin
    gram.flat[:: size + 1] += 1e-10 * max(gram.trace() / size, 1e-30)
    lower = cholesky(gram, lower=True)
    free, _ = nnls(lower.T, -solve_triangular(lower, slope, lower=True))
    return gradient + torch.as_tensor(free + margin).to(others) @ others
