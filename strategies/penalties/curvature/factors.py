"""Kronecker factors of the Gauss-Newton block of each layer, with the terms that batch norm creates between the examples of a batch.

With norms in training mode the loss of one example depends on the layer's outputs for the others. Of a batch of N examples, with g_n the
derivative of the *summed* loss by the layer's output for example n and a_n its input with a 1 appended, the block is

    H = 1/N sum_{n,m} E[(g_n g_m^T) (x) (a_n a_m^T)]

K-FAC (Martens & Grosse 2015) keeps n = m and takes both factors for uncorrelated: B_0 (x) A_0. The extension (Lee et al., CVPR 2020) keeps
the pairs too: B_0 (x) A_0 + (N-1) B_1 (x) A_1 with A_1 = E[a_n a_m^T], n != m. Estimated from batches, identically,

    H = N/(N-1) S_B (x) S_A + N K_B (x) M_A

with S the covariance inside a batch and M_A, K_B the second moments of the batch's mean: two positive semi-definite terms, and so H is.
In this form:

    plain      B_0 (x) A_0
    virtual    the two terms; the T positions of a convolution are examples of their own: M = N T, and H is M/N times the formula with M
    three      pairs of positions of one image and pairs of different images each have factors of their own. An analysis of variance turns
               these into three terms of positive semi-definite factors too: inside images, between images, and the batch's mean.

Where examples are independent, A_1 = m m^T with m the mean input. `mean_pairs` uses that: then H = B_0 (x) Cov(a) + M K_B (x) m m^T, whose
second term costs next to nothing. The extension's equation is reconstructed from its idea, the paper's body was not at hand; the forms
`three` and the rank-one second term are ours.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from strategies.penalties.curvature.kronecker import Kronecker, LowRank

Form = Literal["plain", "virtual", "three"]


def moments(rows_GNTD: Tensor, form: Form) -> Tensor:
    """The matrices of one side of one batch.

    Args:
        rows_GNTD: inputs or derivatives.
        form: which terms.

    Returns:
        [G, K, D, D]: for `plain` the second moment; for `virtual` the covariance inside the batch and the second moment of its mean; for
        `three` the covariance inside images, that of the images' means, and the second moment of the batch's mean.
    """
    total = rows_GNTD.shape[1] * rows_GNTD.shape[2]
    if form == "plain":
        flat = rows_GNTD.flatten(1, 2)
        return (flat.mT @ flat / total)[:, None]
    of_images = rows_GNTD.mean(2)
    of_batch = of_images.mean(1)
    outer = of_batch.unsqueeze(2) * of_batch.unsqueeze(1)
    if form == "virtual":
        flat = (rows_GNTD - of_batch[:, None, None]).flatten(1, 2)
        return torch.stack([flat.mT @ flat / total, outer], 1)
    inside = (rows_GNTD - of_images.unsqueeze(2)).flatten(1, 2)
    between = of_images - of_batch.unsqueeze(1)
    return torch.stack([inside.mT @ inside / total, between.mT @ between / rows_GNTD.shape[1], outer], 1)


def coefficients(form: Form, examples: int, positions: int) -> list[float]:
    """What each product of `moments` is multiplied by in H.

    Args:
        form: which terms.
        examples: N.
        positions: T.

    Returns:
        K numbers.
    """
    n, t = examples, positions
    if form == "plain":
        return [t]
    if form == "virtual":
        return [n * t * t / (n * t - 1), n * t * t]
    return [t * t / (t - 1) if t > 1 else 0.0, t * t * n / (n - 1), n * t * t]


class LayerSums:
    """Sums over batches for one layer.

    Args:
        form: which terms.
    """

    def __init__(self, form: Form) -> None:
        self.form: Form = form
        self.batches = 0
        self.shape = (0, 0)
        self.right: Tensor | None = None
        self.left: Tensor | None = None
        self.vector: Tensor | None = None

    def add(self, inputs_GNTD: Tensor, derivatives_RGNTO: Tensor, share: float) -> None:
        """Take a batch into account.

        Args:
            inputs_GNTD: what flowed in.
            derivatives_RGNTO: what flowed back, for each draw of labels (or for each direction of an exact pass).
            share: what each of these counts for.
        """
        right, vector = moments(inputs_GNTD, self.form), inputs_GNTD.mean((1, 2))
        left = moments(derivatives_RGNTO.flatten(0, 1), self.form).unflatten(0, derivatives_RGNTO.shape[:2]).sum(0) * share
        self.right = right if self.right is None else self.right + right
        self.left = left if self.left is None else self.left + left
        self.vector = vector if self.vector is None else self.vector + vector
        self.shape = (inputs_GNTD.shape[1], inputs_GNTD.shape[2])
        self.batches += 1

    def curvature(self, mean_pairs: bool) -> Kronecker:
        """The curvature that was measured.

        Args:
            mean_pairs: whether A_1 is taken for m m^T.

        Returns:
            Means over batches, multiplied by their coefficients.
        """
        assert self.right is not None and self.left is not None and self.vector is not None
        right, left, mean = self.right / self.batches, self.left / self.batches, self.vector / self.batches
        if mean_pairs and self.form == "virtual":
            positions, total = self.shape[1], self.shape[0] * self.shape[1]
            covariance = right.sum(1) - mean.unsqueeze(2) * mean.unsqueeze(1)
            around = left[:, 1:] * (positions * total)
            squared_mean = LowRank(around, mean[:, None, :, None], mean.new_zeros(mean.shape[0], 1))
            return Kronecker(left.sum(1, keepdim=True) * positions, covariance.unsqueeze(1), {"squared mean": squared_mean})
        factors = left.new_tensor(coefficients(self.form, *self.shape))
        return Kronecker(left * factors[:, None, None], right)

    def pair_share(self) -> float | None:
        """(M - 1) times the norm of B_1, by that of B_0: how much pairs weigh; pure noise gives about 1 / sqrt(number of draws).

        Returns:
            The ratio; None where there are no pairs.
        """
        if self.form == "plain" or self.left is None:
            return None
        total = self.shape[0] * self.shape[1]
        second, of_mean = self.left.sum(1), self.left[:, -1]
        return float((total * of_mean - second).norm() / second.norm())
