"""A probe put to a run's network and to its anchors: trained where they are not known yet, measured, kept, summed up."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from runs.engine import Engine, Position
from runs.probing import cache, summaries, trials
from scenarios.errors import UserError
from strategies.base import Strategy
from strategies.networks.network import Network
from strategies.probes.probe import Probe
from strategies.probes.released import can_release, released
from strategies.soft_targets import frozen_copy

if TYPE_CHECKING:
    from runs.plan import Plan

AFTER = ("strategy", "probe", "attack", "defence", "evaluate", "test_scenario", "diagnose", "imports", "data_root")
"""What an anchor does not depend on."""


class Probing:
    """Puts a plan's probe to its networks.

    Args:
        plan: of a run that is over.
        stopping: says whether to stop.
        say: tells the user what is going on.
    """

    def __init__(self, plan: Plan, stopping: Callable[[], bool], say: Callable[[str], None]) -> None:
        assert plan.probe is not None
        self.plan, self.probe, self.stopping, self.say = plan, plan.probe, stopping, say

    def measure(self, matrix: list[list[float]]) -> dict[str, Any]:
        """Carry the probe out.

        Args:
            matrix: the run's accuracies, for what the summary says beside.

        Returns:
            Entries of the summary.
        """
        answers: dict[str, dict[str, Any]] = {}
        for subject in ("tested", *self.probe.anchors):
            answers[subject] = {piece: self._answer(subject, piece) for piece in self.probe.pieces()}
        return summaries.summarise(self, answers, matrix)

    def _answer(self, subject: str, piece: str) -> dict[str, Any]:
        about = self.probe.about(piece)
        asked = {"weights": self._weights(subject, about), "piece": piece, "probe": self._options, "facts": self.probe.facts()}
        met = {"data": self.plan.scenario.data.get("fingerprint"), "seed": self.plan.resolved["seed"]}
        met["source"] = cache.source(type(self.probe))
        name = cache.key({**asked, **met}, self.plan.device)
        known = cache.read(name)
        if known is None:
            self.say(f"probe: {piece}, {subject} network")
            known = self._carry_out(piece, self.anchor(subject, about))
            cache.write(name, known)
        return known

    def _carry_out(self, piece: str, network: Network) -> dict[str, Any]:
        measurement = self.probe.measure(piece, network)
        try:
            while True:
                asked = next(measurement)
                options = {name: self._options[name] for name in ("batched", "workers") if name in self._options}
                trials.carry_out(asked, stopping=self.stopping, **options)
        except StopIteration as over:
            return over.value

    @cached_property
    def _options(self) -> dict[str, Any]:
        return self.plan.resolved["probe"]

    def _weights(self, subject: str, about: int | None) -> str:
        # An anchor's weights follow from its recipe: once they are known by name, they need not be trained to be looked up.
        if subject == "tested":
            return cache.weights(self.anchor(subject, about))
        recipe = {key: value for key, value in self.plan.resolved.items() if key not in AFTER}
        if self.plan.scenario.setting == "episodic":
            # Learners of episodes have no common ground but their own: their anchors are trained by them.
            recipe["strategy"] = self.plan.resolved["strategy"]
        learned = self.probe.learned_by(subject, about)
        name = cache.key({"recipe": recipe, "learned": learned, "data": self.plan.scenario.data.get("fingerprint")}, self.plan.device)
        known = cache.read(name)
        if known is None:
            known = {"weights": cache.weights(self.anchor(subject, about))}
            cache.write(name, known)
        return known["weights"]

    def anchor(self, name: str, about: int | None = None) -> Network:
        """A network to compare with: what plain fine-tuning makes of a part of the stream.

        Args:
            name: floor or ceiling; or tested, for the run's own network.
            about: the experience that is asked for; None for no particular one.

        Returns:
            A copy, frozen.
        """
        if name == "tested":
            return released(self.plan.strategy.network, about)
        kept = getattr(self.plan.strategy, "transferred", None) if name == "ceiling" else None
        if kept is not None:
            return frozen_copy(kept)
        learned = tuple(self.probe.learned_by(name, about))
        if learned not in self._trained:
            self._train(learned)
        return copy.deepcopy(self._trained[learned])

    @cached_property
    def _trained(self) -> dict[tuple[int, ...], Network]:
        return {}

    @cached_property
    def _wanted(self) -> set[tuple[int, ...]]:
        abouts = dict.fromkeys(map(self.probe.about, self.probe.pieces()))
        return {tuple(self.probe.learned_by(anchor, about)) for anchor in self.probe.anchors for about in abouts}

    def _train(self, learned: tuple[int, ...]) -> None:
        # One training serves all anchors that it passes on its way.
        plan = self.plan
        learned = max((each for each in self._wanted if each[: len(learned)] == learned), key=len, default=learned)
        learner = plan.strategy.plain()
        learner.prepare(plan.strategy.setup)
        watch = trials.Watch(self.stopping)
        engine = Engine(learner, plan.train, plan.randomness, plan.device, watch, trials.no_checkpoint)
        watch.engine = engine
        self._trained[()] = frozen_copy(learner.network)
        # Whoever asks for an anchor first may be measuring without a graph.
        with torch.enable_grad():
            for place, index in enumerate(learned, 1):
                engine.learn(plan.scenario.experiences[index], Position(index))
                if learned[:place] in self._wanted or place == len(learned):
                    self._trained[learned[:place]] = frozen_copy(learner.network)


def check(probe: Probe, strategy: Strategy) -> None:
    """Refuse a learner that has no network to hand out.

    Args:
        probe: what is to be put to it.
        strategy: the learner, prepared.

    Raises:
        UserError: its network is not a trunk with a head, nor has one for each experience.
    """
    if probe.needs_network and not can_release(getattr(strategy, "network", None)):
        what = f"a probe asks copies of a network with one trunk and a head, which {type(strategy).__name__} has not"
        raise UserError(f"{what}; leave --probe out, or say --probe none")
