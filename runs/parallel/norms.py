"""Batch norms that normalise by the whole batch, of which each process has a share.

Each process contributes count, mean and sum of squared deviations of its share in one exchange; they are put together after Chan, Golub and
LeVeque (1983), so that statistics, running averages and gradients are those of one process up to rounding. (Torch's own SyncBatchNorm runs
on GPUs alone.) Outside of a step that is shared the norms are torch's: what all processes compute alike is exchanged by none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn


class _Exchange(torch.autograd.Function):
    """Everybody's values, from everybody's own; a gradient goes back to where its value came from."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        everybody = own.new_zeros(distributed.get_world_size(), len(own))
        everybody[distributed.get_rank()] = own
        distributed.all_reduce(everybody)
        return everybody

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous()
        distributed.all_reduce(gradient)
        return gradient[distributed.get_rank()]


class _Shared:
    """What is common to shared batch norms of all dimensions."""

    sharing = False

    def forward(self, x: Tensor) -> Tensor:
        """Normalise.

        Args:
            x: [B, C, ...], this process's share of the batch in a step that is shared.

        Returns:
            The same shape.
        """
        assert isinstance(self, nn.modules.batchnorm._BatchNorm)
        if not (_Shared.sharing and self.training):
            return super().forward(x)  # type: ignore[misc]
        self._check_input_dim(x)
        mean, variance, count = statistics(x)
        if self.track_running_stats:
            self._follow(mean.detach(), variance.detach(), count.detach())
        shape = (1, -1, *[1] * (x.ndim - 2))
        scale = torch.rsqrt(variance + self.eps)
        shift = -mean * scale
        if self.affine:
            scale, shift = scale * self.weight, shift * self.weight + self.bias
        # In one type: half precision has its statistics in single.
        return (x * scale.view(shape) + shift.view(shape)).to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        assert isinstance(self, nn.modules.batchnorm._BatchNorm)
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var), share)


class Shared1d(_Shared, nn.BatchNorm1d):
    """BatchNorm1d of a batch that several processes share."""


class Shared2d(_Shared, nn.BatchNorm2d):
    """BatchNorm2d of a batch that several processes share."""


class Shared3d(_Shared, nn.BatchNorm3d):
    """BatchNorm3d of a batch that several processes share."""


KINDS: dict[type[nn.Module], type[nn.Module]] = {nn.BatchNorm1d: Shared1d, nn.BatchNorm2d: Shared2d, nn.BatchNorm3d: Shared3d}


def statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and variance over the shares of all processes.

    Args:
        x: [B, C, ...], this process's share.

    Returns:
        Mean [C] and biased variance [C], with their gradients, and the number of values in each channel [].
    """
    x = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    over = [each for each in range(x.ndim) if each != 1]
    variance, mean = torch.var_mean(x, over, correction=0)
    number = x.numel() // x.shape[1]
    everybody = _Exchange.apply(torch.cat([mean, variance, mean.new_tensor([number])]))
    means, variances, numbers = everybody[:, : len(mean)], everybody[:, len(mean) : -1], everybody[:, -1:].detach()
    count = numbers.sum()
    shares = numbers / count
    whole = (shares * means).sum(0)
    return whole, (shares * (variances + (means - whole).square())).sum(0), count


def share(network: nn.Module) -> None:
    """Make the batch norms of a network such that they can share a batch; state and names stay as they are.

    Args:
        network: any network.
    """
    for module in network.modules():
        kind = KINDS.get(type(module))
        if kind is not None:
            module.__class__ = kind


@contextmanager
def sharing(shared: bool) -> Iterator[None]:
    """While it lasts, batch norms in training mode see a share of a batch.

    Args:
        shared: false where each process sees the whole batch.
    """
    _Shared.sharing = shared
    try:
        yield
    finally:
        _Shared.sharing = False
