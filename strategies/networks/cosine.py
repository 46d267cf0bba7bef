"""A head's block whose outputs are cosines: neither a class's weights nor an image's features count for more by being long.

    logit_c(x) = eta cos(theta_c, h(x)),

with one learned eta for all blocks of a head (Hou et al., CVPR 2019, equation 4; Chen et al., ICLR 2019, section 3.3).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import Parameter, functional

from strategies.networks.network import Head


class CosineLinear(nn.Module):
    """Scaled cosines between features and the weights of each output.

    Args:
        weight: [outputs, F].
        scale: eta, a scalar; blocks may share it.
    """

    def __init__(self, weight: Parameter, scale: Parameter) -> None:
        super().__init__()
        self.weight, self.scale = weight, scale
        self.out_features, self.in_features = weight.shape

    def forward(self, features: Tensor) -> Tensor:
        """Answer.

        Args:
            features: [B, F].

        Returns:
            [B, outputs].
        """
        return self.scale * cosines(features, self.weight)


def cosines(features: Tensor, weight: Tensor) -> Tensor:
    """The cosine of each feature vector with each row of weights; 0 where one of them is 0.

    Args:
        features: [B, F].
        weight: [outputs, F].

    Returns:
        [B, outputs].

    Example:
        >>> cosines(torch.tensor([[3.0, 0.0]]), torch.tensor([[2.0, 0.0], [0.0, 1.0]])).tolist()
        [[1.0, 0.0]]
    """
    return functional.linear(functional.normalize(features, dim=1), functional.normalize(weight, dim=1))


def make_cosine(head: Head, scale: float) -> Parameter:
    """Let all blocks of a head answer by cosines, of the weights that they have; their biases go.

    Args:
        head: is changed.
        scale: where eta begins.

    Returns:
        Eta.
    """
    eta = Parameter(torch.full_like(head.blocks[0].weight[0, 0], scale))  # type: ignore[index]
    for number, block in enumerate(head.blocks):
        head.blocks[number] = CosineLinear(block.weight, eta)  # type: ignore[arg-type]
    return eta
