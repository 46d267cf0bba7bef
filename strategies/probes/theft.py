"""How a piggybacker trains: the trials of each kind, at every rate and on every subset (`strategies.probes.piggyback` says what for)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from scenarios.experience import Experience
from scenarios.transfer import subsets
from strategies.networks.cosine import CosineLinear
from strategies.networks.network import Network
from strategies.probes import piggybackers
from strategies.probes.loot import Loot, generator
from strategies.probes.material import Material
from strategies.probes.probe import Measurement, ProbeSetup
from strategies.probes.released import give_statistics
from strategies.probes.trial import Trial

if TYPE_CHECKING:
    from strategies.probes.piggyback import PiggybackConfig

WARM_UP = 0.1
FASTER = 3.0


class Theft:
    """Makes a piggyback probe's trials.

    Args:
        config: of the probe.
        setup: the scenario, and the run's randomness.
        there: what can be learned of every experience.
    """

    def __init__(self, config: PiggybackConfig, setup: ProbeSetup, there: Mapping[int, Material]) -> None:
        self.config, self.setup, self.there = config, setup, there
        self.looks = (*(steps for steps in sorted(set(config.looks)) if steps < config.steps), config.steps)

    def measure(self, thief: str, network: Network, loot: Loot) -> Measurement:
        """Retrain on every subset of a size at every rate.

        Args:
            thief: which piggybacker, and which size, as `fresh-head/20`; or `retain-only`.
            network: what was released.
            loot: what he is after.

        Yields:
            Trials.

        Returns:
            `accuracies` [rates][subsets][looks]; of `retain-only` beside it `old_head`, [rates][looks].
        """
        if thief == "retain-only":
            return (yield from self._retain_only(network, loot))
        name, _, size = thief.partition("/")
        seeds = range(self.config.subsets)
        trials = [[self._trial(name, network, loot, size, seed, rate) for seed in seeds] for rate in self.config.rates]
        yield [trial for row in trials for trial in row]
        return {"accuracies": [[trial.accuracies for trial in row] for row in trials]}

    def _trial(self, name: str, network: Network, loot: Loot, size: str, seed: int, rate: float) -> Trial:
        config = self.config
        subset = loot.sizes[size][seed]
        made = piggybackers.with_fresh_head(network, len(loot.outputs), self._generator("head", seed))
        give_statistics(made, loot.images(subset))
        teacher: Callable[[Tensor], Tensor] | None = None
        rates: tuple[tuple[int, float], ...] = ((config.steps, rate),)
        if name == "warm-up":
            warm = max(1, round(WARM_UP * config.steps))
            rates = ((warm, WARM_UP * FASTER * rate), (config.steps - warm, FASTER * rate)) if config.steps > warm else rates
        elif name in piggybackers.WITH_THE_OLD_HEAD:
            made.head.blocks[0] = copy.deepcopy(self._old_head(network, loot)).requires_grad_()
        elif name == "reinit":
            piggybackers.reinitialise_last(made, self._generator("last block", seed))
        elif name == "rescale":
            piggybackers.rescale(made, loot.images(subset[: config.batch_size * 8]))
        elif name == "distil":
            released = self._released(network, loot)
            piggybackers.beside(made, released)
            teacher = self._teacher(network, released)
        order = subsets.orders(subset, config.batch_size, config.steps, self._generator("order", size, seed))
        return Trial(
            network=made,
            classes=len(loot.outputs),
            examples=loot.learned,
            order=order,
            test=loot.test,
            first=loot.outputs.start,
            rates=rates,
            looks=self.looks,
            trained="head" if name in ("linear-probe", "kept-head-probe") else "all",
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            teacher=teacher,
        )

    def _retain_only(self, network: Network, loot: Loot) -> Measurement:
        # First on what was released for: an experience other than the one that is stolen. Then a linear probe on what has become of it.
        other = self._other(loot)
        positions = torch.arange(len(other.train))
        order = subsets.orders(positions, self.config.batch_size, self.config.steps, self._generator("retain-only"))
        trained = []
        for rate in self.config.rates:
            made = copy.deepcopy(network).requires_grad_()
            block = made.head.blocks[made.head.ranges.index(other.outputs)]
            made.head = piggybackers.Head(network.num_features, [range(len(other.outputs))])
            made.head.blocks[0] = block
            trained.append(
                Trial(
                    network=made,
                    classes=len(other.outputs),
                    examples=other.train,
                    order=order,
                    test=other.test,
                    first=other.outputs.start,
                    rates=((self.config.steps, rate),),
                    looks=(self.config.steps,),
                    momentum=self.config.momentum,
                    weight_decay=self.config.weight_decay,
                )
            )
        yield trained
        old = self._old_head(network, loot)
        asked = [self._asked(trial.network, old, loot) for trial in trained]
        yield asked
        seeds = range(self.config.subsets)
        rate = max(self.config.rates)
        rows = [[self._trial("linear-probe", each.network, loot, loot.largest, seed, rate) for seed in seeds] for each in trained]
        yield [trial for row in rows for trial in row]
        return {"accuracies": [[trial.accuracies for trial in row] for row in rows], "old_head": [trial.accuracies[-1] for trial in asked]}

    def _asked(self, network: Network, old: nn.Module, loot: Loot) -> Trial:
        # A trial of one step of rate 0: what the old head answers.
        made = piggybackers.with_fresh_head(network, len(loot.outputs), self._generator("head", 0))
        made.head.blocks[0] = copy.deepcopy(old).requires_grad_()
        order = torch.zeros(1, 1, dtype=torch.int64)
        return Trial(
            network=made,
            classes=len(loot.outputs),
            examples=loot.learned,
            order=order,
            test=loot.test,
            first=loot.outputs.start,
            rates=((1, 0.0),),
            looks=(1,),
            trained="head",
        )

    def _old_head(self, network: Network, loot: Loot) -> nn.Module:
        return network.head.blocks[network.head.ranges.index(self.there[loot.index].outputs)]

    def _released(self, network: Network, loot: Loot) -> nn.Linear | CosineLinear:
        block = network.head.blocks[network.head.ranges.index(self._other(loot).outputs)]
        assert isinstance(block, (nn.Linear, CosineLinear))
        return block

    def _teacher(self, network: Network, released: nn.Module) -> Callable[[Tensor], Tensor]:
        if getattr(self, "_known", None) is not network:
            # One function for all trials of a network: that is what puts them into one stack.
            def teach(x: Tensor) -> Tensor:
                with torch.no_grad():
                    return released(network.eval().features(x))

            self._known, self._teach = network, teach
        return self._teach

    def _other(self, loot: Loot) -> Experience:
        # What the network was released for: a transfer's target, else the last experience.
        stream = self.setup.scenario.experiences
        named = [experience for experience in stream if experience.role == "target"]
        return (named or [experience for experience in stream if experience.index != loot.index] or list(stream))[-1]

    def _generator(self, *purpose: str | int) -> torch.Generator:
        return generator(self.setup.randomness, *purpose)
