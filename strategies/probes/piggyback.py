"""Piggyback learning: what a third party gets back by retraining the released weights on a part of what they learned (PL accuracy).

Koh et al. (ICCV 2023) measure disposal by the accuracy of such retraining; its protocol was not available, so this one is a reconstruction
in all its numbers. Subsets of the source's training set are stratified and drawn once, the same for every method (the summary holds their
digests). A thief makes a fixed number of gradient steps, not passes, at every rate of a grid; nothing is selected, the last iterate is
tested on the source's test set. A leak is what the best thief obtains: accuracies are averaged over subsets, then the best rate counts.

Floor and ceiling are measured by the same recipe: a network that never saw the source, and the transferred one before disposal.

Of a stream every experience but the last is stolen back: what looks forgotten may be a few steps away. The ceiling is then plain
fine-tuning up to the experience, as it was just after learning it. Of a stream of domains the thief is after the classes that a learner
of episodes meta-trained on (`strategies.probes.material`); anchors are then trained by the same learner, one domain after another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from scenarios.errors import UserError, nearest
from scenarios.experience import Examples
from scenarios.options import option
from scenarios.transfer import subsets
from scenarios.transfer.downstream import downstream
from strategies.networks.network import Network
from strategies.probes import piggybackers
from strategies.probes.loot import Loot, generator
from strategies.probes.material import Material, materials
from strategies.probes.probe import Measurement, Probe, ProbeSetup
from strategies.probes.theft import Theft


@dataclass(frozen=True, kw_only=True)
class PiggybackConfig:
    """Options of `piggyback`.

    Attributes:
        on: the experiences that are stolen back; none for the source of a transfer, and for all but the last of a stream.
        per_class: sizes of the subsets, in examples of each class; none for sizes in per cent alone. Of domains, sizes that are larger than
            half of the smallest class are left out.
        percent: further sizes, in per cent of the training set; none for no further.
        subsets: subsets of each size, over which accuracies are averaged.
        piggybackers: what the thief does: fresh-head, linear-probe, warm-up, reinit, rescale, distil, retain-only, kept-head,
            kept-head-probe; the first gives PL accuracy its name, all of them (the others at the largest of per_class) give its best.
        rates: step sizes of the grid.
        steps: gradient steps.
        looks: numbers of steps after which the thief is tested as well, for the curve.
        batch_size: examples a step.
        momentum: of gradient descent.
        weight_decay: L2 penalty.
        test_examples: test on at most so many; none for all.
        side: test, or validation, for choosing a disposal's options.
        floor: what has not seen the source: target-only (trained on the rest of the stream), or scratch (the initial weights); auto for
            target-only in a transfer, else scratch, since it takes one training of the rest of the stream for each experience.
        downstream: a data set that the thief is after instead of the source; none for the source.
        batched: carry trials out together where their networks allow it.
        workers: processes for trials that cannot be carried out together.
    """

    on: tuple[int, ...] | None = option(None, low=0)
    per_class: tuple[int, ...] | None = option((5, 20, 100), low=1)
    percent: tuple[float, ...] | None = option(None, low=0.001, high=100)
    subsets: int = option(3, low=1)
    piggybackers: tuple[str, ...] = piggybackers.DEFAULT
    rates: tuple[float, ...] = option((0.1, 0.03, 0.01), low=0)
    steps: int = option(200, low=1)
    looks: tuple[int, ...] = option((10, 30, 80), low=1)
    batch_size: int = option(32, low=1)
    momentum: float = option(0.9, low=0, high=1)
    weight_decay: float = option(5e-4, low=0)
    test_examples: int | None = option(1000, low=1)
    side: Literal["test", "validation"] = "test"
    floor: Literal["auto", "target-only", "scratch"] = "auto"
    downstream: str | None = None
    batched: bool = True
    workers: int = option(1, low=1)


class Piggyback(Probe):
    """Retrains copies on subsets of the source."""

    Config = PiggybackConfig
    anchors: ClassVar[tuple[str, ...]] = ("floor", "ceiling")

    def prepare(self, setup: ProbeSetup) -> None:
        """Draw the subsets.

        Args:
            setup: the scenario, and the run's randomness.

        Raises:
            UserError: there is no such experience, subset or piggybacker, or nothing to test on.
        """
        super().prepare(setup)
        config = self.config
        for name in config.piggybackers:
            if name not in piggybackers.NAMES:
                raise UserError(f"unknown piggybacker '{name}' in probe.piggybackers{nearest(name, piggybackers.NAMES)}")
        if config.piggybackers[:1] == ("retain-only",):
            raise UserError("the first of probe.piggybackers retrains on subsets, which retain-only does not; put fresh-head before it")
        if not config.piggybackers or not (config.per_class or config.percent) or not config.rates:
            raise UserError("a piggyback probe needs one of each: probe.piggybackers, probe.per_class or probe.percent, probe.rates")
        there = materials(setup.scenario, setup.randomness, config.side)
        self.transfer = any(getattr(experience, "role", "") for experience in setup.scenario.experiences)
        forgotten = list(there)[:1] if self.transfer else list(there)[:-1] or list(there)
        for index in config.on or ():
            if index not in there:
                raise UserError(f"probe.on={index} is none of the {len(there)} experiences; choose from 0 to {len(there) - 1}")
        self.there = there
        self.loot = {index: self._loot(there[index]) for index in dict.fromkeys(config.on or forgotten)}
        if not all(map(self.thieves, self.loot)):
            raise UserError("none of probe.piggybackers can be asked here, where there is no old head for them; put fresh-head before them")
        self.theft = Theft(config, setup, there)

    def _loot(self, material: Material) -> Loot:
        config = self.config
        learned, test, outputs = material.train, material.test, material.outputs
        if config.downstream is not None:
            learned, test, classes = downstream(config.downstream, learned, self.setup.data_root)
            outputs = range(classes)
        if not len(test):
            where = f"experience {material.index} has no {config.side} examples"
            raise UserError(f"{where}; set scenario.validation_share, or choose another")
        if config.test_examples is not None and config.test_examples < len(test):
            chosen = torch.randperm(len(test), generator=generator(self.setup.randomness, "test"))[: config.test_examples]
            test = test.select(chosen.to(test.rows.device))
        sizes: dict[str, list[Tensor]] = {}
        for count in self._counts(learned):
            sizes[str(count)] = [self._subset(learned, subsets.per_class, count, seed) for seed in range(config.subsets)]
        for percent in config.percent or ():
            sizes[f"{percent:g}%"] = [self._subset(learned, subsets.percentage, percent, seed) for seed in range(config.subsets)]
        return Loot(material.index, material.name, learned, test, outputs, sizes)

    def _counts(self, learned: Examples) -> list[int]:
        asked = list(self.config.per_class or ())
        if self.setup.scenario.setting != "episodic":
            return asked
        # Few images a class are the rule there; a size that no class has is left out where another can be had.
        smallest = int(learned.targets.unique(return_counts=True)[1].min())
        return [count for count in asked if count <= smallest] or asked[:1]

    def about(self, piece: str) -> int | None:
        """The experience that a piece steals back.

        Args:
            piece: one of `pieces`.

        Returns:
            Its index.
        """
        return int(piece.partition(":")[0])

    def learned_by(self, anchor: str, about: int | None) -> list[int]:
        """What plain fine-tuning learns to become the floor or the ceiling.

        Args:
            anchor: floor or ceiling.
            about: the experience that is stolen back.

        Returns:
            Indices of experiences, in order.
        """
        assert about is not None
        if anchor == "ceiling":
            return [0, 1] if self.transfer else [index for index in self.there if index <= about]
        if self.config.floor == "scratch" or (self.config.floor == "auto" and not self.transfer):
            return []
        return [index for index in self.there if index != about]

    def pieces(self) -> list[str]:
        """One piece for each experience, piggybacker and size.

        Returns:
            Names like `0:fresh-head/20`. `retain-only` needs no subset, and no set but the source; what needs the head of another
            experience is left out where the network has none.
        """
        return [f"{index}:{thief}" for index in self.loot for thief in self.thieves(index)]

    def thieves(self, about: int) -> list[str]:
        """Who steals an experience back, and with how much.

        Args:
            about: the experience.

        Returns:
            Names like `fresh-head/20` and `retain-only`.
        """
        alone = self.setup.by_experience or self.setup.scenario.setting == "episodic"
        left_out: tuple[str, ...] = piggybackers.WITH_ANOTHER_HEAD if alone else ()
        left_out += piggybackers.WITH_THE_OLD_HEAD if alone or self.config.downstream else ()
        found: list[str] = []
        for place, name in enumerate(name for name in self.config.piggybackers if name not in left_out):
            if name == "retain-only":
                found += [] if self.config.downstream else [name]
            else:
                found += [f"{name}/{size}" for size in (self.loot[about].sizes if place == 0 else [self.loot[about].largest])]
        return found

    def facts(self) -> dict[str, Any]:
        """What was stolen, and how.

        Returns:
            Plain values; of each experience's subsets and test examples the digests.
        """
        told: dict[str, Any] = {"rates": list(self.config.rates), "looks": list(self.theft.looks)}
        each = [{"experience": index, "size": loot.largest, **loot.digests()} for index, loot in self.loot.items()]
        return {**told, **each[0]} if len(each) == 1 else {**told, "size": each[0]["size"], "experiences": list(self.loot), "stolen": each}

    def measure(self, piece: str, network: Network) -> Measurement:
        """Retrain on every subset of a size at every rate.

        Args:
            piece: which piggybacker, and which size.
            network: what was released.

        Yields:
            Trials.

        Returns:
            `accuracies` [rates][subsets][looks]; of `retain-only` beside it `old_head`, [rates][looks].
        """
        index, _, thief = piece.partition(":")
        return (yield from self.theft.measure(thief, network, self.loot[int(index)]))

    def _subset(self, learned: Examples, draw: Callable[[Examples, Any, torch.Generator], Tensor], size: Any, seed: int) -> Tensor:
        return draw(learned, size, generator(self.setup.randomness, "subset", str(size), seed))
