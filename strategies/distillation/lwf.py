"""Learning without Forgetting: on the new data, the network is held to what the old one would have answered.

Zhizhong Li, Derek Hoiem. *Learning without Forgetting.* IEEE TPAMI 40(12), 2018, arXiv 1606.09282. With z the logits of the network as it
was before this experience, its batch norms in evaluation mode, the loss on the new experience's data is

    cross-entropy(new outputs) + strength * sum over old heads h of T^2 D_KL(softmax(z_h / T) || softmax(logits_h / T)),

with T = 2, and strength = 1 as the paper's lambda_o. In setting `task` each experience has a head of its own, as in the paper. In setting
`class` all outputs met before are one head (as LwF appears in class-incremental comparisons); in setting `domain` the one shared head
is both old and new. The paper trains the new outputs alone first ("warm-up") and decays all weights: here all is trained from the first
step, and decay is `train.weight_decay`. The paper writes the distillation as a cross-entropy without T^2: the same gradient at a strength
that is T^2 times smaller.

With form=multiclass it is LwF.MC, the multi-class form that iCaRL is compared with (Rebuffi et al. 2017, arXiv 1611.07725): in setting
`class` every output has a binary cross-entropy, the old ones' targets are the old network's answers, and nothing is weighed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from scenarios.errors import UserError
from scenarios.experience import Batch, Experience
from scenarios.options import option
from strategies.base import Setup, Strategy
from strategies.phase import Phase, Step, Update
from strategies.soft_targets import Teacher, binary_distillation, distillation
from strategies.unread import refuse_unread


@dataclass(frozen=True, kw_only=True)
class LwfConfig:
    """Options of `lwf`.

    Attributes:
        strength: weight of the distillation; 0 is fine-tuning.
        temperature: by which logits are divided before they are compared.
        form: softmax, as in the paper; or multiclass, binary cross-entropies over all outputs (LwF.MC).
    """

    strength: float = option(1.0, low=0)
    temperature: float = option(2.0, low=0.01)
    form: Literal["softmax", "multiclass"] = "softmax"


class Lwf(Strategy):
    """Fine-tuning, held to the old network's answers."""

    Config = LwfConfig

    def prepare(self, setup: Setup) -> None:
        """Get ready for a scenario, with no old network.

        Args:
            setup: what it will meet, and how it is trained.

        Raises:
            UserError: the form does not suit the setting.
        """
        if self.config.form == "multiclass":
            refuse_unread(self.config, "strategy", {name: (False, "form=softmax") for name in ("strength", "temperature")})
            if setup.scenario.setting != "class":
                raise UserError("strategy.form=multiclass is for setting 'class'; leave it out, or choose --setting class")
        super().prepare(setup)
        self.teacher = Teacher(self.network)

    def phases(self, experience: Experience) -> list[Phase]:
        """Fine-tune beside the old network.

        Args:
            experience: what is to be learned.

        Returns:
            One phase.
        """
        if self.config.form == "multiclass":
            return [self._multiclass(experience)]
        if experience.index == 0 or self.config.strength == 0:
            return super().phases(experience)
        loss = partial(self.loss_beside_teacher, heads=self.old_heads(experience))
        update = Update(loss=loss, parameters=self.network.parameters)
        batches = self.shuffled(experience.train)
        return [Phase(name="train", batches=batches, updates=(update,), begin=self.teacher.keep, end=self.teacher.drop)]

    def _multiclass(self, experience: Experience) -> Phase:
        old = self.old_heads(experience)[0] if experience.index else range(0)

        def loss(batch: Batch) -> Step:
            outputs = self.in_play(batch)
            assert isinstance(outputs, range)
            logits = self.network.head.narrow(self.network.features(batch.x), outputs)
            return Step(binary_distillation(logits, batch.y, self.teacher.logits(batch.x, old) if old else None), logits, batch.y)

        update = Update(loss=loss, parameters=self.network.parameters)
        begin = self.teacher.keep if old else None
        return Phase(name="train", batches=self.shuffled(experience.train), updates=(update,), begin=begin, end=self.teacher.drop)

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
        features = self.network.features(batch.x)
        task = self.fit(features, batch)
        old = range(heads[0].start, heads[-1].stop)
        distance = self.distance(self.network.head.narrow(features, old), self.teacher.logits(batch.x, old), heads)
        parts = {"cross-entropy": task.loss.detach(), "distillation": distance.detach()}
        return Step(task.loss + self.config.strength * distance, task.logits, task.targets, parts)

    def distance(self, logits: Tensor, wanted: Tensor, heads: tuple[range, ...]) -> Tensor:
        """How far answers are from the old network's, summed over the old heads.

        Args:
            logits: over the old heads, [B, C].
            wanted: the old network's logits, [B, C].
            heads: the old heads.

        Returns:
            A scalar.
        """
        first = heads[0].start
        places = [slice(head.start - first, head.stop - first) for head in heads]
        distances = [distillation(logits[:, place], wanted[:, place], self.config.temperature) for place in places]
        return torch.stack(distances).sum()

    def state_dict(self) -> dict[str, Any]:
        """The network and, while it is learning, the old one.

        Returns:
            Nested dictionaries of tensors.
        """
        return {**super().state_dict(), "teacher": self.teacher.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
        """
        super().load_state_dict(state)
        self.teacher.load_state_dict(state["teacher"])
