"""All tasks of a meta-batch at once, without a per-task weight: exact for linear layers under gradient descent.

A step on a linear layer with inputs x_s [S, I] and gradients delta_s [S, O] of its outputs is W - rate delta_s^T x_s. So after k steps

    h W_k^T = scale (h W^T) - sum_j rate_j (h x_j^T) delta_j

with W shared by all tasks, which makes the first term one large product for the whole meta-batch, and the second two small ones. Per layer
and step only (x_j, delta_j) are kept; delta_j is a gradient with respect to activations, taken with its graph where second order is wanted.
L2F's attenuation is the per-task `scale`. It serves networks whose adapted layers are all linear: MLPs, and the head of any network (ANIL).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from strategies.meta.episodic.inner import Initialise, InnerLoop, Step, Support, Task, cross_entropy, statistics
from strategies.meta.episodic.network import Affine, Norm, Normalise, Params
from strategies.meta.episodic.passes import Passes
from strategies.networks.network import OUT_OF_PLAY


class Scaling(Initialise):
    """An `initialise` that multiplies each adapted tensor by a number of the task's own; so the factored engine can serve it."""

    detached = True
    """Whether the embedding is a constant for the outer gradient."""

    def scales(self, embedding: Tensor) -> Tensor:
        """The numbers; these change nothing.

        Args:
            embedding: [..., L], the mean entry of the support loss's gradient with respect to each adapted tensor.

        Returns:
            [..., L].
        """
        return torch.ones_like(embedding)


def serves(inner: InnerLoop) -> bool:
    """Whether the engine can carry out an inner loop.

    Args:
        inner: the inner loop.

    Returns:
        True where what adapts is linear, `step` and `support` are MAML's, and `initialise` at most scales.
    """
    linear = all(layer.convolution is None for layer in inner.net.affines if layer.weight in inner.adapted)
    start = type(inner.initialise) is Initialise or isinstance(inner.initialise, Scaling)
    return linear and start and type(inner.step) is Step and type(inner.support) is Support


class _Linear:
    """One layer with the factors of its updates so far.

    The input of the first adapted layer is the same in every step, so its products are made once and its factors add up.
    """

    def __init__(self, layer: Affine, inner: InnerLoop, groups: int, first: bool) -> None:
        self.layer, self.groups, self.first = layer, groups, first
        self.weight = inner.theta[layer.weight]
        self.bias = inner.theta[layer.bias] if layer.bias is not None else None
        self.adapted_bias = layer.bias if layer.bias in inner.adapted else None
        self.scale: Tensor | None = None
        self.bias_scale: Tensor | None = None
        self.x: Tensor | None = None
        self.delta: Tensor | None = None
        self.bias_delta: Tensor | None = None
        self._known: list[tuple[Tensor, Tensor]] = []
        self._grams: list[tuple[Tensor, Tensor]] = []

    def __call__(self, rows: Tensor) -> Tensor:
        x = rows.unflatten(0, (self.groups, -1))
        base, gram = self._products(rows, x)
        out = base if self.scale is None else base * self.scale
        if self.bias is not None:
            bias = self.bias if self.bias_scale is None else self.bias * self.bias_scale
            out = out + bias if self.bias_delta is None else out + (bias - self.bias_delta)
        if self.delta is not None:
            assert gram is not None
            out = torch.baddbmm(out, gram, self.delta, alpha=-1)
        return out.flatten(0, 1)

    def _products(self, rows: Tensor, x: Tensor) -> tuple[Tensor, Tensor | None]:
        base = self._once(self._known, rows, lambda: x @ self.weight.T)
        if self.x is None:
            return base, None
        others = self.x.transpose(1, 2)
        return base, self._once(self._grams, rows, lambda: x @ others)

    def _once(self, known: list[tuple[Tensor, Tensor]], rows: Tensor, make: Callable[[], Tensor]) -> Tensor:
        found = next((product for seen, product in known if seen is rows), None)
        if found is None:
            found = make()
            if self.first:
                known.append((rows, found))
        return found

    def take(self, rows: Tensor, delta: Tensor, rates: Mapping[str, Tensor | float]) -> None:
        x, delta = rows.unflatten(0, (self.groups, -1)), delta.unflatten(0, (self.groups, -1))
        scaled = rates[self.layer.weight] * delta
        if self.x is None or self.delta is None:
            self.x, self.delta = x, scaled
        elif self.first:
            self.delta = self.delta + scaled
        else:
            self.x, self.delta = torch.cat([self.x, x], 1), torch.cat([self.delta, scaled], 1)
        if self.adapted_bias is not None:
            moved = rates[self.adapted_bias] * delta.sum(1, keepdim=True)
            self.bias_delta = moved if self.bias_delta is None else self.bias_delta + moved


class _Factored:
    """The network with factored layers, applied to a whole meta-batch."""

    def __init__(self, inner: InnerLoop, tasks: Task) -> None:
        self.inner, self.groups = inner, len(tasks["targets"])
        adapted = [layer for layer in inner.net.affines if layer.weight in inner.adapted]
        self.layers = {layer.weight: _Linear(layer, inner, self.groups, layer is adapted[0]) for layer in adapted}
        flat = {name: value.flatten(0, 1) for name, value in tasks.items()}
        if not inner.head_only:
            flat["support_x"], flat["query_x"] = flat["support_x"].flatten(1), flat["query_x"].flatten(1)
        self.passes: Passes = inner.passes(flat, self.groups, native=True)
        self.targets, self.present = tasks["targets"], tasks.get("present")
        self._seen: list[tuple[_Linear, Tensor, Tensor]] = []
        self._fixed = (self.passes.support(self._body), self.passes.query(self._body)) if inner.head_only else None

    def step(self, rates: Mapping[str, Tensor | float]) -> None:
        for layer, x, delta in self.deltas(create_graph=not self.inner.first_order):
            layer.take(x, delta, rates)

    # Each layer's input, and the support loss's gradient with respect to its output.
    def deltas(self, create_graph: bool) -> list[tuple[_Linear, Tensor, Tensor]]:
        with torch.enable_grad():
            self._seen.clear()
            features = self._fixed[0] if self._fixed is not None else self.passes.support(self._body)
            loss = cross_entropy(self._head(features), self.targets).sum()
            seen = list(self._seen)
            grads = torch.autograd.grad(loss, [out for _, _, out in seen], create_graph=create_graph)
        return [(layer, x if create_graph else x.detach(), grad) for (layer, x, _), grad in zip(seen, grads)]

    def answer(self) -> Tensor:
        return self._head(self._fixed[1] if self._fixed is not None else self.passes.query(self._body))

    def _body(self, x: Tensor, normalise: Normalise) -> Tensor:
        theta = self.inner.theta
        for layer in self.inner.net.layers:
            if isinstance(layer, Affine):
                x = self._apply(self.layers[layer.weight], x) if layer.weight in self.layers else layer(theta, x)
            elif isinstance(layer, Norm):
                x = normalise(layer.index, x, theta[layer.weight], theta[layer.bias])
            else:
                x = layer(x)
        return x

    def _head(self, features: Tensor) -> Tensor:
        logits = self._apply(self.layers[self.inner.net.head.weight], features).unflatten(0, (self.groups, -1))
        return logits if self.present is None else logits.masked_fill(self.present[:, None] == 0, OUT_OF_PLAY)

    def _apply(self, layer: _Linear, x: Tensor) -> Tensor:
        out = layer(x)
        self._seen.append((layer, x, out))
        return out


def run(inner: InnerLoop, tasks: Task) -> Params:
    """Adapt to all episodes of a meta-batch together.

    Args:
        inner: an inner loop that the engine serves.
        tasks: the episodes, stacked.

    Returns:
        What `InnerLoop.run` gives, stacked.
    """
    network = _Factored(inner, tasks)
    found: Params = {}
    if isinstance(inner.initialise, Scaling):
        found = _scale(network, inner.initialise, inner.adapted)
    answers = [network.answer()] if 0 in inner.answers else []
    for k, rates in enumerate(inner.rates):
        network.step(rates)
        if k + 1 in inner.answers:
            answers.append(network.answer())
    return {"logits": torch.stack(answers, 1), **{n: v[:, None] for n, v in statistics(network.passes).items()}, **found}


def _scale(network: _Factored, scaling: Scaling, adapted: tuple[str, ...]) -> Params:
    mean: Params = {}
    for layer, rows, delta in network.deltas(create_graph=not (scaling.detached or network.inner.first_order)):
        x, delta = rows.unflatten(0, (network.groups, -1)).sum(2), delta.unflatten(0, (network.groups, -1))
        mean[layer.layer.weight] = (x * delta.sum(2)).sum(1) / layer.weight.numel()
        if layer.adapted_bias is not None:
            mean[layer.adapted_bias] = delta.sum((1, 2)) / delta.shape[2]
    scales = scaling.scales(torch.stack([mean[name] for name in adapted], 1))
    for layer in network.layers.values():
        layer.scale = scales[:, adapted.index(layer.layer.weight), None, None]
        if layer.adapted_bias is not None:
            layer.bias_scale = scales[:, adapted.index(layer.adapted_bias), None, None]
    return {"attenuation": scales}
