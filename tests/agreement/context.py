"""One outer step of CxGrad, loop by loop, from what its authors' code does (Lee, Lee & Song, WACV 2022).

A network of 4, 5, 4 and 3 units with batch norms, one episode of three classes, a context of 3 numbers, three inner steps. Norms use
each pass's own batch, in the inner loop and for the queries. The step that the context takes before the loop is a constant for the outer
loss: when weights are moved to form the outer gradient, it stays that of the weights where the gradient is taken.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.agreement.plain import Array, cross_entropy, derivative, normalised, relu, wave

INNER_STEPS, INNER_RATE, CONTEXT_RATE, EPS, CONTEXT, DIFFERENCE = 3, 0.1, 5.0, 0.1, 3, 1e-5
Weights = dict[str, Array]

SHAPES = {
    "backbone.1.layer.weight": (5, 4), "backbone.1.layer.bias": (5,), "backbone.1.norm.weight": (5,), "backbone.1.norm.bias": (5,),
    "backbone.3.layer.weight": (4, 5), "backbone.3.layer.bias": (4,), "backbone.3.norm.weight": (4,), "backbone.3.norm.bias": (4,),
    "head.blocks.0.weight": (3, 4), "head.blocks.0.bias": (3,),
}  # fmt: skip
GENERATOR_SHAPES = {"0.weight": (3, 3), "0.bias": (3,), "2.weight": (2, 3), "2.bias": (2,)}
SCALED = ("backbone.1.layer.weight", "backbone.3.layer.weight")
ADAPTED = tuple(name for name in SHAPES if "norm" not in name)
LABELS = np.array([0, 1, 2, 0, 1, 2])
SUPPORT, QUERY = wave((6, 4), 0.3), wave((6, 4), 2.9)
NETWORK = {name: 0.6 * wave(shape, place) + ("norm.weight" in name) for place, (name, shape) in enumerate(SHAPES.items())}
GENERATOR = {name: wave(shape, 20 + place) for place, (name, shape) in enumerate(GENERATOR_SHAPES.items())}
ALONG_NETWORK = {name: wave(shape, 30 + place) for place, (name, shape) in enumerate(SHAPES.items())}
ALONG_GENERATOR = {name: wave(shape, 50 + place) for place, (name, shape) in enumerate(GENERATOR_SHAPES.items())}


def logits(weights: Weights, x: Array) -> Array:
    for unit in ("backbone.1", "backbone.3"):
        out = x @ weights[f"{unit}.layer.weight"].T + weights[f"{unit}.layer.bias"]
        x = relu(normalised(out, weights[f"{unit}.norm.weight"], weights[f"{unit}.norm.bias"], EPS))
    return x @ weights["head.blocks.0.weight"].T + weights["head.blocks.0.bias"]


def loss(weights: Weights, x: Array) -> complex:
    return complex(cross_entropy(logits(weights, x), LABELS).mean())


def lengths(generator: Weights, context: Array) -> Array:
    hidden = relu(generator["0.weight"] @ context + generator["0.bias"])
    return np.log(1 + np.exp(generator["2.weight"] @ hidden + generator["2.bias"]))


def scaled(weights: Weights, at: Array) -> Weights:
    """The weights that a norm follows, at the lengths given."""
    changed = {name: length * weights[name] / np.sqrt((weights[name] ** 2).sum()) for name, length in zip(SCALED, at)}
    return {**weights, **changed}


def context_gradient(weights: Weights, generator: Weights, context: Array) -> Array:
    return derivative(lambda at: loss(scaled(weights, lengths(generator, at)), SUPPORT), context)


def support_gradient(weights: Weights, name: str) -> Array:
    return derivative(lambda value: loss({**weights, name: value}, SUPPORT), weights[name])


def before_the_loop(weights: Weights, generator: Weights) -> Array:
    return -CONTEXT_RATE * context_gradient(weights, generator, np.zeros(CONTEXT))


def outer(weights: Weights, generator: Weights, context: Array) -> tuple[float, list[list[float]], list[float]]:
    """The query loss after the loop, the lengths' logarithms in each step, and the context's length after it."""
    logarithms, sizes = [], []
    for _ in range(INNER_STEPS):
        gammas = lengths(generator, context)
        at = scaled(weights, gammas)
        climb = context_gradient(weights, generator, context)
        gradient = {name: support_gradient(at, name) for name in ADAPTED}
        weights = {name: value - INNER_RATE * gradient[name] if name in gradient else value for name, value in at.items()}
        context = context - CONTEXT_RATE * climb
        logarithms.append(np.log(gammas).tolist())
        sizes.append(float(np.sqrt((context**2).sum())))
    return loss(weights, QUERY).real, logarithms, sizes


def moved(weights: Weights, direction: Weights, step: float) -> Weights:
    return {name: value + step * direction[name] for name, value in weights.items()}


def outputs() -> dict[str, Any]:
    context = before_the_loop(NETWORK, GENERATOR)
    value, logarithms, sizes = outer(NETWORK, GENERATOR, context)

    def slope(network: float, generator: float) -> float:
        ends = []
        for step in (DIFFERENCE, -DIFFERENCE):
            at = moved(NETWORK, ALONG_NETWORK, step * network), moved(GENERATOR, ALONG_GENERATOR, step * generator)
            ends.append(outer(*at, context)[0])
        return (ends[0] - ends[1]) / (2 * DIFFERENCE)

    return {
        "outer_loss": value,
        "log_gamma": logarithms,
        "context_norm": sizes,
        "outer_gradient_along_network": slope(1, 0),
        "outer_gradient_along_generator": slope(0, 1),
    }


def inputs() -> dict[str, Any]:
    """What the numbers were made from; no seed, for nothing is drawn."""
    of_network = {"network": NETWORK, "along_network": ALONG_NETWORK}
    of_generator = {"generator": GENERATOR, "along_generator": ALONG_GENERATOR}
    weights = {part: {key: value.tolist() for key, value in each.items()} for part, each in (of_network | of_generator).items()}
    rates = {"inner_steps": INNER_STEPS, "inner_rate": INNER_RATE, "context_rate": CONTEXT_RATE, "bn_eps": EPS}
    return {"seed": None, "support": SUPPORT.tolist(), "query": QUERY.tolist(), "labels": LABELS.tolist(), **rates, **weights}
