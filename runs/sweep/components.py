"""Whose option a path means: of the component that a request names, or of any of its kind where it names none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runs import config
from scenarios import options
from scenarios.registry import Registry

COMPONENTS = ("scenario", "strategy", "network", "attack", "defence", "probe")
"""Sections that name a component."""


def registry(section: str) -> Registry:
    """The components of a section.

    Args:
        section: of `COMPONENTS`.

    Returns:
        Their registry.
    """
    from runs.resolution import OPTIONAL
    from scenarios.scenario_registry import scenarios
    from strategies.networks.registry import networks
    from strategies.registry import strategies

    return {"scenario": scenarios, "strategy": strategies, "network": networks, **OPTIONAL}[section]


def configurations(section: str, name: str | None) -> Iterator[type]:
    """The options that a path may mean.

    Args:
        section: of a request.
        name: of its component; None where none is named, and any may be meant.

    Yields:
        Configuration dataclasses.
    """
    if section not in COMPONENTS:
        from strategies.phase import TrainConfig

        yield {"train": TrainConfig, "evaluate": config.EvaluateConfig}[section]
    elif name is not None:
        yield registry(section).load(name)[0].Config
    else:
        for row in registry(section).rows.values():
            try:
                yield registry(section).component(row).Config
            except ImportError:  # one of an extra that is not installed
                continue


def is_list(path: str, request: Mapping[str, Any]) -> bool:
    """Whether an option's value is a list itself.

    Args:
        path: the option.
        request: names components; of several (`a,b`) any that has the option tells.

    Returns:
        False also where there is no such option.
    """
    section, _, name = path.partition(".")
    return any(options.is_list(each, name) for component in named(request, section) for each in configurations(section, component))


def named(request: Mapping[str, Any], section: str) -> list[str | None]:
    """The components that a request names in a section.

    Args:
        request: a request; a name may be several, separated by commas or semicolons.
        section: which.

    Returns:
        Their names; None alone where there is none.
    """
    given = str(request.get(section, {}).get("name") or "")
    names = [given] if config.OWN.match(given) and ";" not in given else given.replace(";", ",").split(",")
    return [name.strip() for name in names if name.strip()] or [None]


def owner(path: str, name: str | None) -> type | None:
    """The configuration that has an option.

    Args:
        path: the option.
        name: the component that its section names; None where none is named.

    Returns:
        The first that has it, or None.
    """
    section, _, option = path.partition(".")
    return next((each for each in configurations(section, name) if options.is_list(each, option) is not None), None)
