"""`importance-clip`: no parameter counts for nothing, and none for everything.

Penalties on leaving old parameters leave those of small importance free, which is what a poisoned experience uses; and a poisoned
experience can write large importances of its own. After each experience, importances are brought between multiples of their mean. A
hardening of our own (an inference, not a published method); it needs no trusted data.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scenarios.errors import UserError
from scenarios.experience import Experience
from scenarios.options import option
from strategies.answering import importance_of
from strategies.base import Strategy
from strategies.defences.defence import Defence


@dataclass(frozen=True, kw_only=True)
class ImportanceClipConfig:
    """Options of `importance-clip`.

    Attributes:
        floor: the least importance, in multiples of the mean.
        ceiling: the greatest, likewise; none for no limit.
    """

    floor: float = option(0.1, low=0)
    ceiling: float | None = option(100.0, low=0)


class ImportanceClip(Defence):
    """Bounds a penalty's importances."""

    Config = ImportanceClipConfig

    def prepare(self, strategy: Strategy) -> None:
        """Take its place beside a learner; one without importances is refused.

        Args:
            strategy: the learner.
        """
        super().prepare(strategy)
        self._importance()

    def end(self, experience: Experience) -> None:
        """Bound the importances.

        Args:
            experience: what has been learned.
        """
        importance = self._importance()
        mean = torch.cat([part.flatten() for part in importance]).mean()
        ceiling = None if self.config.ceiling is None else self.config.ceiling * float(mean)
        for part in importance:
            part.clamp_(self.config.floor * float(mean), ceiling)

    def _importance(self) -> list[Tensor]:
        found = importance_of(self.strategy)
        if found is None:
            raise UserError("importance-clip bounds the importances of a penalty; choose ewc, online-ewc, si, mas or alasso")
        return found
