"""BiC: exemplars, distillation, and a correction of the new outputs that a few held-out examples decide.

Yue Wu, Yinpeng Chen, Lijuan Wang, Yuancheng Ye, Zicheng Liu, Yandong Guo, Yun Fu. *Large scale incremental learning.* CVPR 2019, arXiv
1905.13260. First, on the new examples and all exemplars (equations 1 to 3), with l = old outputs / all outputs and T = 2,

    loss = l * D_KL(softmax(old logits / T) || softmax(logits / T)) over the old outputs + (1 - l) * cross-entropy.

Then the network is held, and of the new outputs alone q = alpha o + beta is trained by cross-entropy on examples that were held out, as
many of each class (equations 4 and 5). Later experiences find the outputs corrected so. Exemplars are herded; of each old class a tenth of
them is held out, at least one where there are two, and of each new class as many. Steps and rate of the correction are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter, functional

from scenarios.batches import Shuffled
from scenarios.experience import Batch, Examples, Experience, concatenate
from scenarios.options import option
from strategies.base import Setup
from strategies.memory.beside_teacher import BesideTeacher
from strategies.phase import Optimizer, Phase, Step, Update
from strategies.soft_targets import distillation


@dataclass(frozen=True, kw_only=True)
class BicConfig:
    """Options of `bic`.

    Attributes:
        memory: exemplars kept in total.
        temperature: by which logits are divided before they are compared.
        held_out: share of an old class's exemplars that decides about the correction.
        bias_iterations: steps of the correction.
        bias_learning_rate: of its Adam.
    """

    memory: int = option(500, low=0)
    temperature: float = option(2.0, low=0.01)
    held_out: float = option(0.1, above=0, high=0.9)
    bias_iterations: int = option(200, low=1)
    bias_learning_rate: float = option(0.01, above=0)


class Bic(BesideTeacher):
    """Exemplars, distillation and a bias correction."""

    Config = BicConfig

    def prepare(self, setup: Setup) -> None:
        """Get ready for a scenario, with nothing to correct.

        Args:
            setup: what it will meet, and how it is trained.
        """
        super().prepare(setup)
        like = next(self.network.parameters()).detach()
        self.scale, self.shift = like.new_ones(setup.scenario.num_outputs), like.new_zeros(setup.scenario.num_outputs)
        self.pair = Parameter(like.new_tensor([1.0, 0.0]))

    def phases(self, experience: Experience) -> list[Phase]:
        """Train beside the old network, correct the new outputs, choose exemplars.

        Args:
            experience: what is to be learned.

        Returns:
            One phase, or two.
        """
        old = self.known_before(experience)
        new = range(old, self.setup.scenario.in_play(experience.train.present[-1]).stop)
        learned, held = self.divide(experience.train, old, experience.index)
        update = Update(loss=partial(self.loss_beside_teacher, old=old), parameters=self.network.parameters)
        begin = self.teacher.keep if old else None
        last = partial(self.close, experience)
        if not (old and new and len(held)):
            return [Phase(name="train", batches=self.shuffled(learned), updates=(update,), begin=begin, end=last)]
        adam = Optimizer(kind="adam", learning_rate=self.config.bias_learning_rate)
        correct = Update(loss=partial(self.bias_loss, new=new), parameters=lambda: [self.pair], name="bias", optimizer=adam)
        return [
            Phase(name="train", batches=self.shuffled(learned), updates=(update,), begin=begin, end=self.teacher.drop),
            Phase(
                name="bias",
                batches=Shuffled(held, self.setup.train.batch_size),
                updates=(correct,),
                iterations=self.config.bias_iterations,
                begin=self._begin_bias,
                end=partial(self._close_bias, new, last),
                fresh=True,
            ),
        ]

    def divide(self, examples: Examples, old: int, index: int) -> tuple[Examples, Examples]:
        """Hold examples out, as many of each class, old or new.

        Args:
            examples: the new ones.
            old: how many outputs are old.
            index: the experience.

        Returns:
            What is trained on, and what is held out.
        """
        everything = concatenate([examples, self.memory]) if len(self.memory) else examples
        generator = self.setup.randomness.generator("held out", index)
        order = torch.randperm(len(everything), generator=generator)
        y, remembered = everything.targets.cpu()[order], order >= len(examples)
        places = {c: order[(y == c) & (remembered | (c >= old))] for c in y.unique().tolist()}
        known = [len(own) for c, own in places.items() if c < old and len(own) > 1]
        count = max(1, round(self.config.held_out * min(known))) if known else 0
        held = torch.cat([own[: min(count, len(own) - 1)] for own in places.values()]) if count else order[:0]
        kept = torch.ones(len(everything), dtype=torch.bool).index_fill_(0, held, False).nonzero().flatten()
        return tuple(everything.select(part.to(everything.rows.device)) for part in (kept, held.sort().values))  # type: ignore[return-value]

    def corrected(self, logits: Tensor) -> Tensor:
        """Outputs as they stand after the corrections so far.

        Args:
            logits: of the first outputs, [B, C].

        Returns:
            [B, C].
        """
        width = logits.shape[1]
        return logits * self.scale[:width] + self.shift[:width]

    def loss_beside_teacher(self, batch: Batch, old: int) -> Step:
        """Cross-entropy, and the distance from the old network's corrected answers.

        Args:
            batch: new examples and exemplars.
            old: how many outputs are old.

        Returns:
            The step.
        """
        outputs = self.in_play(batch)
        assert isinstance(outputs, range)
        logits = self.corrected(self.network.head.narrow(self.network.features(batch.x), outputs))
        loss = functional.cross_entropy(logits, batch.y)
        if old:
            share, temperature = old / len(outputs), self.config.temperature
            wanted = self.corrected(self.teacher.logits(batch.x, range(old)))
            distance = distillation(logits[:, :old], wanted, temperature) / temperature**2
            loss = share * distance + (1 - share) * loss
        return Step(loss, logits, batch.y)

    def bias_loss(self, batch: Batch, new: range) -> Step:
        """Cross-entropy of the outputs, the new ones corrected; the network is in evaluation mode and takes no gradient.

        Args:
            batch: examples that were held out.
            new: the new outputs.

        Returns:
            The step.
        """
        self.network.eval()
        with torch.no_grad():
            logits = self.corrected(self.network.head.narrow(self.network.features(batch.x), range(new.stop)))
        fresh = logits[:, new.start :] * self.pair[0] + self.pair[1]
        answers = torch.cat([logits[:, : new.start], fresh], 1)
        return Step(functional.cross_entropy(answers, batch.y), answers, batch.y)

    @torch.no_grad()
    def _begin_bias(self) -> None:
        self.pair.copy_(self.pair.new_tensor([1.0, 0.0]))

    @torch.no_grad()
    def _close_bias(self, new: range, last: Any) -> None:
        self.scale[new.start : new.stop] *= self.pair[0]
        self.shift[new.start : new.stop] = self.shift[new.start : new.stop] * self.pair[0] + self.pair[1]
        last()

    def logits(self, x: Tensor, task: int | None = None) -> Tensor:
        """Answer, in evaluation mode, with corrected outputs.

        Args:
            x: float [B, C, H, W], normalised.
            task: not looked at.

        Returns:
            [B, K].
        """
        return self.corrected(super().logits(x, task))

    def state_dict(self) -> dict[str, Any]:
        """What teacher and memory hold, and the corrections.

        Returns:
            Nested dictionaries of tensors and plain values.
        """
        correction = {"scale": self.scale, "shift": self.shift, "pair": self.pair.detach()}
        return {**super().state_dict(), "correction": correction}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
        """
        super().load_state_dict(state)
        correction = state["correction"]
        self.scale, self.shift = correction["scale"].to(self.scale).clone(), correction["shift"].to(self.shift).clone()
        with torch.no_grad():
            self.pair.copy_(correction["pair"])

    def report(self) -> dict[str, Any]:
        """The memory's size, and the corrections.

        Returns:
            Examples kept and their bytes; scale and shift of each output.
        """
        return {**super().report(), "bias_correction": {"scale": self.scale.tolist(), "shift": self.shift.tolist()}}
