"""From a request to all options of a run: components found, their options checked, what is left open filled in. Needs no data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runs import config
from runs.config import SCALARS, EvaluateConfig
from scenarios.options import build
from scenarios.registry import Registry
from scenarios.scenario_registry import scenarios as scenario_registry
from strategies.attacks.registry import attacks as attack_registry
from strategies.defences.registry import defences as defence_registry
from strategies.networks import networks as network_registry
from strategies.phase import TrainConfig
from strategies.probes.registry import probes as probe_registry
from strategies.registry import strategies as strategy_registry

OPTIONAL: dict[str, Registry] = {"attack": attack_registry, "defence": defence_registry, "probe": probe_registry}
"""Components that a run may do without, by section."""


@dataclass(frozen=True)
class Choice:
    """A component that a request names.

    Attributes:
        name: what is written down.
        component: its class.
        options: its configuration.
        parts: what its name stands for.
    """

    name: str
    component: Any
    options: Any
    parts: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Name and options as plain values.

        Returns:
            A section of a configuration.
        """
        return {"name": self.name, **config.as_dict(self.options)}


@dataclass(frozen=True)
class Resolved:
    """All options of a request, whoever gave them.

    Attributes:
        scenario: what is met.
        strategy: how it is learned.
        network: by what.
        train: how networks are trained.
        evaluation: how the learner is tested.
        optional: components that a run may do without, by section, where they are named.
    """

    scenario: Choice
    strategy: Choice
    network: Choice
    train: TrainConfig
    evaluation: EvaluateConfig
    optional: dict[str, Choice]

    def component(self, section: str) -> Any:
        """Make a component that a run may do without.

        Args:
            section: attack, defence or probe.

        Returns:
            The component, or None where none is named.
        """
        choice = self.optional.get(section)
        return choice.component(choice.options) if choice else None

    def as_dict(self) -> dict[str, Any]:
        """The sections of a configuration, as they are written down.

        Returns:
            Plain values.
        """
        sections = {"scenario": self.scenario.as_dict(), "strategy": self.strategy.as_dict(), "network": self.network.as_dict()}
        optional = {name: choice.as_dict() for name, choice in self.optional.items()}
        train = config.as_dict(self.train)
        if train["from"] is None:
            del train["from"]
        return {**sections, "train": train, "evaluate": config.as_dict(self.evaluation), **optional}


def choose(request: Mapping[str, Any], section: str) -> Choice:
    """Find the component of a section, and fill its options.

    Args:
        request: the request.
        section: scenario, strategy, network, attack, defence or probe.

    Returns:
        The component.
    """
    registry = {"scenario": scenario_registry, "strategy": strategy_registry, "network": network_registry, **OPTIONAL}[section]
    name, options = config.named(request, section)
    name = registry.canonical(name)
    component, parts = registry.load(name)
    known = parts if section not in ("scenario", "network") else {}
    return Choice(name, component, build(component.Config, {**known, **options}, section), parts)


def resolve(request: Mapping[str, Any], recommended: Mapping[str, Any]) -> Resolved:
    """Fill what a request leaves open: with what the strategy recommends, then the scenario, then defaults. Needs no data.

    Args:
        request: the request.
        recommended: what the scenario recommends (path to value).

    Returns:
        All options.
    """
    strategy = choose(request, "strategy")
    full = _with_recommended(request, strategy.component.recommended, recommended)
    train, evaluation = config.section(TrainConfig, full, "train"), config.section(EvaluateConfig, full, "evaluate")
    optional = {name: choose(full, name) for name in OPTIONAL if full.get(name)}
    return Resolved(choose(request, "scenario"), strategy, choose(full, "network"), train, evaluation, optional)


def scalars(request: Mapping[str, Any]) -> dict[str, Any]:
    """What a request asks for beside its sections, seed and device.

    Args:
        request: the request.

    Returns:
        Entries of a configuration.
    """
    return {name: request[name] for name in SCALARS[2:] if request.get(name)}


def _with_recommended(request: Mapping[str, Any], *recommended: Mapping[str, Any]) -> dict[str, Any]:
    # What a scenario recommends goes before what a strategy does; a network's options are meant for that network alone.
    merged = config.merge(*(config.from_paths(each) for each in recommended))
    asked = request.get("network", {}).get("name")
    if asked and asked != merged.get("network", {}).get("name"):
        merged.pop("network", None)
    return config.merge(merged, request)
