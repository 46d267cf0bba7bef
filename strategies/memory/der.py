"""Dark Experience Replay: remembered are examples with the answers that the network gave when they were learned.

Pietro Buzzega, Matteo Boschini, Angelo Porrello, Davide Abati, Simone Calderara. *Dark experience for general continual learning: a strong,
simple baseline.* NeurIPS 2020, arXiv 2004.07211. With h the logits, z those remembered, M the memory, `der` minimises (equation 5)

    cross-entropy(new) + alpha * E_{(x', z') in M} |z' - h(x')|^2 / K

and `der++` adds, over a second draw (x'', y'') from M, beta * cross-entropy (equation 6). The memory is a reservoir over every batch as it
is learned, so z is what the network said before that step (algorithm 1).

K is the width of the head. In setting `class` all its outputs are in play from the start, as in the authors' code: those of classes to
come are trained down and remembered so, which keeps old examples from being taken for new classes later; DER lives on this, and knows in
advance how many classes there will be. With outputs=seen it does not, and held are the outputs that were in play when z was remembered, as
in settings `task` and `domain`. One difference: new and remembered examples go through the network as one batch, so a batch norm sees both;
the authors' code passes them one after another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from scenarios.experience import Batch
from scenarios.options import option
from strategies.memory.rehearsal import divided
from strategies.memory.stream import StreamConfig, StreamLearner
from strategies.networks.network import InPlay
from strategies.phase import Step


@dataclass(frozen=True, kw_only=True)
class DerConfig(StreamConfig):
    """Options of `der`, beside those of its memory.

    Attributes:
        alpha: weight of the distance from remembered logits.
        outputs: in setting class, whether all outputs of the head are in play from the start, or those of classes seen.
    """

    alpha: float = option(0.3, low=0)
    outputs: Literal["all", "seen"] = "all"


@dataclass(frozen=True, kw_only=True)
class DerPlusPlusConfig(DerConfig):
    """Options of `der++`, beside those of its memory.

    Attributes:
        alpha: weight of the distance from remembered logits.
        beta: weight of the cross-entropy on remembered examples.
    """

    alpha: float = option(0.1, low=0)
    beta: float = option(0.5, low=0)


class Der(StreamLearner):
    """Fine-tuning, held to the logits remembered."""

    Config = DerConfig

    def in_play(self, batch: Batch) -> InPlay:
        """The outputs that a training batch's loss looks at.

        Args:
            batch: the batch.

        Returns:
            All in setting `class`, unless outputs=seen or nothing is remembered.
        """
        scenario = self.setup.scenario
        if scenario.setting == "class" and self.config.outputs == "all" and self.config.memory:
            return range(scenario.num_outputs)
        return super().in_play(batch)

    def extras(self) -> dict[str, Tensor]:
        """Logits, and which of them were in play.

        Returns:
            Empty tensors by name.
        """
        like = next(self.network.parameters())
        width = self.setup.scenario.num_outputs
        return {"logits": like.new_zeros(0, width).detach(), "known": like.new_zeros(0, width, dtype=torch.bool)}

    def rehearse(self, batch: Batch) -> tuple[Step, dict[str, Tensor]]:
        """Cross-entropy on new examples and the distance from remembered logits.

        Args:
            batch: new examples, and remembered ones drawn once (`der`) or twice (`der++`).

        Returns:
            The step, and the new examples' logits.
        """
        assert batch.origin is not None
        new, old = divided(batch, self.setup.scenario.setting)
        fresh, remembered = self.network.features(batch.x).split([len(new.x), len(old.x)])
        task = self.fit(fresh, new)
        loss, parts = task.loss, {"cross-entropy": task.loss.detach()}
        if len(old.x):
            size = len(old.x) // self.draws
            distance = self.distance(remembered[:size], old, batch.origin.slots[:size])
            loss, parts["logits"] = loss + self.config.alpha * distance, distance.detach()
            if self.draws == 2:
                second = self.fit(remembered[size:], _second(old, size)).loss
                loss, parts["replay"] = loss + self.config.beta * second, second.detach()
        assert task.logits is not None
        return Step(loss, task.logits, task.targets, parts), self._beside(task.logits.detach(), new)

    def distance(self, features: Tensor, old: Batch, slots: Tensor) -> Tensor:
        """How far answers are from those remembered.

        Args:
            features: of remembered examples, [n, F].
            old: a batch that starts with them.
            slots: int64 [n], their places in the memory.

        Returns:
            Mean over examples of the squared distance over the outputs that were in play, divided by the width of the head; a scalar.
        """
        outputs, kept = self.in_play(old), self.buffer.kept
        if isinstance(outputs, range):
            logits, columns = self.network.head.narrow(features, outputs), slice(outputs.start, outputs.stop)
        else:
            logits, columns = self.network.head(features, replace(outputs, mask=outputs.mask[: len(slots)])), slice(None)
        wanted, known = (kept[name].index_select(0, slots)[:, columns] for name in ("logits", "known"))
        return ((logits - wanted) * known).square().sum() / (len(slots) * kept["logits"].shape[1])

    def _beside(self, logits: Tensor, new: Batch) -> dict[str, Tensor]:
        outputs, width = self.in_play(new), self.setup.scenario.num_outputs
        if isinstance(outputs, range):
            known = torch.zeros(len(logits), width, dtype=torch.bool, device=logits.device)
            known[:, outputs.start : outputs.stop] = True
            whole = functional.pad(logits, (outputs.start, width - outputs.stop))
        else:
            known, whole = outputs.mask, logits * outputs.mask
        return {"logits": whole, "known": known}


class DerPlusPlus(Der):
    """The same, and replay of a second draw."""

    Config = DerPlusPlusConfig
    draws = 2


def _second(old: Batch, size: int) -> Batch:
    return old._replace(x=old.x[size:], y=old.y[size:], tasks=old.tasks[size:])
