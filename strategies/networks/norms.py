"""Batch norms as affine maps: read one off, express it by other statistics, measure the statistics of what flows into it.

In evaluation mode a batch norm is y = s x + t with s = gamma / sqrt(v + eps) and t = beta - s mu, channel by channel. The same map can be
written with any statistics (mu', v'), by gamma' = s sqrt(v' + eps) and beta' = beta + s (mu' - mu). With the statistics of the data it is
also the map in training mode, on these data: so a network whose layers were merged can be trained on as if it had always had these norms.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Norm = nn.BatchNorm1d | nn.BatchNorm2d


def affine(norm: Norm) -> tuple[Tensor, Tensor]:
    """What a batch norm does in evaluation mode.

    Args:
        norm: the batch norm.

    Returns:
        Scale and shift, [C] each.

    Example:
        >>> scale, shift = affine(nn.BatchNorm1d(2, eps=0.0))
        >>> scale.tolist(), shift.tolist()
        ([1.0, 1.0], [0.0, 0.0])
    """
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias - scale * norm.running_mean


@torch.no_grad()
def standardise_by(norm: Norm, mean: Tensor, variance: Tensor) -> None:
    """Express a batch norm by other statistics; in evaluation mode it computes the same as before.

    Args:
        norm: is changed.
        mean: [C], its running mean from now on.
        variance: [C], its running variance from now on.
    """
    assert norm.running_mean is not None and norm.running_var is not None
    double = torch.float64
    scale = norm.weight.to(double) / torch.sqrt(norm.running_var.to(double) + norm.eps)
    norm.bias.copy_(norm.bias.to(double) + scale * (mean.to(double) - norm.running_mean.to(double)))
    norm.weight.copy_(scale * torch.sqrt(variance.to(double) + norm.eps))
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)


class Moments:
    """Mean and biased variance, by channel, of what flows into each batch norm of a network in evaluation mode.

    Batches are joined as they come: with n' of n + n' examples new, and d the distance between both means, the variance of all is the
    mean of both variances by these shares, plus n n' d^2 / (n + n')^2. In float64.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: dict[str, Tensor] = {}
        self.variance: dict[str, Tensor] = {}

    @torch.no_grad()
    def observe(self, network: nn.Module, x: Tensor, *, training: bool = False) -> None:
        """Take a batch into account.

        Args:
            network: is put into evaluation mode, unless `training` asks for the other.
            x: its input, [B, ...].
            training: whether the norms before each norm shall normalise by the batch.
        """
        network.train(training)
        share = len(x) / (self.count + len(x))

        def join(name: str, flowing: Tensor) -> None:
            variance, mean = torch.var_mean(flowing, [axis for axis in range(flowing.dim()) if axis != 1], correction=0)
            mean, variance = mean.double(), variance.double()
            away = mean - self.mean.setdefault(name, torch.zeros_like(mean))
            known = self.variance.setdefault(name, torch.zeros_like(mean))
            self.mean[name] = self.mean[name] + share * away
            self.variance[name] = (1 - share) * known + share * variance + share * (1 - share) * away.square()

        hooks = []
        for name, norm in norms(network).items():
            hooks.append(norm.register_forward_pre_hook(lambda _, inputs, name=name: join(name, inputs[0])))
        network(x)
        for hook in hooks:
            hook.remove()
        self.count += len(x)

    def standardise(self, network: nn.Module) -> None:
        """Express each batch norm by the statistics that were measured.

        Args:
            network: is changed; in evaluation mode it computes the same as before.
        """
        for name, norm in norms(network).items():
            standardise_by(norm, self.mean[name], self.variance[name])

    def state_dict(self) -> dict[str, Any]:
        """What has been measured so far.

        Returns:
            Nested dictionaries of tensors and plain values.
        """
        return {"count": self.count, "mean": dict(self.mean), "variance": dict(self.variance)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
        """
        self.count, self.mean, self.variance = state["count"], dict(state["mean"]), dict(state["variance"])


def norms(network: nn.Module) -> dict[str, Norm]:
    """Find the batch norms of a network, those that are frozen excepted: they are fixed affine maps.

    Args:
        network: the network.

    Returns:
        The batch norms by their names.
    """
    found = {name: module for name, module in network.named_modules() if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d))}
    return {name: norm for name, norm in found.items() if not is_frozen(norm)}


def is_frozen(module: nn.Module) -> bool:
    """Whether a module is a batch norm that is not trained; it then normalises by its running statistics and leaves them as they are.

    Args:
        module: any module.

    Returns:
        True for a batch norm with parameters none of which takes a gradient.
    """
    if not isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) or not module.affine:
        return False
    return not any(parameter.requires_grad for parameter in module.parameters())


@contextmanager
def still(network: nn.Module) -> Iterator[None]:
    """While it lasts, passes in training mode do not move running statistics: they are those of what is learned, each batch counted once.

    Args:
        network: the network.

    Yields:
        Nothing.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta):
            norm.momentum = momentum
