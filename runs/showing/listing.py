"""`simulate list`: what there is, read from the registries without importing a component."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from runs import measures
from runs.showing import terminal
from runs.showing.overview import family as family_of
from scenarios.errors import UserError, nearest, shortened
from scenarios.registry import Registry, Row

SECTIONS = ("train", "evaluate")
"""What else can be listed: options of every run."""


def registries() -> dict[str, Registry]:
    """The registries, by what `simulate list` calls them.

    Returns:
        Names to registries.
    """
    from metrics.registry import metrics
    from scenarios.scenario_registry import scenarios
    from scenarios.sources.registry import sources
    from strategies.attacks.registry import attacks
    from strategies.defences.registry import defences
    from strategies.networks.registry import networks
    from strategies.probes.registry import probes
    from strategies.registry import strategies

    named = {"scenarios": scenarios, "strategies": strategies, "networks": networks, "attacks": attacks, "defences": defences}
    return {**named, "probes": probes, "metrics": metrics, "data": sources}


def show(kind: str | None, name: str | None, family: str | None = None) -> None:
    """Print all rows, those of one kind, or one component with its options.

    Args:
        kind: one of the registries' names, or a component's; None for all.
        name: a component; None for all.
        family: show the components of one family alone.

    Raises:
        UserError: there is no such kind, or no such family.
    """
    console = terminal.console()
    known = registries()
    if family is not None:
        if kind not in known or name is not None:
            raise UserError("--family is for a list of one kind: simulate list strategies --family memory")
        _table(kind, _family(known[kind], kind, family), console)
        return
    if kind in SECTIONS and name is None:
        _section(kind, console)
        return
    if kind is not None and kind not in known and name is None:
        # A component by its name alone, where one kind has it.
        having = [each for each, registry in known.items() if kind in registry.rows]
        if len(having) == 1:
            kind, name = having[0], kind
    if kind is not None and kind not in known:
        raise UserError(f"cannot list '{shortened(kind)}'{nearest(kind, [*known, *SECTIONS])}")
    if kind is not None and name is not None:
        _describe(known[kind], kind, name, console)
        return
    for each, registry in known.items():
        if kind in (None, each):
            _table(each, registry, console)


def sections() -> dict[str, type]:
    """The parts of a request that are no components.

    Returns:
        `train` and `evaluate`, with their configurations.
    """
    from runs.config import EvaluateConfig
    from strategies.phase import TrainConfig

    return {"train": TrainConfig, "evaluate": EvaluateConfig}


def _section(kind: str, console: object) -> None:
    config = sections()[kind]
    console.print(f"{kind}: {(inspect.getdoc(config) or '').splitlines()[0]}\n")  # type: ignore[attr-defined]
    _options(kind, config, {}, console)


def _table(kind: str, registry: Registry, console: object) -> None:
    from rich.table import Table

    table = Table(title=kind, title_justify="left", show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for row in registry.rows.values():
        table.add_row(registry.shown(row.name), row.line, *([measures.told(row.name)] if kind == "metrics" else []))
    console.print(table)  # type: ignore[attr-defined]
    console.print("")  # type: ignore[attr-defined]


def _family(registry: Registry, kind: str, family: str) -> Registry:
    families: dict[str, list[Row]] = {}
    for row in registry.rows.values():
        families.setdefault(family_of(row.place), []).append(row)
    families.pop("", None)
    if family not in families:
        raise UserError(f"there is no family '{shortened(family)}' of {kind}{nearest(family, families)}")
    return Registry(registry.kind, families[family])


def _describe(registry: Registry, kind: str, name: str, console: object) -> None:
    row = registry.rows.get(name) or registry.find(name)[0]
    component, fixed = (registry.component(row), dict(row.fixed)) if row.name == name else registry.load(name)
    module = inspect.getmodule(component)
    text = (inspect.getdoc(module) or inspect.getdoc(component) or "").strip()
    console.print(f"{registry.shown(name)}: {row.line}\n\n{text}\n")  # type: ignore[attr-defined]
    console.print(f"written in {inspect.getsourcefile(component)}\n", soft_wrap=True)  # type: ignore[attr-defined]
    if kind == "metrics":
        console.print(f"had from {measures.told(name)}: --set evaluate.metrics={name}")  # type: ignore[attr-defined]
    config = getattr(component, "Config", None)
    if config is None:
        return
    _options({"strategies": "strategy"}.get(kind, kind.removesuffix("s")), config, fixed, console)


def _options(section: str, config: type, fixed: Mapping[str, Any], console: object) -> None:
    from rich.table import Table

    from scenarios.options import describe

    table = Table(title="options (--set PATH=VALUE)", title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for header in ("path", "type", "default", "meaning"):
        table.add_column(header)
    for option, kind_, default, meaning in describe(config):
        table.add_row(f"{section}.{option}", kind_, str(fixed.get(option, default)), meaning)
    if table.row_count:
        console.print(table)  # type: ignore[attr-defined]
    else:
        console.print("no options")  # type: ignore[attr-defined]
