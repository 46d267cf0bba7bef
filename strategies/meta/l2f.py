"""L2F: each task forgets a part of the initialisation before it adapts (Baik, Hong & Lee, CVPR 2020, arXiv 1906.05895).

    tau_l   = mean entry of the support loss's gradient with respect to tensor l of theta        the task's embedding
    gamma   = sigmoid(W2 relu(W1 tau + b1) + b2)                                                 one number a tensor
    theta_0 = gamma_l theta_l                                                                    then MAML's inner loop

It replaces the inner loop's step `initialise`. As in the authors' code tau is a constant for the outer gradient (their later code of ALFA
differentiates through it: `detach_embedding=false`), and gamma begins near one half. The coordinates of the head are 0 for every task, for
the gradients of cross-entropy sum to 0 over classes. A tensor that is normalised afterwards does not change the function when it is
attenuated: its relative step grows by 1 / gamma^2 instead. Where CxGrad sets such tensors' lengths anew, L2F acts on the head
alone.

The defaults are those of our MAML, for comparison's sake. The authors' protocol differs from them and is reached by options:
`--network conv4` with `network.filters=48 network.activation=leaky_relu network.bias=false network.initialisation=xavier`,
`strategy.first_order_iterations=5500` (their first 11 epochs of 500; second order afterwards), `strategy.over_tasks=sum`, on sets cut from
ImageNet `strategy.gradient_clamp=10`, and `evaluate.ensemble=3`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from strategies.meta.episodic.factored import Scaling
from strategies.meta.episodic.inner import Gradient, Initialise, View
from strategies.meta.episodic.network import Params
from strategies.meta.maml import Maml, MamlConfig

Form = Literal["sigmoid", "near-one"]


@dataclass(frozen=True, kw_only=True)
class L2FConfig(MamlConfig):
    """Options of `l2f`.

    Attributes:
        detach_embedding: take the task's embedding as a constant for the outer gradient.
        attenuation: sigmoid, between 0 and 1 (the paper's); or near-one, 0.7 + 0.3 sigmoid, which begins near MAML.
    """

    detach_embedding: bool = True
    attenuation: Form = "sigmoid"


class Attenuation(Scaling):
    """The step `initialise`: tensors shrink by what a small network makes of the task's embedding.

    Args:
        names: the tensors that it acts on.
        detached: whether the embedding is a constant for the outer gradient.
        form: of the attenuation.
    """

    def __init__(self, names: tuple[str, ...], detached: bool, form: Form) -> None:
        super().__init__()
        self.names, self.detached, self.form = names, detached, form
        self.attenuator = nn.Sequential(nn.Linear(len(names), len(names)), nn.ReLU(), nn.Linear(len(names), len(names)))

    def scales(self, embedding: Tensor) -> Tensor:
        """The attenuation.

        Args:
            embedding: [..., L].

        Returns:
            [..., L], between 0 and 1.
        """
        share = torch.sigmoid(self.attenuator(embedding))
        return share if self.form == "sigmoid" else 0.7 + 0.3 * share

    def forward(self, params: Params, view: View, gradient: Gradient) -> tuple[Params, Params]:
        """Attenuate.

        Args:
            params: the adapted tensors of theta.
            view: the episode.
            gradient: differentiates.

        Returns:
            The start, and the `attenuation` [L].
        """
        grads = gradient(view.support_loss, params, constant=self.detached)
        scales = self.scales(torch.stack([grads[name].mean() for name in self.names]))
        return {**params, **{name: scale * params[name] for name, scale in zip(self.names, scales)}}, {"attenuation": scales}


class L2F(Maml):
    """MAML from an attenuated initialisation."""

    Config = L2FConfig
    config: L2FConfig
    replaces: ClassVar[str] = "initialise"

    def initialise(self) -> Initialise:
        """The step that the method replaces.

        Returns:
            Attenuation of every adapted tensor whose length the loop does not set anew.
        """
        names = tuple(name for name in self.adapted if name not in self.rescaled)
        return Attenuation(names, self.config.detach_embedding, self.config.attenuation)
