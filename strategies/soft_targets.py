"""Soft targets: a network is held to another one's answers (Hinton et al. 2015, arXiv 1503.02531). LwF, ResCL and the disposals use it."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from strategies.networks.network import Network

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


def binary_distillation(student: Tensor, y: Tensor, teacher: Tensor | None) -> Tensor:
    """Loss of a multi-class network of independent outputs that keeps its old answers (Rebuffi et al. 2017, iCaRL, algorithm 3).

    Every output has a binary cross-entropy: the old ones' targets are the old network's answers, the others' whether they are right.

    Args:
        student: logits [B, K].
        y: int64 [B], the outputs that are right.
        teacher: the old network's logits of the first outputs, [B, M], without graph; None where nothing is old.

    Returns:
        Sum over outputs, mean over the batch; a scalar.

    Example:
        >>> round(binary_distillation(torch.zeros(1, 2), torch.tensor([1]), torch.zeros(1, 1)).item(), 4)
        1.3863
    """
    kind = torch.promote_types(student.dtype, torch.float32)
    wanted = functional.one_hot(y, student.shape[1]).to(kind)
    if teacher is not None:
        wanted[:, : teacher.shape[1]] = teacher.to(kind).sigmoid()
    return functional.binary_cross_entropy_with_logits(student.to(kind), wanted, reduction="sum") / len(y)


class Teacher:
    """A network as it was before an experience, kept while that is learned.

    Args:
        network: the network.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self.copy: Network | None = None

    def keep(self) -> None:
        """Copy the network as it is."""
        self.copy = frozen_copy(self._network)

    def drop(self) -> None:
        """Forget the copy."""
        self.copy = None

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """What the old network's head sees.

        Args:
            x: float [B, C, H, W], normalised.

        Returns:
            [B, F].
        """
        assert self.copy is not None
        return self.copy.features(x)

    @torch.no_grad()
    def logits(self, x: Tensor, outputs: range) -> Tensor:
        """What the old network answers.

        Args:
            x: float [B, C, H, W], normalised.
            outputs: those of one or more adjacent blocks.

        Returns:
            [B, len(outputs)].
        """
        assert self.copy is not None
        return self.copy.head.narrow(self.copy.features(x), outputs)

    def state_dict(self) -> dict[str, Any] | None:
        """The copy.

        Returns:
            Its state; None where there is none.
        """
        return None if self.copy is None else self.copy.state_dict()

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        """Take up a saved copy.

        Args:
            state: what `state_dict` gave.
        """
        self.drop()
        if state is not None:
            self.keep()
            assert self.copy is not None
            self.copy.load_state_dict(state)


def frozen_copy(network: N) -> N:
    """Copy a network that is to be asked, never trained.

    Args:
        network: the network.

    Returns:
        A copy in evaluation mode that shares no tensor with it and whose parameters take no gradient.
    """
    return copy.deepcopy(network).eval().requires_grad_(False)
