"""SI, ALASSO, MAS and EWC on one stream, a number at a time, from what their papers and authors' code state.

Three experiences of four steps on a network of 4, 3 and 2 units with ReLU; SGD with momentum, whose state goes on from one experience to
the next. Zenke et al. 2017 for SI (importances add up and are cut off at 0, as in the authors' code), Park et al. 2019 for ALASSO, Aljundi
et al. 2018 for MAS, Kirkpatrick et al. 2017 for EWC (one parabola for each experience, kept in a list), Schwarz et al. 2018 for its online
form.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.agreement.plain import Array, cross_entropy, derivative, log_shares, relu, wave

EXPERIENCES, STEPS, RATE, MOMENTUM = 3, 4, 0.2, 0.9
SHAPES = {"backbone.1.layer.weight": (3, 4), "backbone.1.layer.bias": (3,), "head.blocks.0.weight": (2, 3), "head.blocks.0.bias": (2,)}
LABELS = np.array([0, 1, 0, 1, 1, 0])
START = np.concatenate([0.8 * wave(shape, place).ravel() for place, shape in enumerate(SHAPES.values())])
ELSEWHERE = 0.1 * wave(START.shape, 40)

AUTHORS = {
    "strength": 1.0, "a": 1.8, "eps": 1e-6, "strength_update": 1.0, "a_update": 1.0, "eps_update": 0.0, "xi": 0.1, "omega_smoothing": 1.0,
}  # fmt: skip
OTHERS = {
    "strength": 1.3, "a": 2.5, "eps": 0.05, "strength_update": 0.7, "a_update": 1.2, "eps_update": 0.1, "xi": 0.03, "omega_smoothing": 0.6,
}  # fmt: skip
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "si": ("si", {"strength": 1.0, "xi": 0.1}),
    "alasso": ("alasso", AUTHORS),
    "alasso, other settings": ("alasso", OTHERS),
    "mas": ("mas", {"strength": 0.5}),
    "ewc, exact": ("ewc", {"strength": 3.0, "fisher": "exact"}),
    "ewc, empirical": ("ewc", {"strength": 3.0, "fisher": "empirical"}),
    "ewc, batch": ("ewc", {"strength": 3.0, "fisher": "batch"}),
    "online-ewc": ("online-ewc", {"strength": 3.0, "fisher": "exact", "gamma": 0.8}),
}


def images(experience: int, step: int) -> Array:
    """The batch of a step; the pass that measures, after training, sees those of all steps."""
    return 1.5 * wave((6, 4), 3 * experience + 0.7 * step)


def logits(theta: Array, x: Array) -> Array:
    parts, behind = [], 0
    for shape in SHAPES.values():
        parts.append(theta[behind : behind + int(np.prod(shape))].reshape(shape))
        behind += int(np.prod(shape))
    first, shift, last, offset = parts
    return relu(x @ first.T + shift) @ last.T + offset


def task_gradient(theta: Array, x: Array) -> Array:
    return derivative(lambda at: cross_entropy(logits(at, x), LABELS).mean(), theta)


def by_label(theta: Array, x: Array, label: int) -> Array:
    return derivative(lambda at: log_shares(logits(at, x[None]))[0, label], theta)


def fisher(theta: Array, batches: list[Array], kind: str) -> Array:
    """Mean over examples; of `batch` over batches."""
    if kind == "batch":
        return np.mean([task_gradient(theta, x) ** 2 for x in batches], 0)
    found = []
    for x in np.concatenate(batches):
        shares = np.exp(log_shares(logits(theta, x[None]))[0])
        found.append([shares[label] * by_label(theta, x, label) ** 2 for label in range(2)])
    if kind == "exact":
        return np.mean([sum(each) for each in found], 0)
    labels = np.tile(LABELS, len(batches))
    return np.mean([by_label(theta, x, label) ** 2 for x, label in zip(np.concatenate(batches), labels)], 0)


def sensitivity(theta: Array, batches: list[Array]) -> Array:
    """Of MAS: the size of the derivative of the squared length of the logits."""

    def of_one(x: Array) -> Array:
        return abs(derivative(lambda at: (logits(at, x[None]) ** 2).sum(), theta))

    return np.mean([of_one(x) for x in np.concatenate(batches)], 0)


def surrogate(x: complex, importance: float, side: int, a: float, eps: float) -> complex:
    """ALASSO's loss of one parameter at the distance x from its centre."""
    if x.real * side > 0:
        return (a * importance + eps) * x * x
    return importance * x * x


class Penalty:
    """What a method keeps, and its penalty; `parabolas` has (importance, centre) of each."""

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        self.name, self.options = name, options
        self.importance, self.centre, self.path = np.zeros_like(START), START.copy(), np.zeros_like(START)
        self.side = np.ones(len(START), dtype=int)
        self.parabolas: list[tuple[Array, Array]] = []
        self.learned = 0

    def value(self, theta: Array) -> complex:
        strength, total = self.options["strength"], 0j
        if self.name == "alasso":
            for k, each in enumerate(theta):
                if self.learned:
                    total += surrogate(each - self.centre[k], self.importance[k], self.side[k], self.options["a"], self.options["eps"])
            return strength * total
        for importance, centre in self.parabolas:
            for k, each in enumerate(theta):
                total += importance[k] * (each - centre[k]) ** 2
        return strength * total / (2 if "ewc" in self.name else 1)

    def step(self, gradient: Array, move: Array) -> None:
        for k in range(len(move)):
            self.path[k] -= gradient[k] * move[k]

    def consolidate(self, theta: Array, batches: list[Array]) -> None:
        name, options = self.name, self.options
        if name in ("si", "alasso"):
            for k in range(len(theta)):
                self.consolidate_one(k, theta[k] - self.centre[k])
        elif name == "mas":
            self.importance = self.importance + sensitivity(theta, batches)
        elif name == "ewc":
            measured = fisher(theta, batches, options["fisher"])
            self.importance = self.importance + measured
            self.parabolas.append((measured, theta.copy()))
        else:
            self.importance = options["gamma"] * self.importance + fisher(theta, batches, options["fisher"])
        self.centre, self.path = theta.copy(), np.zeros_like(theta)
        if name != "ewc":
            self.parabolas = [(self.importance.copy(), self.centre)]
        self.learned += 1

    def consolidate_one(self, k: int, moved: float) -> None:
        options, before = self.options, self.importance[k]
        if self.name == "si":
            self.importance[k] = max(0.0, before + self.path[k] / (moved**2 + options["xi"]))
            return
        old = surrogate(moved, before, self.side[k], options["a_update"], options["eps_update"]).real
        candidate = (self.path[k] - options["strength_update"] * old) / (moved**2 + options["xi"])
        smoothing = options["omega_smoothing"]
        self.importance[k] = max(smoothing * candidate + (1 - smoothing) * before, before)
        if moved != 0:
            self.side[k] = 1 if moved > 0 else -1


def outputs(case: str) -> dict[str, Any]:
    """Importances and parameters after each experience, and the penalty at last at a place elsewhere."""
    name, options = CASES[case]
    penalty, theta, velocity = Penalty(name, options), START.copy(), np.zeros_like(START)
    importances, parameters = [], []
    for experience in range(EXPERIENCES):
        for step in range(STEPS):
            gradient = task_gradient(theta, images(experience, step))
            velocity = MOMENTUM * velocity + gradient + derivative(penalty.value, theta)
            moved = theta - RATE * velocity
            penalty.step(gradient, moved - theta)
            theta = moved
        penalty.consolidate(theta, [images(experience, step) for step in range(STEPS)])
        importances.append(penalty.importance.tolist())
        parameters.append(theta.tolist())
    return {"importance": importances, "parameters": parameters, "penalty_elsewhere": penalty.value(theta + ELSEWHERE).real}


def inputs() -> dict[str, Any]:
    """What the numbers were made from; no seed, for nothing is drawn."""
    return {
        "seed": None,
        "images": [[images(experience, step).tolist() for step in range(STEPS)] for experience in range(EXPERIENCES)],
        "labels": LABELS.tolist(),
        "parameters": START.tolist(),
        "elsewhere": ELSEWHERE.tolist(),
        "learning_rate": RATE,
        "momentum": MOMENTUM,
        "options": {case: {"strategy": name, **options} for case, (name, options) in CASES.items()},
    }
