"""Defences: what stands between the stream and the strategy and tries to undo an adversary."""

from __future__ import annotations

from strategies.defences.registry import defences as registry

__all__ = ["register"]

register = registry.register
