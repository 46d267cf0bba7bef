"""K-FAC as a penalty: the curvature of earlier tasks, a Kronecker product for each layer, holds the merged network.

H. Ritter, A. Botev, D. Barber, "Online structured Laplace approximations for overcoming catastrophic forgetting", NeurIPS 2018, with
K-FAC of Martens & Grosse (ICML 2015) and Grosse & Martens (ICML 2016) for convolutions. Layer by layer

    q = 1/2 vec(D)^T (B_0 (x) A_0) vec(D) = 1/2 tr(D^T B_0 D A_0),     A_0 = E[a a^T],  B_0 = E[g g^T]

Networks with batch norm are penalised after merging, see `strategies.penalties.merged_penalty`. With norms in training mode (`bn=train`)
the examples of a batch depend on each other, which K-FAC leaves out: that is the baseline that XK-FAC corrects. `bn=fixed` is the other:
norms stay in evaluation mode once the first task is learned. Weights of both losses, damping and the choice of hyperparameters are those of
XK-FAC (Lee et al., CVPR 2020), so that the two differ in the curvature alone.

Whole factors make a step of an MLP 784-100-100-10 with batch norm 2.9 times as long as fine-tuning's after one task, and 11.6 times after
ten (XK-FAC, a list of tasks, one CPU thread). So by default each A is a few eigenvectors and a multiple of the identity, within 5 % of it
in Frobenius norm; the factorisation itself is off by 40 % and more (`simulate --diagnose curvature`), and on Permuted MNIST whole factors
change the accuracy by -0.1 to +0.2 points (recipe permuted-mnist-xkfac). `input_tolerance=0` keeps A whole.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from scenarios.errors import UserError
from scenarios.experience import Batch, Experience
from scenarios.options import option
from strategies.base import Setup
from strategies.networks.norms import norms
from strategies.penalties.adaptive_scale import Scale
from strategies.penalties.curvature.factor_pass import FactorConfig, FactorPass
from strategies.penalties.curvature.merge import merged_layers
from strategies.penalties.curvature.taps import Tap
from strategies.penalties.merged_penalty import MergedOptions, MergedPenalty
from strategies.penalties.penalty import PenaltyStrategy
from strategies.penalties.target_selection import TargetOnly, TargetSelection
from strategies.phase import Optimizer, Phase, Step, Update


@dataclass(frozen=True, kw_only=True)
class KfacConfig:
    """Options of `kfac`.

    Attributes:
        damping: delta, weight decay around the parameters that a task starts from.
        scale: weights that bring penalty and loss to one scale: log, none or ratio.
        accumulate: list keeps each task's factors (memory and time grow); running averages them.
        input_tolerance: relative error (Frobenius) that a task's input factors may have, to be of low rank and quick; 0 keeps them whole.
        tap: derivatives behind a layer's own batch norm (post_bn) or before it (pre_bn).
        merge_stats: norms are merged with running statistics, as constants, or with the batch's, which are differentiated.
        bn: train, or fixed: norms stay in evaluation mode once the first task is learned.
        factor_batches: batches that a task's curvature is measured on.
        label_draws: how often labels are drawn for each of them.
        select_on_target: choose learning rate and damping of each task after the first on its validation data (scenario.validation_share).
        select_learning_rates: what the learning rate is chosen from.
        select_dampings: what the damping is chosen from.
    """

    damping: float = option(1e-4, low=0)
    scale: Scale = "log"
    accumulate: Literal["list", "running"] = "list"
    input_tolerance: float = option(0.05, low=0, high=1)
    tap: Tap = "post_bn"
    merge_stats: Literal["running", "batch"] = "running"
    bn: Literal["train", "fixed"] = "train"
    factor_batches: int = option(200, low=1)
    label_draws: int = option(1, low=1)
    select_on_target: bool = False
    select_learning_rates: tuple[float, ...] = option((0.1, 0.03, 0.01, 0.003), above=0)
    select_dampings: tuple[float, ...] = option((1e-5, 1e-4, 1e-3, 1e-2), low=0)


class Kfac(PenaltyStrategy):
    """Fine-tuning under a Kronecker-factored penalty on the merged network."""

    Config = KfacConfig
    remedies = ("choose another strategy.scale", "choose another strategy.scale, or lower train.learning_rate")
    penalty: MergedPenalty

    def prepare(self, setup: Setup) -> None:
        """Build the network and its penalty.

        Args:
            setup: what the learner will meet, and how it is trained.

        Raises:
            UserError: curvature cannot be measured, or something is to be selected that the data or the options do not allow for.
        """
        experiences = setup.scenario.experiences
        if setup.train.batch_size < 2 or any(len(experience.train) < 2 for experience in experiences):
            raise UserError("curvature is measured on batches of at least 2 examples; raise train.batch_size or scenario.train_examples")
        searched = (self.config.select_learning_rates, self.config.select_dampings)
        if not self.config.select_on_target and searched != (KfacConfig.select_learning_rates, KfacConfig.select_dampings):
            raise UserError("what is selected from has no effect without the selection; add strategy.select_on_target=true")
        if self.config.select_on_target and any(experience.train.task is None for experience in experiences):
            raise UserError("strategy.select_on_target looks at the new task's data alone; leave scenario.blurry and scenario.gaussian out")
        if self.config.select_on_target and not all(len(experience.validation) for experience in experiences):
            raise UserError("strategy.select_on_target needs validation data; add --set scenario.validation_share=0.1")
        super().prepare(setup)
        candidates = (self.config.select_learning_rates, self.config.select_dampings)
        self.selection = TargetSelection(self.network, candidates, setup.scenario.in_play, self._start_training)

    def build_penalty(self) -> MergedPenalty:
        """Make the penalty.

        Returns:
            A penalty on units and, unless each task has its own, on the head.

        Raises:
            UserError: there are none that are trained.
        """
        config = self.config
        layers = merged_layers(self.network)
        if self.setup.scenario.setting == "task":
            layers = [layer for layer in layers if not layer.name.startswith("head.")]
        if not layers:
            raise UserError("kfac holds the layers that tasks share, and none of them is trained; choose a deeper network, or freeze less")
        options = MergedOptions(
            damping=config.damping,
            scale=config.scale,
            accumulate=config.accumulate,
            input_tolerance=config.input_tolerance,
            merge_stats=config.merge_stats,
            fixed=config.bn == "fixed",
            factor_batches=config.factor_batches,
        )
        factors = FactorPass(self.network, layers, self.factor_config())
        return MergedPenalty(self.network, layers, factors, options, self.setup, self.in_play)

    def factor_config(self) -> FactorConfig:
        """How curvature is measured.

        Returns:
            K-FAC's factors.
        """
        return FactorConfig(tap=self.config.tap, draws=self.config.label_draws)

    def _start_training(self, damping: float) -> None:
        self.penalty.damping = damping
        self.penalty.before_experience(self.network)

    def phases(self, experience: Experience) -> list[Phase]:
        """Train the first task as usual; later ones with new optimisers and no weight decay, for the damping stands for it.

        Args:
            experience: what is to be learned.

        Returns:
            The phases, in order.
        """
        if not self.penalty.learned:
            return super().phases(experience)
        if self.config.select_on_target:
            training = self.selection.phases(experience, partial(self._training, experience))
        else:
            begin = partial(self.penalty.before_experience, self.network)
            training = [replace(self._training(experience, self.setup.train.learning_rate), begin=begin)]
        measuring = [*self.penalty.measuring(experience)]
        measuring[-1] = replace(measuring[-1], end=partial(self.consolidate, experience))
        return [*self.penalty.preparing(experience), *training, *measuring]

    def _training(self, experience: Experience, learning_rate: float) -> Phase:
        train = self.setup.train
        optimizer = replace(Optimizer.of(train, learning_rate), weight_decay=0.0)
        update = Update(loss=self.loss, parameters=self.network.parameters, optimizer=optimizer, after_backward=self.add_penalty)
        batches = self.shuffled(experience.train)
        if self.config.select_on_target:
            batches = TargetOnly(batches.examples, batches.batch_size, batches.augmentation, target=experience.index)
        return Phase(name="train", batches=batches, updates=(update,), fresh=True)

    def loss(self, batch: Batch) -> Step:
        """Cross-entropy over the outputs in play, weighted; where the batch's statistics are merged, with the penalty as a term.

        Args:
            batch: examples of the experience that is being learned.

        Returns:
            The step.
        """
        if not self.penalty.differentiates_statistics:
            return super().loss(batch)
        with self.penalty.noting():
            step = super().loss(batch)
        return replace(step, loss=step.loss + self.penalty.term())

    def train_mode(self) -> None:
        """Put the network into training mode; fixed norms stay in evaluation mode once the first task is learned."""
        super().train_mode()
        if self.config.bn == "fixed" and self.penalty.learned:
            for norm in norms(self.network).values():
                norm.eval()

    def state_dict(self) -> dict[str, Any]:
        """The network, the penalty and the choice under way.

        Returns:
            Their states by name.
        """
        return {**super().state_dict(), "selection": self.selection.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
        """
        super().load_state_dict(state)
        self.selection.load_state_dict(state["selection"])

    def report(self) -> dict[str, Any]:
        """The penalty's convention, how much pairs of examples weighed in the last curvature, and what was selected.

        Returns:
            Names to plain values.
        """
        report = super().report()
        report |= {"penalty": "T/(T+1) * alpha_s * mean over tasks of 1/2 vec(D)^T H vec(D), in the merged network"}
        if self.penalty.pair_shares:
            report["pair_shares"] = self.penalty.pair_shares
        if self.config.select_on_target:
            report["selection"] = self.selection.history
        return report
