"""An adversary and a defence at one learner: the hooks of the engine that they act through.

Every strategy can be the victim, and none knows of it: examples are exchanged before the strategy declares its phases, batches before an
update's loss, gradients between backward and step.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metrics import robustness
from runs import config
from runs.controls import Controls, compared
from runs.poison import Poison, altered_positions
from runs.recording.store import Store
from scenarios.episodes.episodic import EpisodicScenario
from scenarios.errors import UserError
from scenarios.experience import Batch, Examples, Experience, Scenario
from scenarios.overlay import Overlay
from scenarios.random import Randomness
from strategies.answering import Answering, copy_of, fresh_one, importance_of
from strategies.attacks.adversary import Adversary
from strategies.attacks.view import AdversaryView
from strategies.base import Strategy
from strategies.defences.defence import Defence


def outfit(scenario: Scenario, attack: Adversary | None, defence: Defence | None) -> Scenario:
    """Give the storages of a scenario what an adversary and a defence need.

    Args:
        scenario: the stream, its batches made on the device.
        attack: needs an overlay on the training images.
        defence: may change all pixels.

    Returns:
        The same scenario where neither is there.
    """
    if (attack is None and defence is None) or isinstance(scenario, EpisodicScenario):
        return scenario
    storage = scenario.experiences[0].train.storage
    overlay = Overlay(len(storage.images), storage.images.shape, storage.device)
    preprocess = defence.preprocess if defence and type(defence).preprocess is not Defence.preprocess else None

    def fitted(examples: Examples, *, altered: bool) -> Examples:
        return replace(examples, storage=replace(examples.storage, overlay=overlay if altered else None, preprocess=preprocess))

    experiences = tuple(
        replace(
            each,
            train=fitted(each.train, altered=True),
            validation=fitted(each.validation, altered=True),
            test=fitted(each.test, altered=False),
        )
        for each in scenario.experiences
    )
    return replace(scenario, experiences=experiences)


class Contest:
    """The engine's hooks.

    Args:
        strategy: the victim, prepared.
        scenario: the stream, as it is without an adversary.
        randomness: of the run.
        attack: the adversary; None for a defence alone.
        defence: None for an adversary alone.
        store: the run's directory; None to write nothing.
        named: what adversary and defence are called, by section.
    """

    def __init__(
        self,
        strategy: Strategy,
        scenario: Scenario,
        randomness: Randomness,
        attack: Adversary | None,
        defence: Defence | None,
        store: Store | None,
        named: Mapping[str, str],
    ) -> None:
        self.strategy = strategy
        self.scenario = scenario
        self.randomness = randomness
        self.attack = attack
        self.defence = defence
        self.store = store
        self.named = named
        head = {"adversary": named["attack"], "options": config.as_dict(attack.config), "seed": randomness.seed} if attack else {}
        self.poison = Poison(scenario, head, store.folder if store else None)
        self.kept: dict[int, Tensor] = {}
        self.detection: dict[str, Any] = {}
        self.steps = 0
        self.seconds = 0.0
        self._learning: Experience | None = None
        self._view: AdversaryView | None = None

    def arrive(self, experience: Experience, *, fresh: bool) -> Experience:
        """Let the adversary and then the defence look at an experience.

        Args:
            experience: as the stream gives it.
            fresh: whether nothing of it has been learned yet.

        Returns:
            What the learner gets.
        """
        index = experience.index
        self._learning, self._view = experience, None
        if fresh:
            self.steps = 0
        if self._attacked(index) and self.attack and not self.attack.online and index not in self.poison.examples:
            self._poison(experience)
        arrived = replace(experience, train=self.poison.examples.get(index, experience.train))
        if self.defence and index not in self.kept and fresh:
            self._inspect(experience, arrived)
        learned = self._remaining(arrived)
        met = tuple(learned if each.index == index else self._known(each) for each in self.scenario.experiences)
        self.strategy.setup = replace(self.strategy.setup, scenario=replace(self.scenario, experiences=met))
        if self.defence and fresh:
            self.defence.begin(learned)
        return learned

    def batch(self, batch: Batch) -> Batch:
        """Let the adversary and then the defence change a batch.

        Args:
            batch: as the phase gives it.

        Returns:
            What the updates get.
        """
        assert self._learning is not None
        if not isinstance(batch, Batch):
            return batch
        self.steps += 1
        if self.attack and self.attack.online and self._attacked(self._learning.index):
            clock = time.perf_counter()
            batch = self.attack.perturb(batch, self._look(self._learning))
            self.seconds += time.perf_counter() - clock
        if self.defence:
            batch = self.defence.transform(batch, self._generator("transform"))
        return batch

    def gradient(self, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
        """Let the defence change the gradient of the victim's own network.

        Args:
            batch: what it is of.
            optimizer: that moves the parameters.
        """
        if self.defence is None or not isinstance(batch, Batch):
            return
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        own = {id(parameter) for parameter in self.strategy.network.parameters()}
        if id(parameters[0]) in own:
            self.defence.constrain(batch, parameters, self._generator("constrain"))

    def leave(self, experience: Experience) -> None:
        """An experience has been learned.

        Args:
            experience: what `arrive` gave.
        """
        if self.defence:
            self.defence.end(experience)

    def _attacked(self, index: int) -> bool:
        return self.attack is not None and not self.attack.idle and index in self.attack.experiences

    def _generator(self, purpose: str) -> torch.Generator:
        assert self._learning is not None
        return self.randomness.generator("defence", purpose, self._learning.index, self.steps)

    def _look(self, experience: Experience) -> AdversaryView:
        # Within an experience one view lives on; white-box access follows the victim's steps.
        assert self.attack is not None
        if self._view is None:
            victim: Answering | None = copy_of(self.strategy) if self.attack.access == "white-box" else None
            fresh = None
            if self.attack.access == "surrogate":
                fresh = fresh_one(self.strategy.setup.build_network, self.randomness.key("attack", "surrogate"))
            self._view = AdversaryView(self.scenario, experience, experience.train, self.randomness, victim, fresh=fresh)
            if getattr(self.attack.config, "importance", False):
                self._view.importance = [part.clone() for part in importance_of(self.strategy) or ()]
            if getattr(self.attack.config, "adaptive", False):
                self._view.defence = self.defence
        elif self._view.victim is not None and not self._view.victim.follow(self.strategy.network):
            self._view.victim = copy_of(self.strategy)
        self._view.step = self.steps
        return self._view

    def _poison(self, experience: Experience) -> None:
        assert self.attack is not None
        clock = time.perf_counter()
        before = len(experience.train.storage.overlay)  # type: ignore[arg-type]
        examples = self.attack.poison(self._look(experience))
        self.seconds += time.perf_counter() - clock
        self._view = None
        self.poison.keep(experience.index, examples, before)

    def _inspect(self, experience: Experience, arrived: Experience) -> None:
        assert self.defence is not None
        scores = self.defence.detect(arrived)
        if scores is not None and self._attacked(experience.index) and self.attack and not self.attack.online:
            changed = altered_positions(experience.train, arrived.train)
            self.detection[str(experience.index)] = self._judge(scores, changed, experience)
        kept = self.defence.filter(arrived, scores)
        if kept is not None:
            self.kept[experience.index] = kept

    def _judge(self, scores: Tensor, changed: Tensor, experience: Experience) -> dict[str, Any]:
        # Where everything is altered there is nothing clean to tell apart from: the same images without the adversary stand in.
        assert self.defence is not None
        guilty = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
        guilty[changed] = True
        against = "the experience's unaltered examples"
        if bool(guilty.all()):
            clean = self.defence.detect(experience)
            assert clean is not None
            scores, guilty = torch.cat([scores, clean]), torch.cat([guilty, torch.zeros_like(clean, dtype=torch.bool)])
            against = "the same examples unaltered"
        false, true = robustness.roc(scores, guilty)
        picked = torch.linspace(0, len(false) - 1, min(len(false), 101)).long()
        curve = {"false_positive_rate": false[picked].tolist(), "true_positive_rate": true[picked].tolist()}
        return {"auc": robustness.auc(scores, guilty), "against": against, "roc": curve}

    def _remaining(self, arrived: Experience) -> Experience:
        kept = self.kept.get(arrived.index)
        return arrived if kept is None else replace(arrived, train=arrived.train.select(kept.to(arrived.train.rows.device)))

    def _known(self, experience: Experience) -> Experience:
        return self._remaining(replace(experience, train=self.poison.examples.get(experience.index, experience.train)))

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on, beside the files of altered images.

        Returns:
            Nested dictionaries, lists and tuples of tensors and plain values.
        """
        return {
            "steps": self.steps,
            "seconds": self.seconds,
            "kept": self.kept,
            "detection": self.detection,
            "defence": self.defence.state_dict() if self.defence else {},
        }

    def load_state_dict(self, state: dict[str, Any], folder: Path) -> None:
        """Take up a saved state, and the altered images of the run's directory.

        Args:
            state: what `state_dict` gave.
            folder: the run's directory.
        """
        self.steps, self.seconds = state["steps"], state["seconds"]
        self.kept, self.detection = state["kept"], state["detection"]
        if self.defence:
            self.defence.load_state_dict(state["defence"])
        self.poison.read(folder)

    def artefacts(self) -> dict[str, Tensor]:
        """Some images before and after the adversary, for a plot.

        Returns:
            Names to tensors; empty where none were altered before an experience.
        """
        return self.poison.pictures()

    def _reckoned(self) -> list[str]:
        # What of the defence an adaptive adversary has taken into account; nothing where the defence offers nothing to reckon with.
        ways = ("preprocess", "seen", "shaped", "trusted", "conspicuous")
        return [way for way in ways if getattr(type(self.defence), way) is not getattr(Defence, way)]

    def report(self, matrix: Tensor, controls: Controls) -> dict[str, Any]:
        """What belongs into the run's summary.

        Args:
            matrix: the accuracy matrix so far.
            controls: what the run is held against.

        Returns:
            `attack`, `defence`, and where data were altered `poison` and the data's entry.
        """
        found: dict[str, Any] = {}
        attack = self.attack
        if attack:
            online = attack.online
            done = compared(attack.config.target, attack.experiences, matrix, controls) if len(matrix) == len(self.scenario) else {}
            found["attack"] = {
                "name": self.named["attack"],
                "access": attack.access,
                "experiences": list(attack.experiences),
                "schedule": "online" if online else "offline",
                **({"adaptive": True, "reckons_with": self._reckoned()} if getattr(attack.config, "adaptive", False) else {}),
                **done,
                "crafting_seconds": self.seconds,
            }
            if self.poison.entries:
                found["poison"] = self.poison.entries
            if not attack.idle:
                found["data"] = {**self.scenario.data, "poisoned": True}
        if self.defence:
            found["defence"] = {
                "name": self.named["defence"],
                **self.defence.report(),
                **({"detection": self.detection} if self.detection else {}),
            }
        return found


def check(attack: Adversary, defence: Defence | None, strategy: Strategy) -> None:
    """Check that an adversary can know what its options say that it knows.

    Args:
        attack: the adversary.
        defence: the defence; None where there is none.
        strategy: the victim, prepared.

    Raises:
        UserError: there is nothing to know.
    """
    if getattr(attack.config, "adaptive", False) and defence is None:
        raise UserError("attack.adaptive=true reckons with a defence; add --defence NAME")
    if getattr(attack.config, "importance", False):
        if importance_of(strategy) is None:
            raise UserError("attack.importance=true needs a victim with importances; choose ewc, online-ewc, si, mas or alasso")
        if attack.access != "white-box":
            raise UserError("attack.importance=true is knowledge of the victim; set attack.access=white-box")
