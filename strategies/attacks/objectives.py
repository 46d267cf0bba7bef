"""What a poisoned batch's gradient should be: objectives that an adversary lowers.

With g_p the gradient that the victim will follow on the poisoned batch, g_tau that of the target experience's loss (the way up), and
g_flip that of the target's images under wrong labels, one victim's step of rate eta changes the target's loss by -eta <g_tau, g_p>, to
first order:

    inner    <g_tau, g_p>
    cosine   cos(g_tau, g_p)
    flip     -cos(g_flip, g_p)                    Li & Ditzler, IJCNN 2022, in form
    unroll   -l_tau(theta - eta g_p)              Abbasi et al., BrainWash, CVPR 2024, in form: exact for one step

The gradients are lists over the parameters that both losses reach.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def inner(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """The inner product of two lists of tensors.

    Args:
        first: tensors.
        second: tensors of the same shapes.

    Returns:
        A scalar.
    """
    return torch.stack([(one * two).sum() for one, two in zip(first, second)]).sum()


def cosine(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """The cosine of the angle between two lists of tensors.

    Args:
        first: tensors.
        second: tensors of the same shapes.

    Returns:
        A scalar in [-1, 1]; 0 where one of them is 0.

    Example:
        >>> round(float(cosine([torch.tensor([3.0, 0.0])], [torch.tensor([1.0, 1.0])])), 4)
        0.7071
    """
    # A square root is not differentiable at 0, where a gradient vanishes.
    tiny = torch.finfo(first[0].dtype).tiny
    return inner(first, second) / (inner(first, first).clamp_min(tiny).sqrt() * inner(second, second).clamp_min(tiny).sqrt())


def flipped(targets: Tensor, outputs: range, generator: torch.Generator) -> Tensor:
    """Wrong labels, each of the others equally likely.

    Args:
        targets: int64 [n].
        outputs: from which labels are, at least two.
        generator: on the CPU.

    Returns:
        int64 [n], none equal to its target.
    """
    shift = torch.randint(1, len(outputs), targets.shape, generator=generator).to(targets.device)
    return outputs.start + (targets - outputs.start + shift) % len(outputs)
