"""Sums of Kronecker products as curvature: H = sum_k B_k (x) A_k + sum_j C_j (x) v_j v_j^T, for the parameters of one layer.

With vec row by row, (B (x) A) vec(D) = vec(B D A) for symmetric factors. So a product with H costs O(o^2 d + o d^2) a term, and a term
whose right factor has rank one O(o^2 + o d). A layer with groups of channels has a block for each group: all tensors have a leading
dimension G, which is 1 for most layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Kronecker:
    """The curvature of one layer.

    Attributes:
        left: [G, K, O, O], the factors on the side of the outputs.
        right: [G, K, D, D], the factors on the side of the inputs.
        outer_left: [G, J, O, O], those of the terms whose right factor has rank one.
        vectors: [G, J, D], whose outer products are these right factors.

    Example:
        >>> eye = torch.eye(2).view(1, 1, 2, 2)
        >>> twice = Kronecker(2 * eye, eye)
        >>> twice.quadratic(torch.ones(1, 2, 2)).item()
        8.0
    """

    left: Tensor
    right: Tensor
    outer_left: Tensor | None = None
    vectors: Tensor | None = None

    @cached_property
    def _wide(self) -> Tensor:
        """[G, O, K * O]: all left factors side by side."""
        return self.left.transpose(1, 2).flatten(2).contiguous()

    def product(self, delta_GOD: Tensor) -> Tensor:
        """H times a change of the parameters.

        Args:
            delta_GOD: [G, O, D].

        Returns:
            [G, O, D].
        """
        inner_GKOD = torch.matmul(delta_GOD.unsqueeze(1), self.right)
        product = torch.bmm(self._wide, inner_GKOD.flatten(1, 2))
        if self.outer_left is not None and self.vectors is not None:
            along_GJO1 = torch.bmm(self.vectors, delta_GOD.mT).unsqueeze(3)
            product.baddbmm_(torch.matmul(self.outer_left, along_GJO1).squeeze(3).mT, self.vectors)
        return product

    def quadratic(self, delta_GOD: Tensor) -> Tensor:
        """vec(D)^T H vec(D).

        Args:
            delta_GOD: [G, O, D].

        Returns:
            A scalar.
        """
        return (delta_GOD * self.product(delta_GOD)).sum()

    def inner(self, other: Kronecker) -> Tensor:
        """The Frobenius inner product of two curvatures.

        Args:
            other: of the same layer.

        Returns:
            A scalar.
        """
        left, right = self.all_terms()
        other_left, other_right = other.all_terms()
        of_left = torch.einsum("gkop,gjop->gkj", left, other_left)
        of_right = torch.einsum("gkcd,gjcd->gkj", right, other_right)
        return (of_left * of_right).sum()

    def dense(self) -> Tensor:
        """The blocks themselves; only for small layers.

        Returns:
            [G, O * D, O * D].
        """
        left, right = self.all_terms()
        blocks = torch.einsum("gkop,gkcd->gocpd", left, right)
        return blocks.flatten(3, 4).flatten(1, 2)

    def all_terms(self) -> tuple[Tensor, Tensor]:
        """The factors of all terms, those of rank one written out.

        Returns:
            Left [G, K + J, O, O] and right [G, K + J, D, D].
        """
        if self.outer_left is None or self.vectors is None:
            return self.left, self.right
        outer = self.vectors.unsqueeze(3) * self.vectors.unsqueeze(2)
        return torch.cat([self.left, self.outer_left], 1), torch.cat([self.right, outer], 1)

    def tensors(self) -> dict[str, Tensor]:
        """What it is made of.

        Returns:
            The attributes that are there, by name.
        """
        named = {"left": self.left, "right": self.right, "outer_left": self.outer_left, "vectors": self.vectors}
        return {name: tensor for name, tensor in named.items() if tensor is not None}


def mean(terms: Sequence[Kronecker], total: float) -> Kronecker:
    """The mean of several curvatures, exactly: all their terms in one batch.

    Args:
        terms: of one layer.
        total: how many there are, those that are 0 (of tasks that had no such layer) included.

    Returns:
        Their sum, divided by `total`.
    """
    share = 1 / total
    ones = [(each.outer_left, each.vectors) for each in terms if each.outer_left is not None and each.vectors is not None]
    return Kronecker(
        torch.cat([each.left for each in terms], 1) * share,
        torch.cat([each.right for each in terms], 1),
        torch.cat([left for left, _ in ones], 1) * share if ones else None,
        torch.cat([vectors for _, vectors in ones], 1) if ones else None,
    )


def running_mean(old: Kronecker, count: int, new: Kronecker) -> Kronecker:
    """The mean of the factors, each for itself: constant memory, and an approximation on top.

    Terms whose right factor has rank one cost next to nothing: they are kept one by one.

    Args:
        old: the mean of `count` curvatures.
        count: how many.
        new: one more, of the same number of terms.

    Returns:
        The mean of `count + 1`.
    """
    share = 1 / (count + 1)
    outer_left, vectors = old.outer_left, old.vectors
    if outer_left is not None and vectors is not None and new.outer_left is not None and new.vectors is not None:
        outer_left = torch.cat([outer_left * (1 - share), new.outer_left * share], 1)
        vectors = torch.cat([vectors, new.vectors], 1)
    return Kronecker(torch.lerp(old.left, new.left, share), torch.lerp(old.right, new.right, share), outer_left, vectors)
