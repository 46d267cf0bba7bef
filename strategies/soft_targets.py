"""Soft targets: a network is held to another one's answers (Hinton et al. 2015, arXiv 1503.02531). LwF, ResCL and the disposals use it."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

N = TypeVar("N", bound=nn.Module)


def distillation(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Divergence of a student's softened answers from a teacher's, D_KL(teacher || student), times the square of the temperature.

    The square keeps the gradient's size independent of the temperature. Half precision is widened first.

    Args:
        student: logits [B, K].
        teacher: logits [B, K], without graph.
        temperature: by which both are divided before the softmax.

    Returns:
        Mean over the batch; a scalar, 0 where both agree.

    Example:
        >>> logits = torch.tensor([[1.0, 2.0]])
        >>> distillation(logits, logits, 2.0).item()
        0.0
    """
    kind = torch.promote_types(student.dtype, torch.float32)
    answers = functional.log_softmax(student.to(kind) / temperature, 1)
    wanted = functional.log_softmax(teacher.to(kind) / temperature, 1)
    return functional.kl_div(answers, wanted, reduction="batchmean", log_target=True) * temperature**2


def frozen_copy(network: N) -> N:
    """Copy a network that is to be asked, never trained.

    Args:
        network: the network.

    Returns:
        A copy in evaluation mode that shares no tensor with it and whose parameters take no gradient.
    """
    return copy.deepcopy(network).eval().requires_grad_(False)
