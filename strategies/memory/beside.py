"""Replay beside a penalty or a distillation, by name: `ewc+replay`, `si+replay`, `lwf+replay`, ...

The method is what it is alone, with its own phases and options; the batches that it is trained on are joined by remembered examples as
`replay` joins them, and both kinds count alike in its loss. What a method measures after training (importances, curvature) it measures on
the new experience alone. Without memory it is the method alone, at strength 0 it is `replay`, both bit for bit.
"""

from __future__ import annotations

from dataclasses import make_dataclass, replace
from functools import partial

from scenarios.batches import Shuffled
from scenarios.errors import UserError
from scenarios.experience import Experience
from strategies.memory.rehearsal import Rehearsal, RehearsalConfig, WithReplay
from strategies.phase import Phase
from strategies.registry import strategies

METHODS = ("ewc", "online-ewc", "si", "mas", "alasso", "kfac", "xkfac", "lwf")
"""What replay goes beside: methods whose training is one loss on batches of the new experience."""


class Beside(Rehearsal):
    """A method trained on new examples together with remembered ones."""

    @classmethod
    def of(cls, method: str) -> type[Beside]:
        """Combine a method with replay.

        Args:
            method: its name.

        Returns:
            The combined strategy, whose options are those of both.

        Raises:
            UserError: the combination means nothing.
        """
        if method == "naive":
            raise UserError("naive with replay is strategy replay; choose that")
        if method not in METHODS:
            raise UserError(f"replay goes beside {', '.join(METHODS)}, not beside '{method}'")
        component = strategies.load(method)[0]
        name = f"{component.__name__}WithReplay"
        options = make_dataclass(f"{name}Config", [], bases=(RehearsalConfig, component.Config), frozen=True, kw_only=True)
        return type(name, (cls, component), {"Config": options, "__doc__": f"{component.__doc__}", "__module__": __name__})

    def phases(self, experience: Experience) -> list[Phase]:
        """The method's phases, trained on remembered examples as well; then the experience is let into the memory.

        Args:
            experience: what is to be learned.

        Returns:
            The phases, in order.
        """
        phases = [self._joined(phase) for phase in super(Rehearsal, self).phases(experience)]
        phases[-1] = replace(phases[-1], end=partial(self._end, phases[-1], experience))
        return phases

    def _joined(self, phase: Phase) -> Phase:
        if not phase.updates or not len(self.memory):
            return phase
        assert isinstance(phase.batches, Shuffled)
        size = self.config.batch_size or self.setup.train.batch_size
        return replace(phase, batches=WithReplay(phase.batches, self.memory, size))

    def _end(self, phase: Phase, experience: Experience) -> None:
        if phase.end:
            phase.end()
        self.take_up(experience)
