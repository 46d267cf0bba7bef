"""Linear probes and CKA: is the knowledge of an experience gone, or only the head that read it off (Davari et al., CVPR 2022)?

A linear probe is trained on frozen features for the classes of one experience, or of all of them, from nothing, with a fixed budget: at
most so many training examples of each experience, so many iterations of L-BFGS. Its accuracy stands beside the accuracy through the
learner's own head. It means little by itself, since a linear probe on random features already knows something: so it is put between the
same probe on the network's initial weights (floor) and on the network as it was just after it had learned the experience. Beside it, linear
CKA between the features of the experience's test images just after learning and in the end.

The network just after learning is gone when the stream has been learned; so the probe looks at a frozen copy after every experience, and
keeps the test images' features and the linear probe's accuracy. Where a finished run was not made with this probe, those are not known:
then CKA is against the initial weights alone.

A learner of episodes has no head of its own for a domain's classes. Its linear probes tell apart the classes that it meta-trained on, on
images held out for that (`strategies.probes.material`); what stands beside them as its own accuracy is few-shot accuracy on the domain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from scenarios.errors import UserError
from scenarios.experience import Examples
from scenarios.options import option
from strategies.networks.network import Network
from strategies.probes import looking
from strategies.probes.heads import logistic_regression
from strategies.probes.material import Material, materials
from strategies.probes.probe import Measurement, Probe, ProbeSetup
from strategies.probes.released import give_statistics

STATISTICS = 1000
"""Images that batch norms without moving averages are given the statistics of."""


@dataclass(frozen=True, kw_only=True)
class FeaturesConfig:
    """Options of `features`.

    Attributes:
        train_examples: of each experience, what its linear probe is fitted on, at most; evenly over the training set.
        test_examples: of each experience, what it is tested on and CKA is taken over, at most.
        among: the classes that a linear probe tells apart: own, those of its experience alone; or all of the stream's, one probe for all
            experiences, learned and not. The fewer the classes, the more a linear probe knows on random features.
        iterations: of L-BFGS, at most.
        weight_decay: L2 penalty of the linear probe, on standardised features.
    """

    train_examples: int = option(1000, low=2)
    test_examples: int = option(1000, low=2)
    among: Literal["own", "all"] = "own"
    iterations: int = option(50, low=1)
    weight_decay: float = option(1e-3, low=0)


class Features(Probe):
    """Linear probes and CKA, experience by experience."""

    Config = FeaturesConfig
    anchors: ClassVar[tuple[str, ...]] = ("floor",)
    watches: ClassVar[bool] = True

    def prepare(self, setup: ProbeSetup) -> None:
        """Choose the examples.

        Args:
            setup: the scenario, and the run's randomness.

        Raises:
            UserError: no experience has both training and test examples.
        """
        super().prepare(setup)
        there = materials(setup.scenario, setup.randomness)
        self.asked = {index: each for index, each in there.items() if len(each.test) > 1 and len(each.train) > 1}
        if not self.asked:
            raise UserError("the features probe needs experiences with test examples, and this scenario has none; leave --probe out")
        self.then: dict[int, dict[str, Any]] = {}

    def pieces(self) -> list[str]:
        """All linear probes are one piece, unless the network computes otherwise by experience.

        Returns:
            Names.
        """
        return [f"linear-probes/{index}" for index in self.asked] if self.setup.by_experience else ["linear-probes"]

    def about(self, piece: str) -> int | None:
        """The experience that a piece asks for.

        Args:
            piece: one of `pieces`.

        Returns:
            Its index; None where a piece asks for all.
        """
        _, _, index = piece.partition("/")
        return int(index) if index else None

    def watch(self, index: int, network: Network) -> None:
        """Keep the features and the linear probe's accuracy just after learning.

        Args:
            index: the experience that has been learned.
            network: a frozen copy.
        """
        if index in self.asked:
            self.make_ready(network)
            kept = looking.features(network, looking.spread(self.asked[index].test, self.config.test_examples))
            self.then[index] = {"features": kept.cpu(), "linear_probe": self._linear_probes(network, [index])[index]}

    def state_dict(self) -> dict[str, Any]:
        """What was kept.

        Returns:
            For a checkpoint.
        """
        return {"options": vars(self.config).copy(), "then": dict(self.then)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what was kept, if it was measured with the same options.

        Args:
            state: what `state_dict` gave.
        """
        self.then = dict(state["then"]) if state.get("options") == vars(self.config) else {}

    def facts(self) -> dict[str, Any]:
        """The budget.

        Returns:
            Plain values.
        """
        return {"experiences": list(self.asked), "budget": vars(self.config).copy()}

    def measure(self, piece: str, network: Network) -> Measurement:
        """Fit and test linear probes.

        Args:
            piece: those of one experience, or all.
            network: whose features.

        Yields:
            No trials: features are computed once, and what is fitted on them is a few matrix products.

        Returns:
            `linear_probe`, the accuracy by experience; `own_head`, that of the network's head among the experience's classes, where there
            are outputs of these.
        """
        yield []
        self.make_ready(network)
        about = self.about(piece)
        indices = list(self.asked) if about is None else [about]
        own = {}
        for index in indices:
            test, outputs = looking.spread(self.asked[index].test, self.config.test_examples), self.asked[index].outputs
            if self.setup.scenario.setting != "episodic":
                with torch.no_grad():
                    answers = network.head.narrow(looking.features(network, test), outputs)
                own[str(index)] = _share(answers, test, outputs)
        found = self._linear_probes(network, indices)
        return {"linear_probe": {str(index): accuracy for index, accuracy in found.items()}, "own_head": own}

    def make_ready(self, network: Network) -> None:
        """Give batch norms that have no statistics those of the images of all experiences, the same for whatever network is asked.

        Args:
            network: may be changed.
        """
        each = max(1, STATISTICS // len(self.asked))
        parts = [looking.spread(material.train, each).batch(slice(None)).x for material in self.asked.values()]
        give_statistics(network, torch.cat(parts))

    def _linear_probes(self, network: Network, indices: list[int]) -> dict[int, float]:
        # Accuracy by experience.
        together = self.config.among == "all"
        found = {}
        for group in [indices] if together else [[index] for index in indices]:
            taught = [self.asked[index] for index in (self.asked if together else group)]
            outputs = range(min(each.outputs.start for each in taught), max(each.outputs.stop for each in taught))
            tests = [looking.spread(self.asked[index].test, self.config.test_examples) for index in group]
            train = [self._own(each) for each in taught]
            logits = logistic_regression(
                torch.cat([looking.features(network, each) for each in train]),
                torch.cat([each.targets for each in train]) - outputs.start,
                torch.cat([looking.features(network, each) for each in tests]),
                classes=len(outputs),
                iterations=self.config.iterations,
                weight_decay=self.config.weight_decay,
            )
            parts = zip(group, logits.split([len(each) for each in tests]), tests)
            found.update({index: _share(answers, test, outputs) for index, answers, test in parts})
        return found

    def _own(self, experience: Material) -> Examples:
        # Of a stream with blurred boundaries, some of the training examples are its neighbours'.
        targets, outputs = experience.train.targets, experience.outputs
        own = torch.nonzero((targets >= outputs.start) & (targets < outputs.stop))[:, 0]
        return looking.spread(experience.train.select(own), self.config.train_examples)


def _share(logits: Tensor, test: Examples, outputs: range) -> float:
    return float((logits.argmax(1) == test.targets - outputs.start).double().mean())
