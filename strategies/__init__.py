"""How it learns: strategies, networks, curvature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scenarios.options import build
from strategies.registry import strategies as registry

if TYPE_CHECKING:
    from strategies.base import Strategy

__all__ = ["make", "names", "register"]

register = registry.register


def names() -> list[str]:
    """All strategies.

    Returns:
        Their names.
    """
    return registry.names()


def make(name: str, **options: Any) -> Strategy:
    """Make a strategy; prepare it for a scenario before it learns.

    Args:
        name: the strategy's name.
        options: the fields of its `Config`.

    Returns:
        The strategy.
    """
    component, fixed = registry.load(name)
    return component(build(component.Config, {**fixed, **options}, "strategy"))
