"""TPN: label propagation with a bandwidth learned for each example (Liu et al., ICLR 2019, arXiv 1805.10002).

    W_ij = exp(-d(z_i / sigma_i, z_j / sigma_j) / 2),   sigma_i = softplus g(z_i),   F = (I - alpha S)^-1 Y       (their equations 1 to 4)

d is the mean squared difference over features, of each row the k largest weights are kept, and g is a small convolutional network on the
feature maps (`strategies.meta.relation`), trained with the embedding on the cross-entropy of softmax(F) over support and queries. All but
the bandwidths is `label-propagation`, whose single one is the episode's own. Softplus, which keeps a bandwidth above 0, and where
bandwidths begin are ours: with alpha = 0.99 a wide kernel answers by degrees rather than by nearness.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scenarios.options import option
from strategies.meta.episodic.propagation import GraphConfig
from strategies.meta.label_propagation import LabelPropagation
from strategies.meta.prototypes import EmbeddingConfig
from strategies.meta.relation import map_shape, relation


@dataclass(frozen=True, kw_only=True)
class TpnConfig(EmbeddingConfig):
    """Options of `tpn`.

    Attributes:
        neighbours: of each example in the graph, itself among them; 0 for all.
        spread: alpha of label propagation.
        bandwidth: about what every sigma begins at.
    """

    neighbours: int = option(20, low=0)
    spread: float = option(0.99, low=0.001, high=0.999)
    bandwidth: float = option(0.25, low=0.001, high=100)


class Tpn(LabelPropagation):
    """Labels spread over a graph whose bandwidths are learned."""

    Config = TpnConfig  # type: ignore[assignment]
    config: TpnConfig  # type: ignore[assignment]

    def build_parts(self) -> nn.ModuleDict:
        """The network that finds bandwidths.

        Returns:
            It, by the name `bandwidth`.
        """
        self._shape = map_shape(self.net, self.theta, self.setup.scenario.input_shape)
        network = relation(self._shape[0], *self._shape)
        nn.init.constant_(network[-1].bias, math.log(math.expm1(self.config.bandwidth)))  # type: ignore[arg-type]
        return nn.ModuleDict({"bandwidth": network})

    @property
    def graph(self) -> GraphConfig:
        """The graph's options; bandwidths are in the features already."""
        return GraphConfig(neighbours=self.config.neighbours, spread=self.config.spread, bandwidth=1.0)

    def scaled(self, embedded: Tensor) -> Tensor:
        """Divide embeddings by their bandwidths.

        Args:
            embedded: [E, B, F].

        Returns:
            [E, B, F].
        """
        found = self.parts["bandwidth"](embedded.flatten(0, 1).unflatten(1, self._shape))
        return embedded / torch.nn.functional.softplus(found).view(*embedded.shape[:2], 1)
