"""Sums of Kronecker products as curvature: H = sum_k B_k (x) A_k, for the parameters of one layer.

With vec row by row, (B (x) A) vec(D) = vec(B D A) for symmetric factors. So a product with H costs O(o^2 d + o d^2) a term; where A is
f I + V V^T with few columns V, it costs O(o^2 r + o d r). A layer with groups of channels has a block for each group: all tensors have a
leading dimension G, which is 1 for most layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class LowRank:
    """Terms B_j (x) (f_j I + V_j V_j^T).

    Attributes:
        left: [G, J, O, O], the factors on the side of the outputs.
        vectors: [G, J, D, R].
        floor: [G, J], the multiples of the identity.
    """

    left: Tensor
    vectors: Tensor
    floor: Tensor

    def between(self, along_GON: Tensor) -> Tensor:
        """Multiply what a change of the parameters has along the vectors by the left factors.

        Args:
            along_GON: [G, O, J * R].

        Returns:
            [G, O, J * R].
        """
        along_GJOR = along_GON.unflatten(2, (self.left.shape[1], -1)).transpose(1, 2)
        return torch.matmul(self.left, along_GJOR).transpose(1, 2).flatten(2)

    def right(self) -> Tensor:
        """The right factors, written out.

        Returns:
            [G, J, D, D].
        """
        eye = torch.eye(self.vectors.shape[2], dtype=self.floor.dtype, device=self.floor.device)
        return self.vectors @ self.vectors.mT + self.floor[..., None, None] * eye


@dataclass(frozen=True, eq=False)
class Kronecker:
    """The curvature of one layer.

    Attributes:
        left: [G, K, O, O], the factors on the side of the outputs.
        right: [G, K, D, D], the factors on the side of the inputs.
        low_rank: further terms by name, of right factors of low rank.

    Example:
        >>> eye = torch.eye(2).view(1, 1, 2, 2)
        >>> twice = Kronecker(2 * eye, eye)
        >>> twice.quadratic(torch.ones(1, 2, 2)).item()
        8.0
    """

    left: Tensor
    right: Tensor
    low_rank: dict[str, LowRank] = field(default_factory=dict)

    @cached_property
    def _wide(self) -> Tensor:
        """[G, O, K * O]: all left factors side by side."""
        return self.left.transpose(1, 2).flatten(2).contiguous()

    @cached_property
    def _columns(self) -> Tensor:
        """[G, D, N]: all vectors of all terms of low rank side by side."""
        return torch.cat([each.vectors.transpose(1, 2).flatten(2) for each in self.low_rank.values()], 2)

    @cached_property
    def _rest(self) -> Tensor:
        """[G, O, O]: what the multiples of the identity come to."""
        return torch.stack([(each.left * each.floor[..., None, None]).sum(1) for each in self.low_rank.values()]).sum(0)

    def product(self, delta_GOD: Tensor) -> Tensor:
        """H times a change of the parameters.

        Args:
            delta_GOD: [G, O, D].

        Returns:
            [G, O, D].
        """
        product = None
        if self.left.shape[1]:
            inner_GKOD = torch.matmul(delta_GOD.unsqueeze(1), self.right)
            product = torch.bmm(self._wide, inner_GKOD.flatten(1, 2))
        if self.low_rank:
            widths = [each.vectors.shape[1] * each.vectors.shape[3] for each in self.low_rank.values()]
            along_GON = torch.bmm(delta_GOD, self._columns).split(widths, 2)
            back_GON = torch.cat([each.between(along) for each, along in zip(self.low_rank.values(), along_GON)], 2)
            rest = torch.bmm(self._rest, delta_GOD) if product is None else torch.baddbmm(product, self._rest, delta_GOD)
            product = torch.baddbmm(rest, back_GON, self._columns.mT)
        assert product is not None
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
        """The factors of all terms, those of low rank written out.

        Returns:
            Left [G, K, O, O] and right [G, K, D, D].
        """
        more = list(self.low_rank.values())
        return torch.cat([self.left, *(each.left for each in more)], 1), torch.cat([self.right, *(each.right() for each in more)], 1)

    def state_dict(self) -> dict[str, Any]:
        """What it is made of.

        Returns:
            Nested dictionaries of tensors.
        """
        low_rank = {name: {"left": each.left, "vectors": each.vectors, "floor": each.floor} for name, each in self.low_rank.items()}
        return {"left": self.left, "right": self.right, "low_rank": low_rank}


def from_state(state: dict[str, Any], device: torch.device) -> Kronecker:
    """Make a curvature from its saved state.

    Args:
        state: what `state_dict` gave.
        device: where it is put.

    Returns:
        The curvature.
    """
    low_rank = {name: LowRank(**{key: tensor.to(device) for key, tensor in each.items()}) for name, each in state["low_rank"].items()}
    return Kronecker(state["left"].to(device), state["right"].to(device), low_rank)


def truncated(curvature: Kronecker, tolerance: float) -> Kronecker:
    """The same with right factors f I + V V^T, where that is cheaper: the largest eigenvalues, and the mean of the others.

    Args:
        curvature: its right factors are positive semi-definite.
        tolerance: the relative error, in Frobenius norm, that each right factor may have; 0 leaves them all.

    Returns:
        Positive semi-definite too; a factor that would need more than a quarter of its eigenvectors is left as it is.
    """
    if tolerance == 0:
        return curvature
    values, vectors = _eigh(curvature.right)
    values, vectors = values.flip(2).clamp(min=0), vectors.flip(3)
    size = values.shape[2]
    counts = torch.arange(size, device=values.device)
    rest = values.sum(2, keepdim=True) - values.cumsum(2) + values
    floor = rest / (size - counts)
    squares = values.square()
    error = squares.sum(2, keepdim=True) - squares.cumsum(2) + squares - floor * rest
    enough = error.clamp(min=0) <= tolerance**2 * squares.sum(2, keepdim=True)
    needed = torch.where(enough, counts, size).amin(2).amax(0)
    dense, low_rank = [], dict(curvature.low_rank)
    for term, columns in enumerate(needed.tolist()):
        if columns > size // 4:
            dense.append(term)
            continue
        kept, chosen = floor[:, term, columns], slice(term, term + 1)
        weights = (values[:, chosen, :columns] - kept[:, None, None]).clamp(min=0).sqrt()
        columns_GJDR = vectors[:, chosen, :, :columns] * weights.unsqueeze(2)
        low_rank[f"term {term}"] = LowRank(curvature.left[:, chosen], columns_GJDR, kept[:, None])
    return Kronecker(curvature.left[:, dense], curvature.right[:, dense], low_rank)


DIVERGED = 1e8
"""Second moments of a layer's inputs so large are those of a network whose training has diverged."""


def _eigh(matrices: Tensor) -> tuple[Tensor, Tensor]:
    try:
        return torch.linalg.eigh(matrices)
    except torch.linalg.LinAlgError:
        if not float(matrices.abs().max()) < DIVERGED:
            raise
        # In single precision LAPACK gives up on some matrices of low rank, such as those of inputs that are nearly all padding.
        values, vectors = torch.linalg.eigh(matrices.double())
        return values.to(matrices), vectors.to(matrices)


def mean(terms: Sequence[Kronecker], total: float) -> Kronecker:
    """The mean of several curvatures, exactly: all their terms in one batch.

    Args:
        terms: of one layer.
        total: how many there are, those that are 0 (of tasks that had no such layer) included.

    Returns:
        Their sum, divided by `total`.
    """
    share = 1 / total
    names = dict.fromkeys(name for each in terms for name in each.low_rank)
    low_rank = {name: _joined([each.low_rank[name] for each in terms if name in each.low_rank], share) for name in names}
    left = torch.cat([each.left for each in terms], 1) * share
    return Kronecker(left, torch.cat([each.right for each in terms], 1), low_rank)


def _joined(parts: Sequence[LowRank], share: float) -> LowRank:
    width = max(each.vectors.shape[3] for each in parts)
    vectors = [torch.nn.functional.pad(each.vectors, (0, width - each.vectors.shape[3])) for each in parts]
    floor = torch.cat([each.floor for each in parts], 1)
    return LowRank(torch.cat([each.left for each in parts], 1) * share, torch.cat(vectors, 1), floor)


def running_mean(old: Kronecker, count: int, new: Kronecker) -> Kronecker:
    """The mean of the factors, each for itself: constant memory, and an approximation on top.

    Terms of low rank cost next to nothing: they are kept one by one.

    Args:
        old: the mean of `count` curvatures.
        count: how many.
        new: one more, of the same number of terms.

    Returns:
        The mean of `count + 1`.
    """
    share = 1 / (count + 1)
    low_rank = {}
    for name, each in new.low_rank.items():
        before = old.low_rank[name]
        kept = LowRank(before.left * (1 - share), before.vectors, before.floor)
        low_rank[name] = _joined([kept, LowRank(each.left * share, each.vectors, each.floor)], 1.0)
    return Kronecker(torch.lerp(old.left, new.left, share), torch.lerp(old.right, new.right, share), low_rank)
