"""The collision of gradients, and its gradient without a graph of all of them.

For chunks i = 1..n with gradients g_i = grad_w l_i, u_i = g_i / (||g_i|| + tau), s = sum g_i and U = sum u_i,

    inner   L = 2 / (n (n - 1)) sum_{i<j} <g_i, g_j> = (||s||^2 - sum ||g_i||^2) / (n (n - 1))
    cosine  the same of the u_i; it lies between -1 / (n - 1) (where U = 0) and 1.

Since dL/dg_i = v_i is known, grad L = sum_i H_i v_i with H_i the Hessian of chunk i (its mixed block, where the gradient is wanted with
respect to other parameters than w):

    inner   v_i = 2 / (n (n - 1)) (s - g_i)
    cosine  v_i = 2 / (n (n - 1)) (I - u_i u_i^T) (U - u_i) / ||g_i||       (here with tau, exactly)

`direct` differentiates the expression through all n gradients at once and holds n graphs. `two_pass` first takes the gradients, then, chunk
by chunk, differentiates <g_i(w), v_i> with v_i held fixed, and holds one graph at a time. Both give the same to rounding.
`finite_difference` takes H_i v_i as the central difference of chunk i's gradient along v_i: first-order steps alone, as Fish (Shi et al.,
ICLR 2022) and Reptile (Nichol et al. 2018) make them, which raise the same inner product for the sake of generalisation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

Form = Literal["cosine", "inner"]
TAU = 1e-12
Losses = Sequence[Callable[[], Tensor]]


def collision(gradients: Tensor, form: Form) -> Tensor:
    """The mean over pairs of the gradients' cosines, or of their inner products.

    Args:
        gradients: [n, P], n >= 2.
        form: cosine or inner.

    Returns:
        A scalar.

    Example:
        >>> round(float(collision(torch.tensor([[3.0, 0.0], [0.0, 2.0], [0.0, -1.0]]), "cosine")), 4)
        -0.3333
    """
    n = len(gradients)
    rows = gradients / (torch.linalg.vector_norm(gradients, dim=1, keepdim=True) + TAU) if form == "cosine" else gradients
    return (rows.sum(0).square().sum() - rows.square().sum()) / (n * (n - 1))


def pushes(gradients: Tensor, form: Form) -> Tensor:
    """The derivative of the collision with respect to each gradient.

    Args:
        gradients: [n, P], n >= 2, without graph.
        form: cosine or inner.

    Returns:
        [n, P].
    """
    scale = 2 / (len(gradients) * (len(gradients) - 1))
    if form == "inner":
        return scale * (gradients.sum(0) - gradients)
    lengths = torch.linalg.vector_norm(gradients, dim=1, keepdim=True)
    directions = gradients / (lengths + TAU)
    others = directions.sum(0) - directions
    # The derivative of ||g|| at 0 is taken as 0: where a gradient vanishes, `directions` does.
    along = (directions * others).sum(1, keepdim=True) / lengths.clamp_min(torch.finfo(lengths.dtype).tiny)
    return scale * (others - gradients * along) / (lengths + TAU)


def direct(losses: Losses, inner: Sequence[Tensor], outer: Sequence[Tensor], form: Form) -> tuple[Tensor, list[Tensor]]:
    """The collision and its gradient, through a graph of all chunks.

    Args:
        losses: compute the loss of each chunk.
        inner: the parameters w of the gradients that collide.
        outer: the parameters that L is differentiated by.
        form: cosine or inner.

    Returns:
        The value without graph, and its gradient by each of `outer`.
    """
    gradients = torch.stack([_flat(torch.autograd.grad(loss(), inner, create_graph=True)) for loss in losses])
    value = collision(gradients, form)
    return value.detach(), _gradient(value, outer)


def two_pass(losses: Losses, inner: Sequence[Tensor], outer: Sequence[Tensor], form: Form) -> tuple[Tensor, list[Tensor]]:
    """The collision and its gradient, with the memory of one chunk's graph.

    Args:
        losses: compute the loss of each chunk; each is called twice.
        inner: the parameters w of the gradients that collide.
        outer: the parameters that L is differentiated by.
        form: cosine or inner.

    Returns:
        The value without graph, and its gradient by each of `outer`.
    """
    gradients = torch.stack([_flat(torch.autograd.grad(loss(), inner)) for loss in losses])
    total = [torch.zeros_like(parameter) for parameter in outer]
    for loss, push in zip(losses, pushes(gradients, form)):
        surrogate = _flat(torch.autograd.grad(loss(), inner, create_graph=True)) @ push
        for sum_, part in zip(total, _gradient(surrogate, outer)):
            sum_ += part
    return collision(gradients, form), total


def finite_difference(losses: Losses, inner: Sequence[Tensor], outer: Sequence[Tensor], form: Form) -> tuple[Tensor, list[Tensor]]:
    """The collision and its gradient by central differences, without second derivatives.

    Args:
        losses: compute the loss of each chunk; each is called three times.
        inner: the parameters w of the gradients that collide; moved to and fro, and left as they were, bit for bit.
        outer: the parameters that L is differentiated by.
        form: cosine or inner.

    Returns:
        The value without graph, and its gradient by each of `outer`.
    """
    gradients = torch.stack([_flat(torch.autograd.grad(loss(), inner)) for loss in losses])
    before = [parameter.detach().clone() for parameter in inner]
    # A central difference errs least, by rounding and by curvature, about the cube root of the precision.
    reach = torch.finfo(gradients.dtype).eps ** (1 / 3) * torch.linalg.vector_norm(_flat(before))
    total = [torch.zeros_like(parameter) for parameter in outer]
    for loss, push in zip(losses, pushes(gradients, form)):
        size = torch.linalg.vector_norm(push)
        if not size > 0:
            continue
        step = reach / size
        for sign in (1, -1):
            _move(inner, before, sign * step * push)
            for sum_, part in zip(total, _gradient(loss(), outer)):
                sum_ += sign * part / (2 * step)
    _move(inner, before, torch.zeros_like(gradients[0]))
    return collision(gradients, form), total


def _move(inner: Sequence[Tensor], before: Sequence[Tensor], by: Tensor) -> None:
    for parameter, was, part in zip(inner, before, by.split([was.numel() for was in before])):
        # Behind autograd's back: a graph of the retaining loss may be waiting, and finds the same bits again.
        parameter.data.copy_(was + part.view_as(was))


def _flat(parts: Sequence[Tensor]) -> Tensor:
    # In float32 at least: sums over all parameters of half-precision products would be noise.
    return torch.cat([part.flatten().to(torch.promote_types(part.dtype, torch.float32)) for part in parts])


def _gradient(value: Tensor, outer: Sequence[Tensor]) -> list[Tensor]:
    found = torch.autograd.grad(value, outer, allow_unused=True)
    return [torch.zeros_like(parameter) if part is None else part for parameter, part in zip(outer, found)]
