"""Learning without Forgetting: on the new data, the network is held to what the old one would have answered.

Zhizhong Li, Derek Hoiem. *Learning without Forgetting.* IEEE TPAMI 40(12), 2018, arXiv 1606.09282. With z the logits of the network as it
was before this experience, its batch norms in evaluation mode, the loss on the new experience's data is

    cross-entropy(new outputs) + strength * sum over old heads h of T^2 D_KL(softmax(z_h / T) || softmax(logits_h / T)),

with T = 2, and strength = 1 as the paper's lambda_o. In setting `task` each experience has a head of its own, as in the paper. In setting
`class` all outputs met before are one head (as LwF appears in class-incremental comparisons); in setting `domain` the one shared head
is both old and new. The paper trains the new outputs alone first ("warm-up") and decays all weights: here all is trained from the first
step, and decay is `train.weight_decay`. The paper writes the distillation as a cross-entropy without T^2: the same gradient at a strength
that is T^2 times smaller.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from scenarios.experience import Batch, Experience
from scenarios.options import option
from strategies.base import Setup, Strategy
from strategies.networks.network import Network
from strategies.phase import Phase, Step, Update
from strategies.soft_targets import distillation, frozen_copy


@dataclass(frozen=True, kw_only=True)
class LwfConfig:
    """Options of `lwf`.

    Attributes:
        strength: weight of the distillation; 0 is fine-tuning.
        temperature: by which logits are divided before they are compared.
    """

    strength: float = option(1.0, low=0)
    temperature: float = option(2.0, low=0.01)


class Lwf(Strategy):
    """Fine-tuning, held to the old network's answers."""

    Config = LwfConfig

    def prepare(self, setup: Setup) -> None:
        """Get ready for a scenario, with no old network.

        Args:
            setup: what it will meet, and how it is trained.
        """
        super().prepare(setup)
        self.teacher: Network | None = None

    def phases(self, experience: Experience) -> list[Phase]:
        """Fine-tune beside the old network.

        Args:
            experience: what is to be learned.

        Returns:
            One phase.
        """
        if experience.index == 0 or self.config.strength == 0:
            return super().phases(experience)
        loss = partial(self.loss_beside_teacher, heads=self.old_heads(experience))
        update = Update(loss=loss, parameters=self.network.parameters)
        batches = self.shuffled(experience.train)
        return [Phase(name="train", batches=batches, updates=(update,), begin=self._keep_teacher, end=self._drop_teacher)]

    def old_heads(self, experience: Experience) -> tuple[range, ...]:
        """The outputs that were learned before, as softmaxes of their own.

        Args:
            experience: what is to be learned.

        Returns:
            One range for each old experience in setting `task`, otherwise one range.
        """
        scenario = self.setup.scenario
        met = [earlier.outputs for earlier in scenario.experiences[: experience.index]]
        if scenario.setting == "task":
            return tuple(dict.fromkeys(met))
        return (range(max(outputs.stop for outputs in met)),)

    def loss_beside_teacher(self, batch: Batch, heads: tuple[range, ...]) -> Step:
        """Cross-entropy, and the distance from the old network's answers.

        Args:
            batch: examples of the new experience.
            heads: the old heads.

        Returns:
            The step.
        """
        assert self.teacher is not None
        features = self.network.features(batch.x)
        task = self.fit(features, batch)
        old = range(heads[0].start, heads[-1].stop)
        with torch.no_grad():
            wanted = self.teacher(batch.x, old)
        distance = self.distance(self.network.head(features, old), wanted, heads)
        parts = {"cross-entropy": task.loss.detach(), "distillation": distance.detach()}
        return Step(task.loss + self.config.strength * distance, task.logits, task.targets, parts)

    def distance(self, logits: Tensor, wanted: Tensor, heads: tuple[range, ...]) -> Tensor:
        """How far answers are from the old network's, summed over the old heads.

        Args:
            logits: [B, K].
            wanted: the old network's logits, [B, K].
            heads: the old heads.

        Returns:
            A scalar.
        """
        distances = [
            distillation(logits[:, head.start : head.stop], wanted[:, head.start : head.stop], self.config.temperature) for head in heads
        ]
        return torch.stack(distances).sum()

    def _keep_teacher(self) -> None:
        self.teacher = frozen_copy(self.network)

    def _drop_teacher(self) -> None:
        self.teacher = None

    def state_dict(self) -> dict[str, Any]:
        """The network and, while it is learning, the old one.

        Returns:
            Nested dictionaries of tensors.
        """
        return {**super().state_dict(), "teacher": None if self.teacher is None else self.teacher.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
        """
        super().load_state_dict(state)
        self.teacher = None
        if state["teacher"] is not None:
            self._keep_teacher()
            assert self.teacher is not None
            self.teacher.load_state_dict(state["teacher"])
