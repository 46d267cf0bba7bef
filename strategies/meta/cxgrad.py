"""CxGrad: a task's context sets the scale of the body's gradients in the inner loop (Lee, Lee & Song, WACV 2022, arXiv 2110.10353).

Before every use, the weights that a norm follows get a length of their own, from a context c that starts at 0 for every task:

    w~_l = gamma_l(c) w_l / |w_l|,    gamma = softplus(B relu(A c + a) + b)
    w_l <- w~_l - alpha dL/dw~_l      head <- head - alpha dL/dhead      c <- c - eta dL/dc

The function does not depend on those lengths, its gradient does: small gamma, large step (in effect alpha (|w_l| / gamma_l)^2). No gradient
is multiplied. As in the authors' code, c takes one step before the loop, a constant for the outer gradient; its weights are discarded. It
replaces the inner loop's step `step`.

For the same reason dL/dgamma, and so the context's own gradient, is 0 but for the norms' eps: what the context carries, eps carries
(`strategy.bn_eps`; `diagnostics` shows log gamma and |c| by task). We take the weights by the kind of layer, so convolutional biases are
left alone, and serve fully connected networks with norms as well.

The defaults are those of our MAML, for comparison's sake. The authors' protocol is reached by options: `--network conv4` with
`network.filters=48 network.activation=leaky_relu network.bias=false network.initialisation=xavier`, and `evaluate.ensemble=5`; second order
from the beginning, the mean over tasks and no clamp are the defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from scenarios.errors import UserError
from scenarios.options import option
from strategies.meta.episodic.inner import Gradient, Objective
from strategies.meta.episodic.inner import Step as InnerStep
from strategies.meta.episodic.network import Params
from strategies.meta.maml import Maml, MamlConfig


@dataclass(frozen=True, kw_only=True)
class CxGradConfig(MamlConfig):
    """Options of `cxgrad`.

    Attributes:
        context: length of the context.
        context_rate: the context's step size.
    """

    context: int = option(100, low=1)
    context_rate: float = option(1.0, low=0)


class ContextualStep(InnerStep):
    """The step `step`: gradient descent on weights of lengths that a context sets.

    Args:
        names: the weights that a norm follows.
        context: length of the context.
        context_rate: the context's step size.
    """

    def __init__(self, names: tuple[str, ...], context: int, context_rate: float) -> None:
        super().__init__()
        self.names, self.context, self.context_rate = names, context, context_rate
        self.generator = nn.Sequential(nn.Linear(context, context), nn.ReLU(), nn.Linear(context, len(names)), nn.Softplus())

    def gammas(self, context: Tensor, params: Params) -> Tensor:
        """The lengths.

        Args:
            context: [context].
            params: the weights as they are; not used, for it is the context that decides.

        Returns:
            [L], above 0.
        """
        return self.generator(context)

    def start(self, params: Params, objective: Objective, gradient: Gradient) -> Params:
        """The context's step before the loop.

        Args:
            params: where the loop starts.
            objective: of the first step.
            gradient: differentiates.

        Returns:
            The `context`.
        """
        context = torch.zeros_like(self.generator[0].bias)  # type: ignore[arg-type]
        rescaled, directions = self._rescale(params, self.gammas(context, params))
        grads = gradient(objective, rescaled, constant=True)
        return {"context": self._move(context, params, directions, grads, gradient, constant=True)}

    def forward(
        self, params: Params, state: Params, objective: Objective, rates: Mapping[str, Tensor | float], gradient: Gradient
    ) -> tuple[Params, Params, Params]:
        """Take one step.

        Args:
            params: the parameters.
            state: the context.
            objective: to descend on.
            rates: step size of each tensor.
            gradient: differentiates.

        Returns:
            Parameters and context after it; `log_gamma` [L] before it, and the `context_norm` after it.
        """
        gammas = self.gammas(state["context"], params)
        rescaled, directions = self._rescale(params, gammas)
        grads = gradient(objective, rescaled)
        context = self._move(state["context"], params, directions, grads, gradient)
        moved = {name: value - rates[name] * grads[name] for name, value in rescaled.items()}
        return moved, {"context": context}, {"log_gamma": gammas.log(), "context_norm": context.norm()}

    def _rescale(self, params: Params, gammas: Tensor) -> tuple[Params, Params]:
        directions = {name: params[name] / params[name].norm() for name in self.names}
        return {**params, **{name: gamma * directions[name] for name, gamma in zip(self.names, gammas)}}, directions

    def _move(
        self, context: Tensor, params: Params, directions: Params, grads: Params, gradient: Gradient, constant: bool = False
    ) -> Tensor:
        by_gamma = torch.stack([(grads[name] * directions[name]).sum() for name in self.names])
        by_context = gradient(lambda at: (self.gammas(at["context"], params) * by_gamma).sum(), {"context": context}, constant)
        return context - self.context_rate * by_context["context"]


class CxGrad(Maml):
    """MAML with contextual gradient scaling."""

    Config = CxGradConfig
    config: CxGradConfig
    replaces: ClassVar[str] = "step"

    @property
    def rescaled(self) -> tuple[str, ...]:
        """The names of the weights that a norm follows."""
        return tuple(layer.weight for layer in self.net.affines if layer.normalised)

    def step(self) -> InnerStep:
        """The step that the method replaces.

        Returns:
            Gradient descent on weights of lengths that a context sets.

        Raises:
            UserError: the network has no norms.
        """
        if not self.rescaled:
            raise UserError("cxgrad scales weights that a batch norm follows; set network.norm=batch")
        return ContextualStep(self.rescaled, self.config.context, self.config.context_rate)
