"""K-FAC, XK-FAC and the exact Gauss-Newton blocks of one batch, by sums over examples and pairs and by Kronecker products written out.

Martens & Grosse 2015 for B_0 (x) A_0; for pairs of different examples, which batch norms in training mode make depend on each other, the
equation reconstructed from Lee et al. 2020: B_0 (x) A_0 + (N - 1) B_1 (x) A_1. A network of 4, 3, 3 and 2 units with batch norms, six
examples, labels given for K-FAC and XK-FAC; derivatives are those of the batch's summed loss by what comes out behind a layer's own norm.
The exact blocks, over the labels' distribution, are those of a change D of the merged layer, y + D (a, 1), sent through the whole batch.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from tests.agreement.plain import Array, cross_entropy, derivative, log_shares, normalised, relu, wave

WIDTHS, CLASSES, EPS, EXAMPLES = (4, 3, 3), 2, 1e-5, 6
LAYERS = ("backbone.1", "backbone.3", "head.blocks.0")
COUPLED = ("backbone.1",)
"""Layers with a norm behind their tap; of the others pairs have no term."""

SHAPES = {
    "backbone.1.layer.weight": (3, 4), "backbone.1.layer.bias": (3,), "backbone.1.norm.weight": (3,), "backbone.1.norm.bias": (3,),
    "backbone.3.layer.weight": (3, 3), "backbone.3.layer.bias": (3,), "backbone.3.norm.weight": (3,), "backbone.3.norm.bias": (3,),
    "head.blocks.0.weight": (2, 3), "head.blocks.0.bias": (2,),
}  # fmt: skip
NETWORK = {name: wave(shape, 2 + place) + 0.3 * ("norm" in name) for place, (name, shape) in enumerate(SHAPES.items())}
IMAGES = wave((EXAMPLES, 4), 0.3) + 0.5
LABELS = np.array([0, 1, 1, 0, 1, 0])


def forward(added: dict[str, Array]) -> tuple[dict[str, Array], Array]:
    """What flows into each layer, a 1 appended, and the logits; `added` comes to what a layer puts out behind its norm."""
    x, seen = IMAGES, {}
    for name in LAYERS:
        seen[name] = np.concatenate([x, np.ones((len(x), 1))], 1)
        head = name.startswith("head")
        x = x @ NETWORK[f"{name}.weight" if head else f"{name}.layer.weight"].T + NETWORK[f"{name}.bias" if head else f"{name}.layer.bias"]
        if not head:
            x = normalised(x, NETWORK[f"{name}.norm.weight"], NETWORK[f"{name}.norm.bias"], EPS)
        x = x + added.get(name, 0)
        if not head:
            x = relu(x)
    return seen, x


def outer_means(rows: Array, others: bool) -> Array:
    """The mean of x_n x_m^T over n = m, or over all pairs n != m."""
    pairs = [(n, m) for n, m in product(range(len(rows)), repeat=2) if (n != m) == others]
    return np.mean([np.outer(rows[n], rows[m]) for n, m in pairs], 0)


def kronecker(left: Array, right: Array) -> Array:
    """B (x) A, entry by entry."""
    (o, _), (d, _) = left.shape, right.shape
    found = np.zeros((o * d, o * d))
    for i, j, k, m in product(range(o), range(o), range(d), range(d)):
        found[i * d + k, j * d + m] = left[i, j] * right[k, m]
    return found


def width(name: str) -> int:
    return CLASSES if name.startswith("head") else WIDTHS[1 + LAYERS.index(name)]


def blocks(name: str) -> tuple[Array, Array]:
    """K-FAC's block and XK-FAC's, for the labels given."""
    inputs = forward({})[0][name]
    g = derivative(lambda at: cross_entropy(forward({name: at})[1], LABELS).sum(), np.zeros((EXAMPLES, width(name))))
    kfac = kronecker(outer_means(g, False), outer_means(inputs, False))
    if name not in COUPLED:
        return kfac, kfac
    return kfac, kfac + (EXAMPLES - 1) * kronecker(outer_means(g, True), outer_means(inputs, True))


def jacobian(name: str) -> Array:
    """Derivatives of all logits by the change of a layer, [N, C, O * D]."""
    inputs = forward({})[0][name]
    at = np.zeros((width(name), inputs.shape[1]))

    def of_one(n: int, c: int) -> Array:
        return derivative(lambda change: forward({name: inputs @ change.T})[1][n, c], at).ravel()

    return np.array([[of_one(n, c) for c in range(CLASSES)] for n in range(EXAMPLES)])


def exact(name: str) -> Array:
    """1/N sum_n J_n^T (diag p_n - p_n p_n^T) J_n."""
    shares = np.exp(log_shares(forward({})[1]))
    return np.mean([j.T @ (np.diag(p) - np.outer(p, p)) @ j for j, p in zip(jacobian(name), shares)], 0)


def outputs() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in LAYERS:
        kfac, extended = blocks(name)
        found[name] = {"kfac": kfac.tolist(), "exact": exact(name).tolist()}
        if name in COUPLED:
            found[name]["xkfac"] = extended.tolist()
    return found


def inputs() -> dict[str, Any]:
    """What the numbers were made from; no seed, for nothing is drawn."""
    network = {name: value.tolist() for name, value in NETWORK.items()}
    return {"seed": None, "images": IMAGES.tolist(), "labels": LABELS.tolist(), "bn_eps": EPS, "network": network}
