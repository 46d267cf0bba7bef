"""Validation while a learner of episodes is trained: a curve, and the checkpoints that do best on it.

The accuracies are taken over the first episodes of the validation classes, and of the training classes beside them; neither moves the
learner or draws a random number that training uses. An ensemble answers with the mean of its checkpoints' logits, as in the code of MAML++,
L2F (3 checkpoints) and CxGrad (5). It is another quantity than one learner's accuracy: off unless asked for, and always under its own name.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from runs.evaluate_episodes import SHOWN, episode_accuracies
from scenarios.episodes.episodes import EpisodeBatch
from scenarios.episodes.episodic import EpisodicScenario


@dataclass
class Selection:
    """Validates at the ends of passes, and keeps the best checkpoints of the present experience.

    Attributes:
        strategy: the learner.
        every: validate after every so many passes; 0 for never.
        members: checkpoints to keep; 0 for none.
        batch_size: images in one pass of the network.
        experience: which experience the kept checkpoints are of.
        best: accuracy, iteration and state of each, the best first.
    """

    strategy: Any
    every: int
    members: int
    batch_size: int
    experience: int = -1
    best: list[dict[str, Any]] = field(default_factory=list)

    def look(self, scenario: EpisodicScenario, experience: int, passes: int, over: bool) -> list[dict[str, Any]]:
        """Validate, if it is time.

        Args:
            scenario: the domains.
            experience: the one that is being learned.
            passes: done in it so far.
            over: whether it has been learned.

        Returns:
            Rows for `metrics.jsonl`; empty if it is not time.
        """
        if not self.every or (passes % self.every and not over):
            return []
        domain = scenario.experiences[experience]
        found: dict[str, float] = {}
        for name, stream in (("validation_accuracy", domain.validation), ("training_accuracy", domain.train)):
            found[name] = float(episode_accuracies(self.strategy, stream, SHOWN, self.batch_size)[0].mean())
        self._keep(experience, found["validation_accuracy"])
        where = {"on_experience": experience, "iteration": self.strategy.iteration}
        return [{"metric": name, "value": value, **where} for name, value in found.items()]

    def _keep(self, experience: int, accuracy: float) -> None:
        if experience != self.experience:
            self.experience, self.best = experience, []
        if self.members:
            here = {"accuracy": accuracy, "iteration": self.strategy.iteration, "state": copy.deepcopy(self.strategy.state_dict())}
            self.best = sorted([*self.best, here], key=lambda each: -each["accuracy"])[: self.members]

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to go on.

        Returns:
            Plain values and tensors.
        """
        return {"experience": self.experience, "best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
        """
        self.experience, self.best = state["experience"], state["best"]


class Ensemble:
    """Answers episodes with the mean of several checkpoints' logits. The learner is as before after every answer.

    Args:
        strategy: the learner.
        states: its states at the checkpoints.
    """

    def __init__(self, strategy: Any, states: list[dict[str, Any]]) -> None:
        self.strategy, self.states = strategy, states

    def episode_logits(self, batch: EpisodeBatch, steps: bool = False) -> Tensor:
        """Answer episodes.

        Args:
            batch: the episodes.
            steps: also answer after every number of adaptation steps, from none.

        Returns:
            As the learner's own.
        """
        present = copy.deepcopy(self.strategy.state_dict())
        answers = []
        for state in self.states:
            self.strategy.load_state_dict(state)
            answers.append(self.strategy.episode_logits(batch, steps))
        self.strategy.load_state_dict(present)
        return torch.stack(answers).mean(0)
