"""iCaRL: herded exemplars, distillation of independent outputs, and classification by the nearest mean of exemplars.

Sylvestre-Alvise Rebuffi, Alexander Kolesnikov, Georg Sperl, Christoph Lampert. *iCaRL: incremental classifier and representation learning.*
CVPR 2017, arXiv 1611.07725. On the new examples and all exemplars together, with g the sigmoids of the outputs and q those of the network
as it was before this experience (algorithm 3),

    loss = - sum over old outputs of [q log g + (1 - q) log(1 - g)] - sum over new outputs of [t log g + (1 - t) log(1 - g)],

t being 1 for the right output and 0 for others. Then each class keeps memory / classes exemplars in the order of herding (algorithms 4
and 5), and an image belongs to the class whose exemplars' mean feature is nearest, features and means at length 1 (algorithm 1, eq. 2).

The network's head answers where there is no memory, or with classify=head (the paper's "hybrid 1"). Without memory it is the paper's
LwF.MC, here strategy `lwf` with form=multiclass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from scenarios.experience import Batch, Experience
from scenarios.options import option
from strategies.base import Setup
from strategies.memory.beside_teacher import BesideTeacher
from strategies.networks.network import OUT_OF_PLAY
from strategies.phase import Step
from strategies.soft_targets import binary_distillation


@dataclass(frozen=True, kw_only=True)
class IcarlConfig:
    """Options of `icarl`.

    Attributes:
        memory: exemplars kept in total.
        classify: who answers: nme, the nearest mean of exemplars, or the network's head.
    """

    memory: int = option(500, low=0)
    classify: Literal["nme", "head"] = "nme"


class Icarl(BesideTeacher):
    """Exemplars, distillation and nearest means."""

    Config = IcarlConfig

    def prepare(self, setup: Setup) -> None:
        """Get ready for a scenario, with no exemplars.

        Args:
            setup: what it will meet, and how it is trained.
        """
        super().prepare(setup)
        self.means = next(self.network.parameters()).new_zeros(setup.scenario.num_outputs, self.network.num_features).detach()

    def loss_beside_teacher(self, batch: Batch, old: int) -> Step:
        """Binary cross-entropies, the old outputs held to the old network's answers.

        Args:
            batch: new examples and exemplars.
            old: how many outputs are old.

        Returns:
            The step.
        """
        outputs = self.in_play(batch)
        assert isinstance(outputs, range)
        logits = self.network.head.narrow(self.network.features(batch.x), outputs)
        loss = binary_distillation(logits, batch.y, self.teacher.logits(batch.x, range(old)) if old else None)
        return Step(loss, logits, batch.y)

    def close(self, experience: Experience) -> None:
        """Let the teacher go, choose exemplars, and take their means.

        Args:
            experience: what has been learned.
        """
        super().close(experience)
        if len(self.memory):
            phi = functional.normalize(self.features_of(self.memory))
            sums = torch.zeros_like(self.means).index_add_(0, self.memory.targets, phi.to(self.means.dtype))
            # A class without exemplars keeps the mean 0, by which it is known to have none.
            self.means = functional.normalize(sums)

    def logits(self, x: Tensor, task: int | None = None) -> Tensor:
        """Answer, in evaluation mode.

        Args:
            x: float [B, C, H, W], normalised.
            task: not looked at.

        Returns:
            [B, K]: negative squared distances from the classes' means, or what the head says.
        """
        if not self._by_means:
            return super().logits(x, task)
        phi = functional.normalize(self.features(x).to(self.means.dtype))
        known = self.means.any(1)
        return (2 * phi @ self.means.T - 2).masked_fill(~known, OUT_OF_PLAY)

    @property
    def _by_means(self) -> bool:
        return self.config.classify == "nme" and self.config.memory > 0

    def answers(self, task: int) -> bool:
        """Whether a class of the experience has exemplars.

        Args:
            task: the experience.

        Returns:
            False before it has been met, where means answer.
        """
        outputs = self.setup.scenario.experiences[task].outputs
        return not self._by_means or bool(self.means[outputs.start : outputs.stop].any())

    def state_dict(self) -> dict[str, Any]:
        """What teacher and memory hold, and the exemplars' means.

        Returns:
            Nested dictionaries of tensors and plain values.
        """
        return {**super().state_dict(), "means": self.means}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
        """
        super().load_state_dict(state)
        self.means = state["means"].to(self.means)
