"""What the references are made of: inputs written by a formula, small networks in plain NumPy, and derivatives without any derivation.

A derivative is taken entry by entry as Im f(x + i h) / h with h = 1e-30: no difference is formed, so it is exact to rounding, and no line
of backward pass is written that could hold the mistake of another. It takes one forward pass for each entry.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Array = np.ndarray
IMAGINARY = 1e-30


def wave(shape: tuple[int, ...], phase: float) -> Array:
    """Numbers that hang on no generator."""
    return np.sin(1.7 * np.arange(1, 1 + int(np.prod(shape))) + phase).reshape(shape)


def derivative(scalar: Callable[[Array], complex], at: Array) -> Array:
    """The derivative of a scalar by each entry of an array."""
    found = np.zeros(at.shape)
    for place in np.ndindex(at.shape):
        moved = at.astype(complex)
        moved[place] += 1j * IMAGINARY
        found[place] = scalar(moved).imag / IMAGINARY
    return found


def relu(x: Array) -> Array:
    return x * (x.real > 0)


def normalised(x: Array, scale: Array, shift: Array, eps: float) -> Array:
    """Batch norm by the batch's own mean and biased variance."""
    centred = x - x.mean(0)
    return scale * centred / np.sqrt((centred * centred).mean(0) + eps) + shift


def log_shares(logits: Array) -> Array:
    """Logarithm of the softmax, row by row."""
    below = logits - logits.real.max(1, keepdims=True)
    return below - np.log(np.exp(below).sum(1, keepdims=True))


def cross_entropy(logits: Array, labels: Array) -> Array:
    """Loss of each example."""
    return np.array([-row[label] for row, label in zip(log_shares(logits), labels)])
