"""Meta-SGD: a step size for every weight, learned with the initialisation (Li, Zhou, Chen & Li, arXiv 1707.09835, 2017).

    theta' = theta - alpha o grad L_support(theta),    (theta, alpha) <- (theta, alpha) - Adam of grad mean_tasks L_query(theta')

(their equations 3 and 4). alpha has the size of theta, so that it sets the direction of a step as well as its length; it may become
negative. All of it begins at `inner_rate`. The paper takes one inner step, which is the default here; several share one alpha. It replaces
the inner loop's step `step`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from scenarios.errors import UserError
from scenarios.options import option
from strategies.meta.episodic.inner import Gradient, Objective, Step
from strategies.meta.episodic.network import Params
from strategies.meta.maml import Maml, MamlConfig


@dataclass(frozen=True, kw_only=True)
class MetaSgdConfig(MamlConfig):
    """Options of `metasgd`.

    Attributes:
        inner_steps: adaptation steps in training; none for 1 on images of one channel, else 5.
    """

    inner_steps: int | None = option(1, low=1)


class OwnRates(Step):
    """The step `step`: gradient descent with a learned step size for every weight.

    Args:
        like: the adapted tensors by name.
        rate: where step sizes begin.
    """

    def __init__(self, like: Params, rate: float) -> None:
        super().__init__()
        self.names = tuple(like)
        self.rates = nn.ParameterList([torch.full_like(value, rate, requires_grad=True) for value in like.values()])

    def forward(
        self, params: Params, state: Params, objective: Objective, rates: Mapping[str, Tensor | float], gradient: Gradient
    ) -> tuple[Params, Params, Params]:
        """Take one step.

        Args:
            params: the parameters.
            state: handed on.
            objective: to descend on.
            rates: not used.
            gradient: differentiates.

        Returns:
            Parameters and state after it, and no diagnostics.
        """
        grads = gradient(objective, params)
        return {name: params[name] - rate * grads[name] for name, rate in zip(self.names, self.rates)}, state, {}


class MetaSgd(Maml):
    """MAML with a learned step size for every weight."""

    Config = MetaSgdConfig
    config: MetaSgdConfig
    replaces: ClassVar[str] = "step"

    def step(self) -> Step:
        """The step that the method replaces.

        Returns:
            Gradient descent with learned step sizes.

        Raises:
            UserError: step sizes of whole tensors are to be learned as well.
        """
        if self.config.learn_rates:
            raise UserError("metasgd learns a step size for every weight already; leave strategy.learn_rates out")
        return OwnRates({name: self.theta[name].detach() for name in self.adapted}, self.inner_rate)
