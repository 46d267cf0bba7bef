"""XK-FAC: K-FAC that knows that batch norm makes the examples of a batch depend on each other.

J. Lee, H. G. Hong, D. Joo, J. Kim, "Continual Learning with Extended Kronecker-factored Approximate Curvature", CVPR 2020. With norms in
training mode, second derivatives between different examples do not vanish; XK-FAC keeps them:

    H = B_0 (x) A_0 + (N - 1) B_1 (x) A_1

with B_1 and A_1 the second moments of pairs of different examples, here in a form that is always positive semi-definite
(`strategies.penalties.curvature.factors`). Everything else is `strategies.penalties.kfac`: merged norms, norms put in again, weights,
damping.

The paper's body was not at hand: that intra- and inter-example terms are kept, that norms are merged and put in again, and the weight
T/(T+1) are known; the equation, the tap behind the norm, the adaptive scale, the treatment of convolutions and the accumulation over tasks
are inferred, and each is an option. The gate is ours: a layer with no norm in training mode behind its tap has no pairs, and estimating
them would add noise alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scenarios.errors import UserError
from strategies.base import Setup
from strategies.penalties.curvature.factor_pass import FactorConfig
from strategies.penalties.kfac import Kfac, KfacConfig


@dataclass(frozen=True, kw_only=True)
class XkfacConfig(KfacConfig):
    """Options of `xkfac`, beside those of `kfac`.

    Attributes:
        conv_inter: pairs in convolutions: virtual (positions are examples) or three (pairs inside images apart); image is refused.
        gate: keep pairs only where a norm in training mode lies behind the tap.
        input_pairs: A_1 measured, or taken for the square of the mean input (a dense product less in each step).
    """

    conv_inter: Literal["virtual", "three", "image"] = "virtual"
    gate: bool = True
    input_pairs: Literal["measured", "mean"] = "measured"


class Xkfac(Kfac):
    """K-FAC with the terms that batch norm creates between examples."""

    Config = XkfacConfig

    def prepare(self, setup: Setup) -> None:
        """Build the network and its penalty.

        Args:
            setup: what the learner will meet, and how it is trained.

        Raises:
            UserError: a form of curvature is asked for that is none.
        """
        if self.config.conv_inter == "image":
            raise UserError("strategy.conv_inter=image gives a curvature with negative eigenvalues; choose virtual or three")
        if self.config.conv_inter == "three" and self.config.input_pairs == "mean":
            raise UserError("strategy.input_pairs=mean has no form with strategy.conv_inter=three; choose virtual")
        super().prepare(setup)

    def factor_config(self) -> FactorConfig:
        """How curvature is measured.

        Returns:
            Factors of both terms.
        """
        config = self.config
        return FactorConfig(
            tap=config.tap,
            linear="virtual",
            conv=config.conv_inter,
            gate=config.gate,
            mean_pairs=config.input_pairs == "mean",
            draws=config.label_draws,
        )
