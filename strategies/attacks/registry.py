"""The adversaries that there are. Reading this imports no torch."""

from __future__ import annotations

from scenarios.registry import Registry, Row

attacks = Registry(
    "attack",
    [
        Row("noise", "control: random signs of size epsilon, or a random direction of that length", "strategies.attacks.noise:Noise"),
    ],
)
