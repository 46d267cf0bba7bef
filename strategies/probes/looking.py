"""What probes of features share: a fixed selection of examples, and what a trunk makes of it."""

from __future__ import annotations

import torch
from torch import Tensor

from scenarios.experience import Examples
from strategies.networks.network import Network

BATCH = 1000


def spread(examples: Examples, count: int) -> Examples:
    """Choose evenly: examples lie class by class, so the first of them would be of one class.

    Args:
        examples: what is chosen from.
        count: how many at most.

    Returns:
        The selection, the same every time.

    Example:
        >>> import scenarios
        >>> test = scenarios.make("split-digits").experiences[0].test
        >>> chosen = spread(test, 10)
        >>> len(chosen), len(chosen.targets.unique())
        (10, 2)
    """
    total = len(examples)
    if total <= count:
        return examples
    return examples.select((torch.arange(count) * total // count).to(examples.rows.device))


@torch.no_grad()
def features(network: Network, examples: Examples) -> Tensor:
    """What a network's head would see.

    Args:
        network: is put into evaluation mode.
        examples: N images.

    Returns:
        [N, F].
    """
    network.eval()
    return torch.cat([network.features(examples.batch(slice(start, start + BATCH)).x) for start in range(0, len(examples), BATCH)])
