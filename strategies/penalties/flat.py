"""A network's parameters as one vector: what diagonal penalties keep, they keep in vectors of this layout.

A vector has a view for each parameter, of the parameter's shape and strides (channels last included): what is done in a training step is a
few fused operations on lists of tensors of equal layout, and what is done at the end of an experience is algebra on one vector.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import Parameter


class Vector:
    """One number for each scalar parameter.

    Args:
        parameters: what the vector runs along.

    Attributes:
        flat: [P], the numbers.
        views: the same memory, shaped like the parameters.
    """

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        first = parameters[0]
        sizes = [parameter.numel() for parameter in parameters]
        self.flat = torch.zeros(sum(sizes), dtype=first.dtype, device=first.device)
        self.views = [
            part.as_strided(parameter.shape, parameter.stride()) for part, parameter in zip(self.flat.split(sizes), parameters)
        ]


class Flat:
    """The layout: which parameters, in which order.

    Args:
        parameters: all parameters of the network; those that are not trained are left out.

    Example:
        >>> layer = torch.nn.Linear(2, 1)
        >>> flat = Flat(layer.parameters())
        >>> len(flat), flat.read().equal(torch.cat([layer.weight.flatten(), layer.bias]))
        (3, True)
    """

    def __init__(self, parameters: Iterable[Parameter]) -> None:
        self.parameters = [parameter for parameter in parameters if parameter.requires_grad]

    def __len__(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters)

    def zeros(self) -> Vector:
        """Make a vector.

        Returns:
            A vector of zeros.
        """
        return Vector(self.parameters)

    @torch.no_grad()
    def read(self) -> Tensor:
        """The parameters' present values.

        Returns:
            [P], a copy.
        """
        copy = self.zeros()
        torch._foreach_copy_(copy.views, list[Tensor](self.parameters))
        return copy.flat

    def in_play(self) -> list[int]:
        """The parameters that the last backward pass reached.

        Returns:
            Their places among `parameters`.
        """
        return [place for place, parameter in enumerate(self.parameters) if parameter.grad is not None]

    def gradients(self, places: Sequence[int]) -> list[Tensor]:
        """Gradients of parameters in play.

        Args:
            places: what `in_play` gave.

        Returns:
            The gradients themselves, not copies.
        """
        found = [self.parameters[place].grad for place in places]
        return [gradient for gradient in found if gradient is not None]
