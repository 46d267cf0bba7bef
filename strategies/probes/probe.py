"""What a probe is: a measurement that trains, on copies of the network under test and of its anchors.

A probe names `pieces`. For each piece and each network, `measure` is a generator: it makes copies, yields lists of trials, finds them
carried out when it goes on (networks trained in place, accuracies filled in), and returns what it found as plain values. It computes no
metric and runs no loop; `runs.probing` carries the trials out, together where their shape allows, keeps what it found by digest, so that
anchors are measured once for all methods, and turns answers into the summary. The network under test is handed over as a frozen copy. A
probe that `watches` is shown such a copy after every experience as well, and keeps what it needs of networks that are gone in the end.

A probe of your own: derive from `Probe`, add a row to `strategies.probes.registry`, and a function to `runs.probing.summaries`.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from scenarios.experience import Scenario
from scenarios.random import Randomness
from strategies.networks.network import Network
from strategies.probes.trial import Trial

Measurement = Generator[list[Trial], None, dict[str, Any]]


@dataclass(frozen=True, eq=False)
class ProbeSetup:
    """What a probe is prepared with.

    Attributes:
        scenario: what the learner met, its batches made on the device.
        randomness: of the run.
        data_root: where further data sets lie; None for the default.
        by_experience: whether the learner's network computes otherwise by experience.
    """

    scenario: Scenario
    randomness: Randomness
    data_root: Path | None = None
    by_experience: bool = False


class Probe:
    """A measurement.

    Args:
        config: its options.
    """

    Config: ClassVar[type]
    anchors: ClassVar[tuple[str, ...]] = ()
    """Networks that are measured beside the one under test: `floor` never saw what is probed for, `ceiling` has just learned it."""

    settings: ClassVar[frozenset[str]] = frozenset({"task", "domain", "class", "episodic"})
    """Settings that the probe can be put to a learner in."""
    needs_network: ClassVar[bool] = True
    watches: ClassVar[bool] = False
    """Whether it looks at the network after every experience as well, and a checkpoint holds what it kept."""

    setup: ProbeSetup

    def __init__(self, config: Any) -> None:
        self.config = config

    def prepare(self, setup: ProbeSetup) -> None:
        """Get ready for a scenario, and refuse what cannot be measured there, before anything has been trained.

        Args:
            setup: the scenario, and the run's randomness.
        """
        self.setup = setup

    def about(self, piece: str) -> int | None:
        """The experience that a piece asks for: anchors may differ by it, and the networks of some learners.

        Args:
            piece: one of `pieces`.

        Returns:
            Its index; None for no particular one.
        """
        return None

    def learned_by(self, anchor: str, about: int | None) -> list[int]:
        """What plain fine-tuning learns to become an anchor.

        Args:
            anchor: one of `anchors`.
            about: the experience that is asked for.

        Returns:
            Indices of experiences, in order; none for the initial weights, which is what is returned here.
        """
        return []

    def pieces(self) -> list[str]:
        """The parts of the measurement, each carried out and kept by itself.

        Returns:
            Their names.
        """
        raise NotImplementedError

    def measure(self, piece: str, network: Network) -> Measurement:
        """Measure one piece on one network.

        Args:
            piece: which.
            network: a copy that nothing else uses; `Trial` networks must be copies of it.

        Yields:
            Trials to be carried out.

        Returns:
            Plain values.
        """
        raise NotImplementedError

    def watch(self, index: int, network: Network) -> None:
        """Look at the network just after an experience has been learned, and keep what will be needed in the end.

        Args:
            index: of the experience.
            network: a frozen copy that nothing else uses.
        """

    def state_dict(self) -> dict[str, Any]:
        """What was kept.

        Returns:
            Nested dictionaries of tensors and plain values.
        """
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what was kept.

        Args:
            state: what `state_dict` gave.
        """

    def facts(self) -> dict[str, Any]:
        """What the summary says about the measurement itself.

        Returns:
            Plain values.
        """
        return {}


@dataclass(frozen=True, kw_only=True)
class NoProbeConfig:
    """No options."""


class NoProbe(Probe):
    """Measures nothing: for scenarios that would otherwise be probed."""

    Config = NoProbeConfig
    needs_network = False

    def pieces(self) -> list[str]:
        """Nothing is measured.

        Returns:
            Nothing.
        """
        return []
