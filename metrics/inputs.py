"""What metrics take: tensors, NumPy arrays and nested lists alike, of the shape that they need."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

Array = Any
"""A tensor, a NumPy array, or nested lists of numbers."""


def tensor(values: Array, name: str, shape: str, *, dtype: torch.dtype | None = None) -> Tensor:
    """Bring values into a tensor of the number of dimensions that is asked for.

    Args:
        values: a tensor (kept as it is, on its device), an array, or nested lists.
        name: what they are called in messages.
        shape: the shape wanted, one letter a dimension, as in `[N, K]`.
        dtype: the type wanted; None to keep the values' own (lists of numbers with a point become float64).

    Returns:
        The tensor.

    Raises:
        ValueError: they are no numbers, or have another number of dimensions.

    Example:
        >>> tensor([[1, 2], [3, 4]], "counts", "[N, K]").shape
        torch.Size([2, 2])
    """
    if not isinstance(values, Tensor):
        import numpy

        try:
            if isinstance(values, (list, tuple)):
                values = [part.tolist() if isinstance(part, Tensor) else part for part in values]
            values = torch.from_numpy(numpy.ascontiguousarray(values))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name} must be a tensor, an array or nested lists of numbers, of shape {shape}") from error
    wanted = shape.count(",") + 1 if shape != "[]" else 0
    if values.ndim != wanted:
        raise ValueError(f"{name} must have the shape {shape}, not {list(values.shape)}")
    return values if dtype is None else values.to(dtype)
