"""A scalar whose gradient is known already: how a loss too large for memory is worked off in chunks and still is one loss to the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class _Known(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: list[Tensor | None], *parameters: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        return (None, None, *(None if gradient is None else outer[0] * gradient for gradient in ctx.gradients))


def known(value: Tensor, gradients: Sequence[Sequence[Tensor | None]], parameters: Sequence[Tensor]) -> Tensor:
    """Give a scalar its gradient.

    Args:
        value: the scalar, without graph.
        gradients: of each of its summands, with respect to each parameter; None where it does not depend on it.
        parameters: what it depends on.

    Returns:
        The scalar; its backward hands the summed gradients to the parameters.

    Example:
        >>> x = torch.tensor(2.0, requires_grad=True)
        >>> known(torch.tensor(8.0), [[torch.tensor(5.0)], [torch.tensor(7.0)]], [x]).backward()
        >>> x.grad
        tensor(12.)
    """
    summed = [_sum([each for each in column if each is not None]) for column in zip(*gradients)]
    return _Known.apply(value, summed, *parameters)


def _sum(values: list[Tensor]) -> Tensor | None:
    return torch.stack(values).sum(0) if values else None
