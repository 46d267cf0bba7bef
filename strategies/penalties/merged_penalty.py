"""The Kronecker-factored penalty on the merged network, which K-FAC and XK-FAC share.

With D = [W~ - W~*, b~ - b~*] the change of a layer's merged parameters since the last task's end, T tasks learned and H_k the curvature
that task k left behind at its own optimum,

    L = T/(T+1) alpha_s q + 1/(T+1) alpha_t L_t + damping/2 sum |D|^2,     q = 1/T sum_k 1/2 vec(D)^T H_k vec(D)

T/(T+1) follows from equal importance of all tasks: no source data are needed to choose it. The damping is weight decay around the initial
point. Layers that later tasks do not compute (heads of their own in setting `task`) are not penalised.

Before a task the merged map is in the layers and the norms are put in again with the statistics of the new data, so that q and its gradient
start at 0; after it, statistics are measured in a clean pass, norms are merged, and the curvature is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from scenarios.batches import Shuffled
from scenarios.experience import Batch, Experience
from strategies.base import Setup
from strategies.networks.network import InPlay, Network
from strategies.networks.norms import Moments, norms, standardise_by
from strategies.penalties.adaptive_scale import AdaptiveScale, Scale
from strategies.penalties.curvature.factor_pass import FactorPass
from strategies.penalties.curvature.kronecker import Kronecker, from_state, mean, running_mean, truncated
from strategies.penalties.curvature.merge import FLOOR, MergedLayer, batch_moments, batch_statistics
from strategies.penalties.penalty import Penalty
from strategies.phase import Phase


@dataclass(frozen=True, kw_only=True)
class MergedOptions:
    """How the penalty behaves.

    Attributes:
        damping: weight decay around the initial point.
        scale: the adaptive scales.
        accumulate: each task's factors, or a running mean of factors.
        input_tolerance: relative error that factors of the inputs may have, to be of low rank.
        merge_stats: running statistics as constants, or the batch's, which are differentiated.
        fixed: norms stay in evaluation mode once the first task is learned, and while curvature is measured.
        factor_batches: batches of the curvature pass.
    """

    damping: float
    scale: Scale
    accumulate: Literal["list", "running"]
    input_tolerance: float
    merge_stats: Literal["running", "batch"]
    fixed: bool
    factor_batches: int


class MergedPenalty(Penalty):
    """The penalty, with the passes that it needs around training.

    Args:
        network: is penalised.
        layers: those that later tasks compute too.
        factors: measures their curvature.
        options: how it behaves.
        setup: of the run.
        in_play: the outputs that a batch's loss looks at.
    """

    def __init__(
        self,
        network: Network,
        layers: Sequence[MergedLayer],
        factors: FactorPass,
        options: MergedOptions,
        setup: Setup,
        in_play: Callable[[Batch], InPlay],
    ) -> None:
        self.network = network
        self.layers = list(layers)
        self.factors = factors
        self.options = options
        self.setup = setup
        self.in_play = in_play
        self.damping = options.damping
        self.learned = 0
        self.terms: dict[str, list[Kronecker]] = {}
        self.counts: dict[str, int] = {}
        self.centre: dict[str, Tensor] = {}
        self.scale = AdaptiveScale(options.scale)
        self.moments = Moments()
        self.pair_shares: dict[str, float] = {}
        self._joined: dict[str, Kronecker] = {}
        self._noted: dict[str, tuple[Tensor, Tensor]] = {}

    @property
    def differentiates_statistics(self) -> bool:
        """Whether the penalty is a term of the loss, because the batch's statistics are merged."""
        return self.options.merge_stats == "batch" and self.learned > 0 and not self.options.fixed

    def preparing(self, experience: Experience) -> Sequence[Phase]:
        """From the second task on, a pass of the merged network over the new data, and norms put in again with their statistics.

        Args:
            experience: what is about to be learned.

        Returns:
            One phase, or none.
        """
        if not self.learned or self.options.fixed or not norms(self.network):
            return ()
        return (self._statistics(experience, training=False),)

    def _statistics(self, experience: Experience, *, training: bool) -> Phase:
        def observe(batch: Batch) -> None:
            with batch_statistics(self.network):
                self.moments.observe(self.network, batch.x, training=training)

        def end() -> None:
            for name, norm in norms(self.network).items():
                average, variance = self.moments.mean[name], self.moments.variance[name].clamp(min=FLOOR)
                if training:
                    assert norm.running_mean is not None and norm.running_var is not None
                    norm.running_mean.copy_(average)
                    norm.running_var.copy_(variance)
                else:
                    standardise_by(norm, average, variance)
            self.moments = Moments()

        return Phase(name="statistics", batches=self._batches(experience), epochs=1, observe=observe, end=end)

    def _batches(self, experience: Experience) -> Shuffled:
        return Shuffled(experience.train, self.setup.train.batch_size, drop_last=True)

    def before_experience(self, model: Network) -> None:
        """Take the present merged parameters as the centre.

        Args:
            model: the network.
        """
        self.scale = AdaptiveScale(self.options.scale, self.scale.base)
        self._take_centre()

    def _take_centre(self) -> None:
        with torch.no_grad():
            self.centre = {layer.name: layer.parameters() for layer in self._penalised}
        self._joined = {}

    @property
    def _penalised(self) -> list[MergedLayer]:
        return [layer for layer in self.layers if layer.name in self.terms]

    def curvature(self, name: str) -> Kronecker:
        """The mean curvature of the tasks that have been learned.

        Args:
            name: of the layer.

        Returns:
            Their terms in one batch.
        """
        if name not in self._joined:
            total = self.learned if self.options.accumulate == "list" else self.learned / self.counts[name]
            known = self.terms[name]
            if self.options.accumulate == "running":
                known = [truncated(known[0], self.options.input_tolerance)]
            self._joined[name] = mean(known, total)
        return self._joined[name]

    @property
    def importance(self) -> float:
        """T / (T + 1)."""
        return self.learned / (self.learned + 1)

    def task_weight(self, loss: Tensor) -> float | Tensor:
        """alpha_t / (T + 1); 1 for the first task.

        Args:
            loss: the batch's.

        Returns:
            The weight.
        """
        return (1 - self.importance) * self.scale.task(loss) if self.learned else 1.0

    @torch.no_grad()
    def add_gradient_(self) -> None:
        """Add the gradient of penalty and damping, taken back through the merge."""
        if not self.learned or self.differentiates_statistics:
            return
        layers = [layer for layer in self._penalised if layer.in_play]
        changes = [layer.parameters() - self.centre[layer.name] for layer in layers]
        products = [self.curvature(layer.name).product(change) for layer, change in zip(layers, changes)]
        value = _half_inner(changes, products)
        weight = self.importance * self.scale.penalty(value)
        self._added = weight * value
        for layer, change, product in zip(layers, changes, products):
            layer.add_gradient_(product.mul_(weight).add_(change, alpha=self.damping))

    @property
    def meant_to_act(self) -> bool:
        """Whether a task has been learned."""
        return self.learned > 0

    def added(self) -> Tensor:
        """The weighted quadratic of the step that is being made, without the damping.

        Returns:
            A scalar.
        """
        return self._added

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Note the batch's statistics in the forward pass inside the block, for `term`."""
        with batch_moments(self.layers) as self._noted:
            yield

    def term(self) -> Tensor:
        """Penalty and damping as a term of the loss, merged with the statistics that were noted.

        Returns:
            A scalar with its graph.
        """
        changes = [layer.parameters(self._noted.get(layer.name)) - self.centre[layer.name] for layer in self._penalised]
        products = [self.curvature(layer.name).product(change.detach()) for layer, change in zip(self._penalised, changes)]
        value = 0.5 * _inner(changes, products)
        doubled = 2 * value - value.detach()  # the products are constants: half the inner product has half of the gradient
        weight = self.importance * self.scale.penalty(value.detach())
        self._added = weight * value.detach()
        return weight * doubled + 0.5 * self.damping * _inner(changes, changes)

    def measuring(self, experience: Experience) -> Sequence[Phase]:
        """A clean pass for the norms' statistics, and the curvature pass.

        Args:
            experience: what has just been learned.

        Returns:
            Phases without updates.
        """
        frozen = self.options.fixed and self.learned
        clean = [] if frozen or not norms(self.network) else [self._statistics(experience, training=True)]

        def begin() -> None:
            self.factors.reset()
            for layer in self.layers:
                layer.absorb_()

        def observe(batch: Batch) -> None:
            outputs = self.in_play(batch)
            generator = self.setup.randomness.generator("curvature labels", experience.index, self.factors.batches)
            self.factors.observe(batch.x, batch.y, outputs, generator, coupled=not self.options.fixed)

        iterations = self.options.factor_batches
        return [*clean, Phase(name="curvature", batches=self._batches(experience), iterations=iterations, begin=begin, observe=observe)]

    def after_experience(self) -> None:
        """Take up the curvature that was measured."""
        for name, new in self.factors.curvature().items():
            known, count = self.terms.get(name, []), self.counts.get(name, 0)
            if self.options.accumulate == "list":
                self.terms[name] = [*known, truncated(new, self.options.input_tolerance)]
            else:
                self.terms[name] = [running_mean(known[0], count, new) if known else new]
            self.counts[name] = count + 1
        loss, base = self.factors.loss(), self.scale.base
        self.scale.base = loss if base is None else base + (loss - base) / (self.learned + 1)
        self.pair_shares = self.factors.pair_shares()
        self.factors.reset()
        self.learned += 1
        self._take_centre()

    @torch.no_grad()
    def value(self) -> Tensor:
        """The quadratic q at the present parameters.

        Returns:
            A scalar.
        """
        changes = [layer.parameters() - self.centre[layer.name] for layer in self._penalised]
        if not changes:
            return next(self.network.parameters()).new_zeros(())
        return _half_inner(changes, [self.curvature(layer.name).product(change) for layer, change in zip(self._penalised, changes)])

    def state_dict(self) -> dict[str, Any]:
        """Curvature, centre, scales, and measurements under way.

        Returns:
            Nested dictionaries and lists of tensors and plain values.
        """
        return {
            "learned": self.learned,
            "damping": self.damping,
            "counts": dict(self.counts),
            "terms": {name: [each.state_dict() for each in terms] for name, terms in self.terms.items()},
            "centre": dict(self.centre),
            "scale": self.scale.state_dict(),
            "moments": self.moments.state_dict(),
            "factors": self.factors.state_dict(),
            "pair_shares": dict(self.pair_shares),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
        """
        device = self.setup.device
        self.learned, self.damping, self.counts = state["learned"], state["damping"], dict(state["counts"])
        self.terms = {name: [from_state(each, device) for each in terms] for name, terms in state["terms"].items()}
        self.centre = {name: tensor.to(device) for name, tensor in state["centre"].items()}
        self.scale.load_state_dict(state["scale"], device)
        self.moments.load_state_dict(state["moments"])
        self.factors.load_state_dict(state["factors"])
        self.pair_shares = dict(state["pair_shares"])
        self._joined = {}


def _inner(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    return torch.stack([(one * other).sum() for one, other in zip(first, second)]).sum()


def _half_inner(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    return 0.5 * _inner(first, second)
