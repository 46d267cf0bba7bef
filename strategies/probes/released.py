"""The network that a probe is handed, whatever the learner: one trunk and a head, and normalisation that does not hang on the batch.

A learner that has one network for all hands it out as it is. One whose network computes otherwise by experience answers `part(experience)`:
what answers that experience, as a network by itself. This is all that a probe asks of a learner.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from strategies.networks.network import Network
from strategies.networks.norms import Moments, Norm, norms
from strategies.soft_targets import frozen_copy


@runtime_checkable
class ByExperience(Protocol):
    """A network that computes otherwise by experience."""

    def part(self, task: int | None) -> Network:
        """What answers an experience, as a network by itself.

        Args:
            task: the experience; None for the whole of the network.
        """


def can_release(network: object) -> bool:
    """Whether a learner's network can be handed to a probe.

    Args:
        network: the learner's.

    Returns:
        True or false.
    """
    return isinstance(network, (Network, ByExperience))


def released(network: nn.Module, about: int | None) -> Network:
    """Copy what a learner hands out.

    Args:
        network: the learner's.
        about: the experience that is asked for; None for no particular one.

    Returns:
        A frozen copy in evaluation mode.
    """
    if isinstance(network, ByExperience):
        return network.part(about).eval().requires_grad_(False)
    assert isinstance(network, Network)
    return frozen_copy(network)


@torch.no_grad()
def give_statistics(network: Network, x: Tensor) -> None:
    """Give batch norms whose moving averages were never moved the statistics of some images; no label is looked at.

    Initial weights have such norms, and learners of episodes that normalise by the batch.

    Args:
        network: may be changed; its parameters take gradients afterwards.
        x: float [B, C, H, W].
    """
    known = norms(network.requires_grad_())
    if not known or not all(_unmoved(norm) for norm in known.values()):
        return
    moments = Moments()
    moments.observe(network, x, training=True)
    for name, norm in known.items():
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.copy_(moments.mean[name])
        norm.running_var.copy_(moments.variance[name])


def _unmoved(norm: Norm) -> bool:
    mean, variance = norm.running_mean, norm.running_var
    return mean is not None and variance is not None and not mean.any() and bool((variance == 1).all())
