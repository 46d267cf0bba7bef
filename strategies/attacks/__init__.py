"""Adversaries: what changes the training data of an experience before, or while, a victim learns it."""

from __future__ import annotations

from strategies.attacks.registry import attacks as registry

__all__ = ["register"]

register = registry.register
