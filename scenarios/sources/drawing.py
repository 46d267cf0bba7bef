"""Shapes and textures as functions of the plane, for whole batches of images at once.

A shape is a signed distance (negative inside) in its own coordinates, about one unit wide; a texture is a value in 0..1.
Both take x and y [N, P], the coordinates of P pixels in N images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Plane = Callable[[Tensor, Tensor], Tensor]


def _polygon(corners: int, x: Tensor, y: Tensor) -> Tensor:
    sector = 2 * math.pi / corners
    angle = torch.remainder(torch.atan2(x, y), sector) - sector / 2
    return torch.hypot(x, y) * torch.cos(angle) - 0.85 * math.cos(sector / 2)


def _star(x: Tensor, y: Tensor) -> Tensor:
    return torch.hypot(x, y) - 0.62 - 0.32 * torch.cos(5 * torch.atan2(x, y))


def _box(x: Tensor, y: Tensor, width: float, height: float) -> Tensor:
    return torch.maximum(x.abs() - width, y.abs() - height)


def _heart(x: Tensor, y: Tensor) -> Tensor:
    return torch.hypot(x, 1.1 * y + 0.15 - 0.75 * x.abs().clamp(min=1e-3).sqrt() * 0.9) - 0.75


SHAPES: Sequence[Plane] = (
    lambda x, y: torch.hypot(x, y) - 0.8,
    lambda x, y: (torch.hypot(x, y) - 0.62).abs() - 0.24,
    lambda x, y: _box(x, y, 0.7, 0.7),
    lambda x, y: _polygon(3, x, y),
    lambda x, y: torch.minimum(_box(x, y, 0.9, 0.3), _box(x, y, 0.3, 0.9)),
    _star,
    lambda x, y: _box(x, y, 0.95, 0.34),
    lambda x, y: torch.maximum(torch.hypot(x, y) - 0.85, 0.62 - torch.hypot(x - 0.4, y)),
    _heart,
    lambda x, y: torch.minimum(_box(x + 0.5, y, 0.3, 0.9), _box(x, y - 0.6, 0.8, 0.3)),
)


def _wave(phase: Tensor) -> Tensor:
    return 0.5 + 0.5 * torch.tanh(3 * torch.sin(phase))


TEXTURES: Sequence[Plane] = (
    lambda x, y: _wave(7 * x),
    lambda x, y: _wave(7 * y),
    lambda x, y: _wave(10 * torch.hypot(x, y)),
    lambda x, y: _wave(6 * y + 2.2 * torch.sin(5 * x)),
    lambda x, y: _wave(4 * torch.atan2(x, y)),
    lambda x, y: torch.zeros_like(x),
    lambda x, y: 0.5 + 0.5 * torch.tanh(4 * torch.sin(6 * x) * torch.sin(6 * y)),
    lambda x, y: 0.5 + 0.5 * torch.tanh(4 * (torch.cos(7 * x) + torch.cos(7 * y) - 0.7)),
    lambda x, y: (0.5 + 0.6 * y).clamp(0, 1),
    lambda x, y: _wave(6 * (x + y) / math.sqrt(2)) * _wave(12 * (x - y) / math.sqrt(2)),
)


def evaluate(planes: Sequence[Plane], which: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Evaluate a different function in every image.

    Args:
        planes: the functions.
        which: int64 [N], each image's function.
        x: [N, P].
        y: [N, P].

    Returns:
        [N, P].
    """
    values = torch.empty_like(x)
    for i, plane in enumerate(planes):
        mine = (which == i).nonzero().flatten()
        if len(mine):
            values[mine] = plane(x[mine], y[mine])
    return values


def colours(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Turn hue, saturation and value into red, green and blue.

    Args:
        hue: [N], turns of the colour circle.
        saturation: [N], 0..1.
        value: [N], 0..1.

    Returns:
        [N, 3], 0..1.

    Example:
        >>> colours(torch.tensor([0.0]), torch.tensor([1.0]), torch.tensor([1.0])).tolist()
        [[1.0, 0.0, 0.0]]
    """
    position = torch.remainder(hue[:, None] * 6 + torch.tensor([5.0, 3.0, 1.0]), 6)
    dip = torch.minimum(position, 4 - position).clamp(0, 1)
    return value[:, None] * (1 - saturation[:, None] * dip)
