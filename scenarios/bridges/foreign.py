"""What bridges share: how another library is imported, and how its images become bytes."""

from __future__ import annotations

import contextlib
import importlib
import io
import warnings
from collections.abc import Iterable
from typing import Any

import numpy
import torch
from torch import Tensor

from scenarios.errors import UserError

INSTALL = {
    "avalanche": "Avalanche: pip install 'avalanche-lib>=0.6'",
    "learn2learn": "learn2learn: pip install --no-deps -r requirements-learn2learn.txt",
}
"""What a library is called, and how it is installed, by its package."""


def library(module: str) -> Any:
    """Import a part of another library, without what it says at import.

    Args:
        module: its name.

    Returns:
        The module.

    Raises:
        UserError: the library is not installed.
    """
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"this needs {INSTALL[module.split('.')[0]]} ({error})") from error


def as_bytes(images: Iterable[Any]) -> Tensor:
    """Bring images of another library to bytes.

    Args:
        images: PIL images, arrays [H, W] or [H, W, C], or tensors [H, W] or [C, H, W]: bytes, in [0, 1], or whole numbers up to 255; of one
            shape and one kind.

    Returns:
        uint8 [N, C, H, W].

    Raises:
        UserError: they are of several shapes, or of other numbers.

    Example:
        >>> as_bytes([torch.tensor([[0.0, 1.0]])]).tolist()
        [[[[0, 255]]]]
    """
    found = [_channels_first(image) for image in images]
    shapes = sorted({tuple(each.shape) for each in found})
    if len(shapes) > 1:
        raise UserError(f"the images have several shapes ({shapes[0]}, {shapes[1]}, ...); give the data set a transform that resizes them")
    stacked = torch.stack(found)
    if stacked.dtype == torch.uint8:
        return stacked
    low, high = float(stacked.min()), float(stacked.max())
    if 0 <= low and high <= 1:
        return stacked.mul_(255).round_().to(torch.uint8)
    whole = stacked.to(torch.uint8)
    if 0 <= low and high <= 255 and bool((whole == stacked).all()):
        return whole
    raise UserError("the images are neither bytes nor in [0, 1]; make the data set without normalisation")


def _channels_first(image: Any) -> Tensor:
    # [C, H, W], bytes or floats.
    if isinstance(image, Tensor):
        tensor = image if image.dtype == torch.uint8 else image.float()
        return tensor if tensor.ndim == 3 else tensor[None]
    array = numpy.array(image)
    array = array[:, :, None] if array.ndim == 2 else array
    return torch.from_numpy(array.transpose(2, 0, 1).astype(numpy.float32 if array.dtype.kind == "f" else numpy.uint8))
