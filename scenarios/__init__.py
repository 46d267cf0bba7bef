"""What the learner meets: images, streams, episodes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenarios.options import build
from scenarios.scenario_registry import scenarios as registry

if TYPE_CHECKING:
    from scenarios.experience import Scenario

__all__ = ["make", "names", "register"]

register = registry.register


def names() -> list[str]:
    """All scenarios.

    Returns:
        Their names; capitals stand for the name of a data set.
    """
    return registry.names()


def make(
    name: str, *, seed: int = 0, data: str | None = None, data_root: Path | str | None = None, report: Any = None, **options: Any
) -> Scenario:
    """Make a scenario.

    Args:
        name: the scenario's name.
        seed: class orders, permutations and splits are drawn from it.
        data: replaces the data set and keeps the protocol.
        data_root: where data sets lie; none for the environment variable PALIMPSEST_DATA, then `./data`.
        report: is told what a download is doing.
        options: the fields of the scenario's `Config`.

    Returns:
        The scenario.
    """
    component, parts = registry.load(name)
    from scenarios.streams.request import Request

    request = Request(name=name, parts=parts, seed=seed, data=data, data_root=Path(data_root) if data_root else None, report=report)
    return component.make(build(component.Config, options, "scenario"), request)
