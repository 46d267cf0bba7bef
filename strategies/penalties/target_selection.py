"""Learning rate and damping chosen on the new task alone: candidates are trained from one start and judged on its validation data.

A candidate is two phases: training, and an observing pass over `experience.validation`. The best one's network is kept; of equal ones the
one with more damping. No source data may be read: the batches that these phases draw from fail on examples of any other task.
(The paper says what may be looked at; the procedure is inferred.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor

from scenarios.batches import GeneratorFor, Shuffled
from scenarios.experience import Batch, Experience
from strategies.networks.network import Network
from strategies.phase import Phase

VALIDATION_BATCH = 500


@dataclass(frozen=True, eq=False)
class TargetOnly(Shuffled):
    """Batches of one experience, which fail on any other's examples.

    Attributes:
        examples: the selection.
        batch_size: examples a batch.
        augmentation: what is done to the pixels.
        drop_last: leave the smaller last batch out.
        target: the only experience whose examples may come.
    """

    target: int = 0

    def epoch(self, generator_for: GeneratorFor) -> Iterator[Batch]:
        """One pass.

        Args:
            generator_for: gives the generator of a purpose for this pass.

        Yields:
            The batches.
        """
        assert self.examples.task == self.target, "learning rate and damping may be chosen on the new task's data alone"
        yield from super().epoch(generator_for)


@dataclass(frozen=True)
class Candidate:
    """What may be chosen.

    Attributes:
        learning_rate: the optimiser's step size.
        damping: weight decay around the initial point.
    """

    learning_rate: float
    damping: float


@dataclass(frozen=True, eq=False)
class Best:
    """The best candidate so far.

    Attributes:
        accuracy: on the validation data.
        candidate: which.
        network: what it ended with.
    """

    accuracy: float
    candidate: Candidate
    network: dict[str, Tensor]


class TargetSelection:
    """Tries candidates, one after another.

    Args:
        network: is trained.
        candidates: learning rates and dampings; each pair is tried.
        in_play: from an experience's index to the outputs that are answered with.
        start_training: gets the penalty ready for a candidate of this damping.
    """

    def __init__(
        self,
        network: Network,
        candidates: tuple[Sequence[float], Sequence[float]],
        in_play: Callable[[int], range],
        start_training: Callable[[float], None],
    ) -> None:
        self.network = network
        self.candidates = [Candidate(*pair) for pair in product(*candidates)]
        self.in_play = in_play
        self.start_training = start_training
        self.start: dict[str, Tensor] = {}
        self.best: Best | None = None
        self.right: Tensor | None = None
        self.history: list[dict[str, Any]] = []

    def phases(self, experience: Experience, training: Callable[[float], Phase]) -> list[Phase]:
        """Train and judge every candidate, and keep the best.

        Args:
            experience: what is to be learned.
            training: from a learning rate to the phase that trains with it.

        Returns:
            Two phases a candidate.
        """
        phases = []
        outputs = self.in_play(experience.index)
        for number, candidate in enumerate(self.candidates):
            name = f"candidate {number + 1} of {len(self.candidates)}"
            last = number + 1 == len(self.candidates)
            train = training(candidate.learning_rate)
            phases.append(
                Phase(name=name, batches=train.batches, updates=train.updates, begin=partial(self._begin, number), fresh=train.fresh)
            )
            phases.append(
                Phase(
                    name="validation",
                    batches=TargetOnly(experience.validation, VALIDATION_BATCH, target=experience.index),
                    epochs=1,
                    observe=partial(self._observe, outputs),
                    end=partial(self._judge, candidate, experience, last),
                )
            )
        return phases

    def _begin(self, number: int) -> None:
        if number == 0:
            self.start, self.best = _copy(self.network), None
        self.network.load_state_dict(self.start)
        self.right = None
        self.start_training(self.candidates[number].damping)

    @torch.no_grad()
    def _observe(self, outputs: range, batch: Batch) -> None:
        logits = self.network.eval()(batch.x, outputs)
        right = (logits.argmax(1) == batch.y).sum()
        self.right = right if self.right is None else self.right + right

    def _judge(self, candidate: Candidate, experience: Experience, last: bool) -> None:
        assert self.right is not None
        accuracy = float(self.right) / len(experience.validation)
        self.right = None
        tried = {"experience": experience.index, "learning_rate": candidate.learning_rate, "damping": candidate.damping}
        self.history.append({**tried, "validation_accuracy": accuracy, "chosen": False})
        best = self.best
        if best is None or (accuracy, candidate.damping) > (best.accuracy, best.candidate.damping):
            self.best = Best(accuracy, candidate, _copy(self.network))
        if last:
            assert self.best is not None
            self.network.load_state_dict(self.best.network)
            chosen = self.best.candidate
            for row in self.history[-len(self.candidates) :]:
                row["chosen"] = (row["learning_rate"], row["damping"]) == (chosen.learning_rate, chosen.damping)
            self.start, self.best = {}, None

    def state_dict(self) -> dict[str, Any]:
        """Where the choice stands.

        Returns:
            Nested dictionaries and lists of tensors and plain values.
        """
        best = self.best
        kept = best and {
            "accuracy": best.accuracy,
            "candidate": (best.candidate.learning_rate, best.candidate.damping),
            "network": dict(best.network),
        }
        return {"start": dict(self.start), "best": kept, "right": self.right, "history": [dict(row) for row in self.history]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
        """
        best, device = state["best"], next(self.network.parameters()).device
        self.start = dict(state["start"])
        self.best = Best(best["accuracy"], Candidate(*best["candidate"]), dict(best["network"])) if best else None
        self.right = state["right"].to(device) if state["right"] is not None else None
        self.history = [dict(row) for row in state["history"]]


def _copy(network: Network) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}
