"""Mistakes that can be found before torch is imported, which takes a second or more: whoever misspells a name reads so at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metrics.registry import metrics
from runs import config
from runs.config import EvaluateConfig
from runs.recording import exports
from scenarios.scenario_registry import scenarios
from strategies.attacks.registry import attacks
from strategies.defences.registry import defences
from strategies.networks.registry import networks
from strategies.phase import TrainConfig
from strategies.probes.registry import probes
from strategies.registry import strategies

REGISTRIES = {
    "scenario": scenarios,
    "strategy": strategies,
    "network": networks,
    "attack": attacks,
    "defence": defences,
    "probe": probes,
}


def check(request: Mapping[str, Any]) -> None:
    """Check the names in a request, and the options that belong to no component.

    Args:
        request: what is asked for; one that imports a file is left alone, since the file may register what is named.
    """
    if request.get("imports"):
        return
    for section, registry in REGISTRIES.items():
        if name := request.get(section, {}).get("name"):
            registry.find(name)
    config.section(TrainConfig, request, "train")
    for name in config.section(EvaluateConfig, request, "evaluate").metrics or ():
        metrics.find(name)
    if request.get("log"):
        exports.check(request["log"])
