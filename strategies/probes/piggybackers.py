"""Piggybackers: what a third party does to the weights that he was handed, before and while he trains them on his part of the source.

All but `kept-head` and `retain-only` put a new head on the trunk, weights from N(0, 0.01^2):

- `fresh-head`: everything is trained.
- `linear-probe`: the head alone is trained.
- `warm-up`: everything, at three times the rate, after a tenth of the steps at a tenth of it.
- `reinit`: the last block of the trunk is initialised anew first.
- `rescale`: against shrunken features: batch norms take the statistics of his examples; a trunk without any has each layer scaled to unit
  standard deviation on them (ReLU passes a scale through, so that what is computed stays the same up to it).
- `distil`: his network is also held to the released target head's answers, so that the trunk keeps what they need.
- `kept-head`, `kept-head-probe` (not tried unless asked for): he got hold of the old head as well, and trains everything, or it alone.
- `retain-only`: trains on the target alone, as released; the source is then asked through the old head, and through a linear probe.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from strategies.networks.cosine import CosineLinear
from strategies.networks.network import Head, Network
from strategies.networks.norms import Moments, norms
from strategies.networks.unit import units

DEFAULT = ("fresh-head", "linear-probe", "warm-up", "reinit", "rescale", "distil", "retain-only")
WITH_THE_OLD_HEAD = ("kept-head", "kept-head-probe")
NAMES = (*DEFAULT, *WITH_THE_OLD_HEAD)
WITH_ANOTHER_HEAD = ("distil", "retain-only")
"""Those that use what the network was released for."""
HEAD_DEVIATION = 0.01


def with_fresh_head(network: Network, classes: int, generator: torch.Generator) -> Network:
    """Copy a network and give it a head of one block.

    Args:
        network: is left as it is.
        classes: outputs of the head.
        generator: of its weights.

    Returns:
        The copy, every parameter ready to be trained.
    """
    made = copy.deepcopy(network)
    weight = next(network.parameters())
    made.head = Head(network.num_features, [range(classes)]).to(weight)
    block = made.head.blocks[0]
    assert isinstance(block, nn.Linear)
    with torch.no_grad():
        block.weight.copy_(HEAD_DEVIATION * torch.randn(block.weight.shape, generator=generator))
        block.bias.zero_()
    return made.requires_grad_()


def beside(network: Network, released: nn.Linear | CosineLinear) -> Network:
    """Put a copy of a released head's block behind the first block.

    Args:
        network: with a head of one block; is changed.
        released: the block.

    Returns:
        The network.
    """
    first = network.head.blocks[0]
    classes = network.head.width
    device = released.weight.device
    network.head = Head(network.num_features, [range(classes), range(classes, classes + released.out_features)]).to(device)
    network.head.blocks[0], network.head.blocks[1] = first, copy.deepcopy(released).requires_grad_()
    return network


@torch.no_grad()
def reinitialise_last(network: Network, generator: torch.Generator) -> None:
    """Initialise the last unit of the trunk anew: weights and biases uniform in +-1/sqrt(inputs), batch norm at the identity.

    Args:
        network: is changed.
        generator: of the weights.
    """
    unit = [unit for unit in units(network.backbone).values() if unit.layer is not None][-1]
    assert unit.layer is not None
    reach = unit.layer.weight[0].numel() ** -0.5
    for parameter in unit.layer.parameters():
        parameter.copy_((2 * torch.rand(parameter.shape, generator=generator) - 1) * reach)
    if unit.norm is not None:
        unit.norm.reset_parameters()


@torch.no_grad()
def rescale(network: Network, x: Tensor) -> None:
    """Give batch norms the statistics of some images, or each layer of a trunk without any the unit standard deviation on them.

    Args:
        network: is changed.
        x: float [B, C, H, W].
    """
    if norms(network):
        moments = Moments()
        moments.observe(network, x)
        for name, norm in norms(network).items():
            assert norm.running_mean is not None and norm.running_var is not None
            norm.running_mean.copy_(moments.mean[name])
            norm.running_var.copy_(moments.variance[name])
        return
    network.eval()
    grown = 1.0
    for unit in units(network.backbone).values():
        if unit.layer is None:
            continue
        if unit.layer.bias is not None:
            unit.layer.bias.mul_(grown)
        seen: list[Tensor] = []
        # Over examples, not between units: what biases alone tell apart is no signal.
        hook = unit.register_forward_hook(lambda _, inputs, output, seen=seen: seen.append(output.transpose(0, 1).flatten(1).std(1).mean()))
        network.features(x)
        hook.remove()
        factor = 1 / float(seen[0].clamp_min(1e-8))
        for parameter in unit.layer.parameters():
            parameter.mul_(factor)
        grown *= factor
