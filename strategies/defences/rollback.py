"""`rollback`: what an experience did to the network is checked on trusted examples, and taken back as far as it did harm.

The check of task vectors of Pawlak et al., *Single-Task Poisoning* (arXiv 2507.04106), and the verification of each task on earlier
knowledge (Hu & Duan), both known to us from abstracts: this is our reference design. With v = theta_n - theta_{n-1} the experience's task
vector, the greatest share s from 1, 0.9, ..., 0 is kept for which theta_{n-1} + s v is right on the trusted examples about as often as
theta_{n-1} was.

Where a share is taken back, the learner's own state (importances, teachers) goes back to what it was before the experience.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scenarios.experience import Experience
from scenarios.options import option
from strategies.answering import Answering, copy_of
from strategies.defences.memory import Aligned, MemoryConfig

SHARES = tuple(share / 10 for share in range(10, -1, -1))


@dataclass(frozen=True, kw_only=True)
class RollbackConfig(MemoryConfig):
    """Options of `rollback`.

    Attributes:
        tolerance: how much accuracy on trusted examples an experience may cost.
        partial: whether a share of the task vector may be kept, rather than all or nothing.
    """

    tolerance: float = option(0.05, low=0, high=1)
    partial: bool = True


class Rollback(Aligned):
    """Takes back what harms."""

    Config = RollbackConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.before: dict[str, Any] | None = None
        self.vectors: list[Tensor] = []
        self.decisions: dict[str, dict[str, float]] = {}

    def begin(self, experience: Experience) -> None:
        """Keep the learner's state.

        Args:
            experience: what is about to be learned.
        """
        self.before = cloned(self.strategy.state_dict())
        self.start = flat(copy_of(self.strategy))

    def end(self, experience: Experience) -> None:
        """Check, take back, and remember some of the experience.

        Args:
            experience: what has been learned.
        """
        assert self.before is not None
        model = copy_of(self.strategy)
        after = flat(model)
        vector = after - self.start
        if self.memory is not None:
            earlier = [float(torch.cosine_similarity(vector, other, 0)) for other in self.vectors]
            measured = {"norm": float(vector.norm()), "cosine": max(earlier, default=0.0)}
            self.decisions[str(experience.index)] = {**measured, **self._decide(model, vector, experience.index)}
        self.vectors.append(vector)
        self.before = None
        super().end(experience)

    def _decide(self, model: Answering, vector: Tensor, learning: int) -> dict[str, float]:
        wanted = self._right(model, self.start, learning) - self.config.tolerance
        harmed = self._right(model, self.start + vector, learning)
        shares = SHARES if self.config.partial else (1.0, 0.0)
        kept = next((share for share in shares if self._right(model, self.start + share * vector, learning) >= wanted), 0.0)
        if kept < 1:
            assert self.before is not None
            self.strategy.load_state_dict(self.before)
            write(Answering(self.strategy.network), self.start + kept * vector)
        return {"trusted_before": wanted + self.config.tolerance, "trusted_after": harmed, "kept": kept}

    @torch.no_grad()
    def _right(self, model: Answering, parameters: Tensor, learning: int) -> float:
        assert self.memory is not None
        write(model, parameters)
        scenario, right = self.setup.scenario, 0
        for task in self.memory.tasks.unique().tolist():
            own = self.memory.select(torch.nonzero(self.memory.tasks == task).flatten())
            batch = own.batch(slice(None))
            outputs = scenario.experiences[task].outputs if scenario.setting == "task" else scenario.in_play(learning)
            right += int((model(batch.x, task, outputs).argmax(1) + outputs.start == batch.y).sum())
        return right / len(self.memory)

    def state_dict(self) -> dict[str, Any]:
        """The memory, the task vectors, and the learner's state before the experience.

        Returns:
            Nested dictionaries, lists and tuples of tensors and plain values.
        """
        kept = {"before": self.before, "vectors": self.vectors, "decisions": self.decisions}
        return {**super().state_dict(), **kept, "start": None if self.before is None else self.start}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
        """
        super().load_state_dict(state)
        self.before, self.vectors, self.decisions = state["before"], state["vectors"], state["decisions"]
        if state["start"] is not None:
            self.start = state["start"].to(self.setup.device)

    def report(self) -> dict[str, Any]:
        """What was decided.

        Returns:
            For each checked experience: length of its task vector and greatest cosine with an earlier one, accuracy on trusted examples
            before and after, and the share of the vector that was kept.
        """
        return {**super().report(), "rollback": self.decisions}


def flat(model: Answering) -> Tensor:
    """A network's parameters and running statistics as one vector.

    Args:
        model: the network.

    Returns:
        [P], a copy.
    """
    return torch.cat([each.detach().flatten() for each in _numbers(model)])


@torch.no_grad()
def write(model: Answering, vector: Tensor) -> None:
    """Write a vector into a network.

    Args:
        model: the network.
        vector: [P].
    """
    numbers = _numbers(model)
    for each, part in zip(numbers, vector.split([each.numel() for each in numbers])):
        each.copy_(part.view_as(each))


def _numbers(model: Answering) -> list[Tensor]:
    return [each for each in (*model.parameters(), *model.buffers()) if each.is_floating_point()]


def cloned(state: Any) -> Any:
    """Copy a nested state.

    Args:
        state: dictionaries, lists and tuples of tensors and plain values.

    Returns:
        The same, sharing no tensor.
    """
    if isinstance(state, Tensor):
        return state.detach().clone()
    if isinstance(state, dict):
        return {name: cloned(value) for name, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(cloned(value) for value in state)
    return state
