"""What disposals are measured against: the transferred network as it is, without its head, trained on, and one that never saw the source.

`none` releases the transferred network; `head-deletion` releases it without the source's head, which costs a thief who brings his own
nothing; `keep-only` makes the steps of a disposal with the retaining loss alone (what plain forgetting does); `target-only` was trained on
the target from its initial weights, so that it has nothing to leak beyond what the target itself teaches: the floor.
"""

from __future__ import annotations

import torch

from scenarios.experience import Experience
from strategies.disposal.disposal import Disposal
from strategies.phase import Phase


class NoDisposal(Disposal):
    """The transferred network, its old head refitted."""

    weight = 0.0

    def dispose_phases(self, experience: Experience) -> list[Phase]:
        """Refit the old head; the trunk is left alone.

        Args:
            experience: with the target's training data.

        Returns:
            One phase, or none.
        """
        return self.reprobe_phases()


class HeadDeletion(NoDisposal):
    """The transferred network without the source's head."""

    def phases(self, experience: Experience) -> list[Phase]:
        """Fine-tune, and drop the head once the target is learned.

        Args:
            experience: the source, the target, or the order to dispose.

        Returns:
            The phases.
        """
        return [] if experience.role == "dispose" else super().phases(experience)

    def _keep_transferred(self) -> None:
        super()._keep_transferred()
        with torch.no_grad():
            for parameter in self.source_head.parameters():
                parameter.zero_()


class KeepOnly(Disposal):
    """The retaining loss alone."""

    weight = 0.0


class TargetOnly(Disposal):
    """Trained on the target from the initial weights; the source is never seen."""

    weight = 0.0

    def phases(self, experience: Experience) -> list[Phase]:
        """Train on the target alone.

        Args:
            experience: the source, the target, or the order to dispose.

        Returns:
            One phase for the target, none otherwise.
        """
        return super().phases(experience) if experience.role == "target" else []

    def _keep_transferred(self) -> None:
        """Nothing was transferred."""
