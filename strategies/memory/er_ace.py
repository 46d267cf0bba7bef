"""ER-ACE: replay in which new examples do not push the old classes' outputs down.

Lucas Caccia, Rahaf Aljundi, Nader Asadi, Tinne Tuytelaars, Joelle Pineau, Eugene Belilovsky. *New insights on reducing abrupt
representation change in online continual learning.* ICLR 2022, arXiv 2104.05025. The asymmetric cross-entropy is (equation 3)

    cross-entropy(new; the classes that are in the new batch) + cross-entropy(remembered; all classes met so far),

each a mean over its examples: the softmax of new examples leaves out all classes that are not among them. The memory is a reservoir over
every batch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from scenarios.experience import Batch
from strategies.memory.rehearsal import divided
from strategies.memory.stream import StreamLearner
from strategies.networks.network import OUT_OF_PLAY
from strategies.phase import Step


class ErAce(StreamLearner):
    """Replay with an asymmetric cross-entropy."""

    settings = frozenset({"class"})

    def rehearse(self, batch: Batch) -> tuple[Step, dict[str, Tensor]]:
        """The asymmetric cross-entropy.

        Args:
            batch: new and remembered examples.

        Returns:
            The step, and nothing.
        """
        new, old = divided(batch, self.setup.scenario.setting)
        features = self.network.features(batch.x)
        outputs = self.in_play(batch)
        assert isinstance(outputs, range)
        logits = self.network.head.narrow(features, outputs)
        absent = torch.ones(logits.shape[1], dtype=torch.bool, device=logits.device).index_fill_(0, new.y, False)
        fresh = logits[: len(new.x)].masked_fill(absent, OUT_OF_PLAY)
        loss = functional.cross_entropy(fresh, new.y)
        if len(old.x):
            loss = loss + functional.cross_entropy(logits[len(new.x) :], old.y)
        return Step(loss, logits, batch.y), {}
