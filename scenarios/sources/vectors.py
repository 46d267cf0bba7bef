"""Features [N, F], as a frozen backbone gives them: kept as the real numbers that they are, without a scale to be told."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from scenarios.sources.base import check
from scenarios.sources.decoded import Pixels


def are_vectors(arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether arrays hold a vector an example, not an image.

    Args:
        arrays: by name.

    Returns:
        True where one has two dimensions; then all must.
    """
    return any(array.ndim == 2 for array in arrays.values())


def from_vectors(arrays: Mapping[str, np.ndarray]) -> tuple[Pixels, list[str]]:
    """Put features of all sides into one array; to be used inside `reading`.

    Half precision stays so (half the memory), everything else becomes float32.

    Args:
        arrays: by name, real numbers [N, F].

    Returns:
        float32 or float16 [N, F, 1, 1], the features of all arrays one after another; and what the user should know.

    Example:
        >>> from_vectors({"x": np.zeros((5, 3))})[0].shape
        (5, 3, 1, 1)
    """
    first = next(iter(arrays))
    for name, array in arrays.items():
        shapes = f"{name} has the shape {array.shape}, {first} {arrays[first].shape}"
        check(array.ndim == 2, f"{shapes}; give features [N, F] in all arrays")
        whole = f"{name} has the shape {array.shape} and holds {array.dtype}: images are [N, H, W], and features real numbers"
        check(array.dtype.kind == "f", f"{whole}; give {name}.reshape(-1, HEIGHT, WIDTH) or {name}.astype('float32')")
        check(array.size > 0, f"{name} has the shape {array.shape}, and so no features")
        check(array.shape[1] == arrays[first].shape[1], f"{first} has {arrays[first].shape[1]} features, {name} {array.shape[1]}")
    half = all(array.dtype.itemsize == 2 for array in arrays.values())
    with np.errstate(over="ignore"):
        features = np.concatenate([array.astype(np.float16 if half else np.float32) for array in arrays.values()])
    check(bool(np.isfinite(features).all()), "it has features that are not finite numbers (of 32 bits)")
    wide = any(array.dtype.itemsize > 4 for array in arrays.values())
    kind = "16 bits, as they are" if half else "32 bits" + (", rounded to that" if wide else ", as they are")
    return features[:, :, None, None], [f"{features.shape[1]} features of {first} are kept in {kind}"] if half or wide else []
